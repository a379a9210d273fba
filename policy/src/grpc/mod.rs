//! The gRPC catalogue: which call a gRPC request makes, in the same words as its REST form.
//!
//! `google.api.http` says for nearly every RPC which REST request it stands for, and which fields of the
//! message make that request's path. So a call is decided as that REST request: the fields are read from
//! the message, the target is built from them, and [`Catalog::classify`] says what it is. One rule
//! `secretmanager.projects.secrets.versions.access` covers both. RPCs that no listed REST method stands for have the
//! RPC's full name with dots as their id, `google.bigtable.v2.Bigtable.ReadRows`, and a name from the message.
//!
//! Nothing here frames, unpacks or changes messages, and routing headers are never looked at.
//!
//! # The data
//!
//! `policy/data/grpc.gz` is written by `cargo xtask grpc` from the protos of npm's `google-proto-files`. It is a
//! gzip member of lines of ASCII text, fields separated by one space:
//!
//! ```text
//! turnpike-grpc 1 5.0.3                                       format, version of it, version of the package
//! .google.cloud.secretmanager.v1.SecretManagerService secretmanager    a service, and its hosts with commas
//! AccessSecretVersion - G/v1/{1=projects/*/secrets/*/versions/*}:access       a method, streams, bindings
//! ```
//!
//! Services that many hosts serve (`google.longrunning.Operations`, `google.iam.v1.IAMPolicy`,
//! `google.cloud.location.Locations`) have a section for each host. Streams: `-` none, `c`lient, `s`erver, `b`oth.
//!
//! A binding is a verb's letter as in the catalogue and a path, where `{FIELD=PATTERN}` is a field of the
//! message: its number, with dots between for a field of a field, `#` behind the number of an integer. A pattern has
//! segments: literals, `*` one, `**` one or more, `@` all that is left, slashes included. In parentheses, a segment
//! alone is what goes into the path: `{1=projects/_/buckets/(*)}`. Without a pattern it is `@`, as for `{var}` in
//! `google.api.http`. Behind `?` stand parameters that are left out where the field is empty.
//!
//! `N:COLLECTION:FLAGS:TRAITS:VERSION:ID:NAME` is a call without a REST form: the expanded text is the resource's
//! name. Flags: `p` it is the parent's name, `b` the scope is Below, `u` the fields tell the method but name nothing.
//! ID is the REST method that it counts as; where it is empty, the id is the RPC's own name.
//!
//! # Reading
//!
//! All bindings that fit are decided, but for those whose fields are a part of another's. A field of a path that is
//! set and that no fitting binding uses is refused, and so is a message that names nothing.

mod binding;
mod data;
mod error;
mod method;
mod wire;

use smallvec::SmallVec;

pub use error::Ungrpc;
pub use method::{GrpcMethod, Names};
pub use wire::Malformed;

use crate::{
    call::Traits,
    catalog::{Catalog, LoadError},
};
use data::Table;

/// The table of RPCs.
pub struct GrpcCatalog {
    table: &'static Table,
}

impl std::fmt::Debug for GrpcCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcCatalog")
            .field("source", &self.table.source)
            .finish_non_exhaustive()
    }
}

