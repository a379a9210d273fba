//! One API call, whatever its transport: the method, what is known of it, and the resources it acts on.
//!
//! The REST catalogue makes calls from request targets ([`crate::catalog`]); a gRPC catalogue makes the
//! same values from service, method and message, so rules, decisions and records never see the difference.
//! This module holds values only: it does not say which call a request is.

use std::fmt;

use smallvec::SmallVec;

/// How a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// JSON over HTTP, as the discovery documents describe it.
    Rest,
    /// Protocol buffers over gRPC.
    Grpc,
}

/// The number of a distinct method id in the catalogue: dense from 0, in the order of the sorted ids.
///
/// It is stable for one catalogue, not across releases: keep ids, not indices, in anything stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodIndex(pub u32);

impl MethodIndex {
    /// The index for use with a slice of as many items as there are ids.
    pub fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a method without looking at a request. A set; `Traits::READ | Traits::IAM` adds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Traits(u8);

impl Traits {
    /// Nothing known.
    pub const NONE: Self = Self(0);
    /// Changes nothing that another call could see.
    pub const READ: Self = Self(1);
    /// May change something. Every method either reads or changes.
    pub const CHANGE: Self = Self(2);
    /// Deletes, destroys, purges or resets.
    pub const DESTRUCTIVE: Self = Self(4);
    /// Reads or changes who may do what: IAM policies, ACLs, service accounts, token exchange.
    pub const IAM: Self = Self(8);
    /// Its answer holds key material, a token, a password, a secret's payload or a signed URL.
    pub const RETURNS_CREDENTIALS: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::READ, "read"),
        (Self::CHANGE, "change"),
        (Self::DESTRUCTIVE, "destructive"),
        (Self::IAM, "iam"),
        (Self::RETURNS_CREDENTIALS, "returns-credentials"),
    ];

    /// The set as bits, 1 for [`READ`](Self::READ), doubling in the order of [`names`](Self::names).
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits, or `None` where one of them means nothing.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits < 32 { Some(Self(bits)) } else { None }
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether it is sure that a call changes nothing; it may return credentials.
    pub const fn only_reads(self) -> bool {
        self.contains(Self::READ) && self.0 & (Self::CHANGE.0 | Self::DESTRUCTIVE.0) == 0
    }

    /// What is in either set; `|` where it has to be known at compile time.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of the traits, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(bit, _)| self.contains(*bit))
            .map(|(_, name)| name)
    }
}

impl std::ops::BitOr for Traits {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Traits {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Traits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// How far a resource's name goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The name is the resource, or for a list the parent whose children are listed.
    Exact,
    /// The call changes something below the name that the URL does not name: a resource that is created
    /// and gets its name from the body or the server, or several that the body lists.
    Below,
}

/// A resource as IAM Conditions name it.
///
/// ```text
/// projects/acme/locations/us-central1/functions/f    kind functions, id f, location us-central1
/// projects/_/buckets/b/objects/o                     kind objects, id o, no project
/// projects/acme/secrets, listed                      name projects/acme, kind secrets, no id
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    /// The name, decoded.
    pub name: String,
    /// The project's id or number, where the URL tells it. `-` stands for "any" as in the URL.
    pub project: Option<String>,
    /// Location, region or zone. `-` stands for "any" as in the URL.
    pub location: Option<String>,
    /// The collection, such as `functions`; empty where the name ends in no collection.
    pub kind: &'static str,
    /// The last part of the name within its collection; `None` for a call on the collection itself.
    pub id: Option<String>,
    /// Whether `name` is the resource or only an ancestor of it.
    pub scope: Scope,
}

/// One API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The canonical id, such as `storage.objects.insert`.
    pub method: &'static str,
    /// The number of the id.
    pub index: MethodIndex,
    /// The API's name in discovery, such as `storage`.
    pub api: &'static str,
    /// The API's version, such as `v1`.
    pub version: &'static str,
    /// What is known of the method.
    pub traits: Traits,
    /// How the call travels.
    pub transport: Transport,
    /// What the call acts on. A copy has two: destination first, source second. Empty for a method that
    /// names no resource (`v1:validateAddress`).
    pub resources: SmallVec<[Resource; 1]>,
}
