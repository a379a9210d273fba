//! The method catalogue: every REST method of every Google API, and which of them a request calls.
//!
//! [`Catalog::embedded`] unpacks a generated table once; [`Catalog::classify`] takes a [`Target`] apart
//! into the method's id, its traits and the resources as IAM Conditions name them. What the table does not
//! list is [`Unlisted`], with a reason. This module does no I/O, looks at no header and no body, and splits no
//! batch; which bodies name further resources is for those who read bodies.
//!
//! # The data
//!
//! `policy/data/catalog.gz` is written by `cargo xtask catalog` from Google's discovery documents. It is a
//! gzip member (its CRC is checked) of lines of ASCII text, fields separated by one space:
//!
//! ```text
//! turnpike-catalog 2 2.202.0                      format, version of it, version of the source package
//! legacy storage storage                          www.googleapis.com/storage/... is service "storage"
//! api storage v1 storage                          name, version, service: storage.googleapis.com
//! parameters acl alt bucket                       names of query parameters, numbered from 0
//! set 0 2                                         a set of them; sets are numbered from 0 too
//! = storage.objects.get 17                        a method id and the number of its set, of all its versions together;
//!                                                 ids come in order, their number is MethodIndex
//! 17 G storage/v1/b/*/o/* n2-6,kobjects,i5,s 1D   a row of that id: number of its api line, verb, template,
//!                                                 recipe of its resources, traits (hexadecimal) and flags
//! ```
//!
//! Verbs are `G`ET, `P`OST, p`U`T, p`A`TCH, `D`ELETE. A template's segments are literals, `*` for a variable,
//! `**` for one or more segments, each of the last two with `:verb` behind it in the last place. Flags: `U` the
//! method also takes uploads below `/upload/` and `/resumable/upload/`, `D` it also serves content
//! (`alt=media`, `/download/`). Recipes are described in `recipe.rs`. Comments do not exist. Sets name parameters as
//! discovery spells them, a field of a field with a dot; system parameters are in none.
//!
//! # Matching
//!
//! Segments are compared as they stand in the canonical path, undecoded. *All* templates that fit are found.
//! Where one is more specific than another in every place, Google's router takes it and so do we: a caller
//! that may only `versions.access` need not also be allowed `versions.get`, although `/versions/*` fits
//! `/versions/1:access`. A template with `:verb` likewise comes before all without. Where neither is more specific, or where an escape such as `%3A` leaves open
//! what Google would see, all readings are kept: [`Classified::also`] must be allowed as well. So it is with a slash
//! that is encoded in a name: what stands there when it splits the path is decided too; and with a name that is a
//! literal of another method in another case.

mod additions;
mod classify;
mod email;
mod hosts;
mod load;
mod names;
mod parameters;
mod recipe;
mod trie;
mod xml;

use std::sync::OnceLock;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

pub use load::LoadError;
pub(crate) use names::is_ambiguous;
pub use parameters::Hint;
pub(crate) use recipe::pairs_in;
pub use recipe::{NamePart, NameShape};
pub use xml::XmlRefusal;
pub(crate) use xml::named;

use crate::{
    call::{Call, MethodIndex, Traits},
    canonical::Target,
};

/// The table, unpacked and indexed.
pub struct Catalog {
    source: &'static str,
    apis: Vec<Api>,
    ids: Vec<&'static str>,
    rows: Vec<Row>,
    recipes: Vec<SmallVec<[recipe::Recipe; 1]>>,
    parameters: parameters::Parameters,
    trie: trie::Trie,
    services: FxHashMap<&'static str, trie::NodeId>,
    /// Services some of whose methods end in `:verb`.
    verb_services: FxHashSet<&'static str>,
    /// All custom verbs by their lower case.
    verbs: FxHashMap<String, &'static str>,
    legacy: FxHashMap<&'static str, &'static str>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("source", &self.source)
            .field("methods", &self.rows.len())
            .finish_non_exhaustive()
    }
}

/// One version of an API.
#[derive(Debug, Clone, Copy)]
struct Api {
    name: &'static str,
    version: &'static str,
    service: &'static str,
}

/// One method of one version of an API.
#[derive(Debug, Clone, Copy)]
struct Row {
    id: MethodIndex,
    api: u16,
    verb: Verb,
    traits: Traits,
    uploads: bool,
    downloads: bool,
    recipe: u32,
    /// The set of its query parameters.
    parameters: u16,
    template: &'static str,
    elements: trie::ElementRange,
}

/// The verbs that methods have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A method as the table has it.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    /// The id, such as `storage.objects.get`.
    pub id: &'static str,
    /// The number of the id.
    pub index: MethodIndex,
    /// The API's name.
    pub api: &'static str,
    /// The API's version.
    pub version: &'static str,
    /// The verb, upper case.
    pub verb: &'static str,
    /// The path without its first slash: `*` for a variable, `**` for one or more segments.
    pub template: &'static str,
    /// The first part of its host, before `.googleapis.com`.
    pub service: &'static str,
    /// What is known of it.
    pub traits: Traits,
    /// Whether it also takes uploads below `/upload/` and `/resumable/upload/`.
    pub uploads: bool,
    /// Whether it also serves content, with `alt=media`.
    pub downloads: bool,
    parameters: u16,
    catalog: &'a Catalog,
}