impl GrpcCatalog {
    /// The table that this build carries. The first call unpacks it; later ones are free.
    ///
    /// # Errors
    /// [`LoadError`] where the embedded data is not what this build reads, which is a defect of the build.
    pub fn embedded() -> Result<&'static Self, LoadError> {
        static EMBEDDED: std::sync::OnceLock<Result<GrpcCatalog, LoadError>> = std::sync::OnceLock::new();
        EMBEDDED
            .get_or_init(|| data::embedded().map(|table| Self { table }))
            .as_ref()
            .map_err(Clone::clone)
    }

    /// The method that a request asks for: `host` in lower case without port, `path` as
    /// `/package.Service/Method`, also below `/$rpc`.
    ///
    /// # Errors
    /// [`Ungrpc`] where the service or its method is not known, or is not served by this host.
    pub fn method<'c>(
        &'c self,
        catalog: &'static Catalog,
        host: &str,
        path: &str,
    ) -> Result<GrpcMethod<'c>, Ungrpc> {
        let malformed = || Ungrpc::Path {
            path: path.to_owned(),
        };
        let plain = path.strip_prefix("/$rpc").unwrap_or(path);
        let (service, method) = plain
            .strip_prefix('/')
            .and_then(|p| p.split_once('/'))
            .ok_or_else(malformed)?;
        let name = |text: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.';
            !text.is_empty() && text.bytes().all(plain)
        };
        if !name(service) || !name(method) || method.contains('.') {
            return Err(malformed());
        }
        let owner = catalog.service_of_host(host).ok_or_else(|| Ungrpc::UnknownHost {
            host: host.to_owned(),
        })?;
        let (service_name, sections) = self.table.sections(service);
        let Some(first) = sections.first() else {
            return Err(Ungrpc::UnknownService {
                service: service.to_owned(),
            });
        };
        let Some(section) = sections.iter().find(|s| s.hosts().any(|h| h == owner)) else {
            let other = first.hosts().next().unwrap_or_default();
            return Err(Ungrpc::ServiceNotOfHost {
                host: host.to_owned(),
                service: service.to_owned(),
                owner: format!("{other}.googleapis.com"),
            });
        };
        let Some(line) = section.line(method) else {
            return Err(Ungrpc::UnknownMethod {
                service: service.to_owned(),
                method: method.to_owned(),
            });
        };
        GrpcMethod::new(catalog, service_name, owner, host, line).ok_or_else(|| Ungrpc::Damaged {
            method: format!("{service}/{method}"),
        })
    }

    /// All RPCs: service, method and a host that serves it, in no order. A service that many hosts serve is
    /// listed for each.
    pub fn methods(&self) -> impl Iterator<Item = Rpc> + '_ {
        self.table.services().flat_map(|(service, section)| {
            let host = section.hosts().next().unwrap_or_default();
            section.lines().flatten().map(move |line| Rpc {
                service,
                method: line.name,
                host_service: host,
                bindings: line.bindings,
                has_own_id: line.has_own_id(),
            })
        })
    }

    /// The ids of methods that have bindings of their own, without a REST request that they stand for, and what
    /// is known of them. An id can come several times.
    pub(crate) fn own_methods(&self) -> impl Iterator<Item = (String, Traits)> + '_ {
        self.methods().flat_map(|rpc| {
            let direct = rpc.bindings.split(' ').filter_map(binding::id_and_traits);
            direct.map(move |(id, traits)| match id {
                "" => (rpc.own_id(), traits),
                id => (id.to_owned(), traits),
            })
        })
    }

    /// The version of the package that the table was made from.
    pub fn source_version(&self) -> &'static str {
        self.table.source
    }

    /// Bytes of memory that the table holds, nearly.
    pub fn heap_bytes(&self) -> usize {
        self.table.heap_bytes()
    }
}

/// A method as the table has it.
#[derive(Debug, Clone, Copy)]
pub struct Rpc {
    /// `google.pubsub.v1.Publisher`
    pub service: &'static str,
    /// `Publish`
    pub method: &'static str,
    /// The first part of a host that serves it.
    pub host_service: &'static str,
    /// The bindings, as the table has them.
    pub bindings: &'static str,
    /// Whether it is, or may be, a method under its own name.
    pub has_own_id: bool,
}

impl Rpc {
    /// What a request for it has as its path.
    pub fn path(&self) -> String {
        format!("/{}/{}", self.service, self.method)
    }

    /// The id that it has where no REST method stands for it.
    pub fn own_id(&self) -> String {
        format!("{}.{}", self.service, self.method)
    }
}

/// What the table adds to the catalogue of REST methods.
pub(crate) struct Additions {
    /// Ids of RPCs that no REST method stands for.
    pub(crate) ids: Vec<String>,
    /// Services in the sense of hosts.
    pub(crate) hosts: SmallVec<[&'static str; 8]>,
}

/// Ids and hosts that only gRPC has, or shares.
///
/// # Errors
/// As [`GrpcCatalog::embedded`].
pub(crate) fn additions() -> Result<Additions, LoadError> {
    let table = data::embedded()?;
    let mut found = Additions {
        ids: Vec::new(),
        hosts: SmallVec::new(),
    };
    for (service, section) in table.services() {
        found.hosts.extend(section.hosts());
        for line in section.lines() {
            let line = line.ok_or(LoadError::Format)?;
            if line.has_own_id() {
                found.ids.push(format!("{service}.{}", line.name));
            }
        }
    }
    found.ids.sort_unstable();
    found.ids.dedup();
    found.hosts.sort_unstable();
    found.hosts.dedup();
    Ok(found)
}