impl Method<'_> {
    /// Its query parameters in any version, as discovery spells them: a field of a field with a dot. System parameters
    /// are not among them.
    pub fn query_parameters(&self) -> impl Iterator<Item = &'static str> {
        self.catalog.parameters.of(self.parameters)
    }

    /// The host that discovery gives for it.
    pub fn host(&self) -> String {
        format!("{}.googleapis.com", self.service)
    }

    /// First path segments under which `www.googleapis.com` serves it too.
    pub fn on_www(&self) -> bool {
        let first = self.template.split('/').next().unwrap_or(self.template);
        self.catalog
            .legacy
            .get(first)
            .is_some_and(|service| *service == self.service)
    }
}

/// What a request calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// The most specific reading.
    pub call: Call,
    /// Every other reading that Google might take. Each must be allowed for the request to be.
    pub also: SmallVec<[Call; 1]>,
}

/// Why a request is no method of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unlisted {
    /// No Google API is known to be served there.
    #[error(
        "{host} is no Google API host that Turnpike knows; use the service's own host, such as storage.googleapis.com"
    )]
    UnknownHost {
        /// The host asked for.
        host: String,
    },
    /// The host is known, the path is not.
    #[error("{verb} {path} is no method that {host} is known to have; check the path and its version")]
    UnknownMethod {
        /// The host asked for.
        host: String,
        /// The verb asked for.
        verb: String,
        /// The canonical path.
        path: String,
    },
    /// The path is known, with other verbs.
    #[error("{path} on {host} is no method with {verb}, only with another verb; send the method's own verb")]
    UnknownVerb {
        /// The host asked for.
        host: String,
        /// The verb asked for.
        verb: String,
        /// The canonical path.
        path: String,
    },
    /// The name ends like a custom verb that the catalogue does not have.
    #[error("`:{custom}` is no method here; write a colon that belongs to a name as %3A")]
    UnknownCustomVerb {
        /// What stands behind the colon.
        custom: String,
    },
    /// A batch: many calls in one body, which are to be decided one by one.
    #[error("a batch holds several calls; each must be classified by itself")]
    Batch {
        /// The service that the batch goes to, such as `storage`.
        service: &'static str,
    },
    /// A request to the XML API of Cloud Storage that is none of its methods, or acts on what it does not name.
    #[error(transparent)]
    StorageXml(#[from] XmlRefusal),
    /// `alt=media` for a method that serves no content.
    #[error("{method} serves no content; ask for alt=json")]
    MediaNotOffered {
        /// The method asked for.
        method: &'static str,
    },
    /// A query parameter that names a resource is given twice, or spelled in a way that readers differ about.
    #[error(
        "the query names a resource twice, or spells its parameter in another way; give {parameter} once"
    )]
    AmbiguousParameter {
        /// The parameter's name in discovery.
        parameter: &'static str,
    },
    /// The query names another part of what the path names.
    #[error("the query's {parameter} says something else than the path of {method} does; leave it out")]
    AnotherInQuery {
        /// The method asked for.
        method: &'static str,
        /// The parameter as it was given.
        parameter: String,
    },
    /// A query parameter that the method does not have: Google could read it as a field of the request.
    #[error(
        "{method} has no query parameter {parameter:?}{hint} Parameters are those of Google's discovery documents; \
         that this one is missing there would have to be told to those who make Turnpike"
    )]
    UnknownParameter {
        /// The method asked for.
        method: &'static str,
        /// The parameter as it was given, decoded; the beginning of a very long one.
        parameter: String,
        /// What was probably meant.
        hint: Hint,
    },
    /// A name that decodes to another path, or that some servers take for another one.
    #[error(
        "a name holds what {method} has in none: an encoded slash or dot step, `?`, `#`, `;`, a backslash, white space \
         at an end, a capital letter in a project, or it is no name of a bucket"
    )]
    UnsafeName {
        /// The method asked for.
        method: &'static str,
    },
}

impl Unlisted {
    /// The reason as a stable code.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "HOST_NOT_IN_CATALOG",
            Self::UnknownMethod { .. } => "METHOD_NOT_IN_CATALOG",
            Self::UnknownVerb { .. } => "VERB_NOT_IN_CATALOG",
            Self::UnknownCustomVerb { .. } => "CUSTOM_VERB_NOT_IN_CATALOG",
            Self::Batch { .. } => "BATCH_REQUEST",
            Self::StorageXml(refusal) => refusal.reason(),
            Self::MediaNotOffered { .. } => "MEDIA_NOT_OFFERED",
            Self::AmbiguousParameter { .. } => "QUERY_PARAMETER_REPEATED",
            Self::AnotherInQuery { .. } => "QUERY_NAMES_ANOTHER_RESOURCE",
            Self::UnknownParameter { .. } => "UNKNOWN_PARAMETER",
            Self::UnsafeName { .. } => "UNSAFE_RESOURCE_NAME",
        }
    }
}

impl Catalog {
    /// The table that this build carries. The first call unpacks it (tens of milliseconds); later ones are
    /// free.
    ///
    /// # Errors
    /// [`LoadError`] where the embedded data is not what this build reads, which is a defect of the build.
    pub fn embedded() -> Result<&'static Self, LoadError> {
        static EMBEDDED: OnceLock<Result<Catalog, LoadError>> = OnceLock::new();
        static DATA: &[u8] = include_bytes!("../../data/catalog.gz");
        EMBEDDED
            .get_or_init(|| {
                let mut catalog = Self::load(DATA)?;
                catalog.add(crate::grpc::additions()?)?;
                Ok(catalog)
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    /// Unpacks a table. Its text stays in memory for the rest of the process, because ids are `'static`:
    /// load once, not on every change of something.
    ///
    /// # Errors
    /// [`LoadError`] says which line of the data could not be read.
    pub fn load(packed: &[u8]) -> Result<Self, LoadError> {
        load::load(packed)
    }

    /// The call that a request makes.
    ///
    /// # Errors
    /// [`Unlisted`] where the catalogue has no method for it, or the request does not say clearly what it
    /// acts on.
    pub fn classify(&self, target: &Target) -> Result<Classified, Unlisted> {
        classify::classify(self, target)
    }

    /// As [`classify`](Self::classify), but parameters may be any: for targets that this crate makes of messages, whose
    /// fields are known by their descriptors.
    pub(crate) fn classify_message(&self, target: &Target) -> Result<Classified, Unlisted> {
        classify::classify_message(self, target)
    }

    /// All methods of all versions: a method of one version and one template is listed once.
    pub fn methods(&self) -> impl Iterator<Item = Method<'_>> {
        self.rows.iter().map(move |row| {
            let api = &self.apis[usize::from(row.api)];
            Method {
                id: self.ids[row.id.as_usize()],
                index: row.id,
                api: api.name,
                version: api.version,
                verb: row.verb.name(),
                template: row.template,
                service: api.service,
                traits: row.traits,
                uploads: row.uploads,
                downloads: row.downloads,
                parameters: row.parameters,
                catalog: self,
            }
        })
    }

    /// The shapes that the names of each method's resources have; none for a method that names no resource.
    /// A method of several versions comes several times. What has no REST form is not listed.
    pub fn name_shapes(&self) -> impl Iterator<Item = (MethodIndex, SmallVec<[NameShape; 2]>)> {
        self.rows.iter().map(|row| {
            let elements = self.trie.elements(row.elements);
            let recipes = &self.recipes[row.recipe as usize];
            let shapes = recipes
                .iter()
                .flat_map(|recipe| recipe.shapes(&self.trie, elements))
                .collect();
            (row.id, shapes)
        })
    }

    /// The collections that resources are of; one may come several times.
    pub fn collections(&self) -> impl Iterator<Item = &'static str> {
        self.recipes.iter().flatten().map(recipe::Recipe::collection)
    }

    /// Number of [`methods`](Self::methods).
    pub fn method_count(&self) -> usize {
        self.rows.len()
    }

    /// The distinct ids, sorted; [`MethodIndex`] counts in them.
    pub fn ids(&self) -> &[&'static str] {
        &self.ids
    }

    /// The number of an id.
    pub fn index_of(&self, id: &str) -> Option<MethodIndex> {
        let at = self.ids.binary_search(&id).ok()?;
        u32::try_from(at).ok().map(MethodIndex)
    }

    /// Whether requests to this host (lower case, no port) can be classified: a host that this is false for
    /// needs no interception, it is refused.
    pub fn is_google_host(&self, host: &str) -> bool {
        self.host(host).is_some() || hosts::bucket(host).is_some()
    }

    /// The version of the package that the table was made from.
    pub fn source_version(&self) -> &'static str {
        self.source
    }

    /// Bytes of memory that the table holds, nearly.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.apis.capacity() * size_of::<Api>()
            + self.ids.capacity() * size_of::<&str>()
            + self.rows.capacity() * size_of::<Row>()
            + self.recipes.capacity() * size_of::<SmallVec<[recipe::Recipe; 1]>>()
            + self.parameters.heap_bytes()
            + self.trie.heap_bytes()
            + (self.services.capacity() + self.legacy.capacity()) * 40
            + self.rows.iter().map(|r| r.template.len() + 24).sum::<usize>()
            + self.ids.iter().map(|id| id.len()).sum::<usize>()
    }

    fn host<'h>(&self, host: &'h str) -> Option<hosts::Host<'h>> {
        hosts::parse(host, |service| {
            self.services.get_key_value(service).map(|(k, _)| *k)
        })
    }
}
