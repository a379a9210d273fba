//! The configuration file, `turnpike.yaml`: parsed once, at the start, into values that need no second
//! look. Paths in it are relative to the folder it stands in.

pub mod init;
mod raw;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use turnpike_compiler::NamespaceLabels;

use crate::{
    credential::AmbientSource,
    egress::{RouteTransport, UpstreamRoute, is_loopback},
    identity::{Issuer, jwks::KeySource},
};

/// What a proxy is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where agents connect.
    pub listen: SocketAddr,
    /// Health, readiness and metrics.
    pub admin: SocketAddr,
    /// Folder of the interception authority.
    pub ca_dir: PathBuf,
    /// Domains that the issuing certificate may serve.
    pub domains: Vec<String>,
    /// Audience of agents' tokens.
    pub audience: String,
    /// OIDC issuers.
    pub issuers: Vec<Issuer>,
    /// The gateway's own credential.
    pub ambient: AmbientSource,
    /// Upstream map.
    pub upstreams: Vec<UpstreamRoute>,
    /// Audit.
    pub audit: AuditConfig,
    /// Largest answer that is read to be masked, in bytes.
    pub answer_bytes: usize,
    /// Largest request body that is read into memory, in bytes.
    pub read_bytes: usize,
    /// For all answers that are masked at a time, in bytes.
    pub masked_total_bytes: usize,
    /// For all bodies of requests that are in memory at a time, in bytes.
    pub read_total_bytes: usize,
    /// Bodies that are kept on disk.
    pub held: HeldConfig,
    /// Approval requests of one agent that may be open at a time.
    pub open_requests_per_agent: usize,
    /// How long the head of an answer may take.
    pub answer_within: Duration,
    /// How long an agent's connection may idle, or take for the head of a request.
    pub idle: Duration,
    /// A file of descriptors besides the built-in ones.
    pub descriptors: Option<PathBuf>,
    /// Labels of namespaces, for the selectors of guardrails; standalone mode alone.
    pub namespaces: NamespaceLabels,
}

/// Bodies of calls that are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldConfig {
    /// The folder that they lie in, without names.
    pub dir: PathBuf,
    /// The largest one, in bytes.
    pub body_bytes: usize,
    /// For all of them at a time, in bytes.
    pub total_bytes: usize,
}

/// Where records go.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// Folder of the spool, the local topic and recordings.
    pub dir: PathBuf,
    /// Most bytes that wait in the spool before calls are refused.
    pub spool_bytes: u64,
    /// Where events are published.
    pub sink: SinkConfig,
}

/// Where events are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkConfig {
    /// A file of JSON lines beside the spool.
    Local,
    /// A Pub/Sub topic, `projects/PROJECT/topics/TOPIC`.
    PubSub(String),
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no YAML, or has fields that there are not.
    #[error("{path}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What, with line and column.
        message: String,
    },
    /// A value makes no sense.
    #[error("{path}: {field}: {message}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] says what, and where.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::File {
            path: path.to_owned(),
            source,
        })?;
        let raw: raw::Root = serde_saphyr::from_str(&text).map_err(|e| {
            let at = e
                .location()
                .map(|l| format!("line {}, column {}: ", l.line(), l.column()))
                .unwrap_or_default();
            let message = e.without_snippet().to_string();
            let message = message.lines().next().unwrap_or_default().to_owned();
            ConfigError::Syntax {
                path: path.to_owned(),
                message: if message.contains("line") {
                    message
                } else {
                    at + &message
                },
            }
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        Check { path, base }.config(raw)
    }
}

struct Check<'a> {
    path: &'a Path,
    base: &'a Path,
}

impl Check<'_> {
    fn wrong(&self, field: impl Into<String>, message: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            path: self.path.to_owned(),
            field: field.into(),
            message: message.into(),
        }
    }

    fn config(&self, raw: raw::Root) -> Result<Config, ConfigError> {
        let issuers = raw
            .identity
            .issuers
            .iter()
            .enumerate()
            .map(|(i, issuer)| self.issuer(i, issuer, &raw.identity.audience))
            .collect::<Result<_, _>>()?;
        let upstreams = raw
            .upstreams
            .iter()
            .enumerate()
            .map(|(i, u)| self.upstream(i, u))
            .collect::<Result<_, _>>()?;
        let ambient = match &raw.credential {
            raw::Credential {
                source: raw::Source::ApplicationDefault,
                access_token_file: None,
            } => AmbientSource::ApplicationDefault,
            raw::Credential {
                source: raw::Source::AccessTokenFile,
                access_token_file: Some(file),
            } => AmbientSource::TokenFile(self.base.join(file)),
            _ => {
                return Err(self.wrong(
                    "credential",
                    "accessTokenFile goes with source AccessTokenFile, and that source needs it",
                ));
            }
        };
        let sink = match (raw.audit.sink, raw.audit.topic) {
            (raw::Sink::Local, None) => SinkConfig::Local,
            (raw::Sink::PubSub, Some(topic)) if is_topic(&topic) => SinkConfig::PubSub(topic),
            (raw::Sink::PubSub, _) => {
                return Err(self.wrong(
                    "audit.topic",
                    "sink PubSub needs a topic as projects/PROJECT/topics/TOPIC",
                ));
            }
            (raw::Sink::Local, Some(_)) => return Err(self.wrong("audit.topic", "sink Local has no topic")),
        };
        if raw.limits.idle_seconds == 0 {
            return Err(self.wrong(
                "limits.idleSeconds",
                "no connection could send anything in no time",
            ));
        }
        if raw.tls.domains.is_empty() {
            return Err(self.wrong("tls.domains", "name at least one domain"));
        }
        for (all, total, one, largest) in [
            (
                "limits.maskedTotalMib",
                raw.limits.masked_total_mib,
                "limits.maskedAnswerMib",
                raw.limits.masked_answer_mib,
            ),
            (
                "limits.readTotalMib",
                raw.limits.read_total_mib,
                "limits.readBodyMib",
                raw.limits.read_body_mib,
            ),
            (
                "limits.heldTotalMib",
                raw.limits.held_total_mib,
                "limits.heldBodyMib",
                raw.limits.held_body_mib,
            ),
        ] {
            if total < largest {
                return Err(self.wrong(all, format!("is at least {one}, which is {largest}")));
            }
        }
        let audit_dir = self.base.join(&raw.audit.dir);
        let held_dir = match &raw.limits.held_dir {
            Some(dir) => self.base.join(dir),
            None => audit_dir.join("held"),
        };
        Ok(Config {
            listen: raw.listen,
            admin: raw.admin,
            ca_dir: self.base.join(&raw.tls.ca_dir),
            domains: raw.tls.domains,
            audience: raw.identity.audience,
            issuers,
            ambient,
            upstreams,
            audit: AuditConfig {
                dir: audit_dir,
                spool_bytes: raw.audit.spool_mib << 20,
                sink,
            },
            answer_bytes: (raw.limits.masked_answer_mib as usize) << 20,
            read_bytes: (raw.limits.read_body_mib as usize) << 20,
            masked_total_bytes: (raw.limits.masked_total_mib as usize) << 20,
            read_total_bytes: (raw.limits.read_total_mib as usize) << 20,
            held: HeldConfig {
                dir: held_dir,
                body_bytes: (raw.limits.held_body_mib as usize) << 20,
                total_bytes: (raw.limits.held_total_mib as usize) << 20,
            },
            open_requests_per_agent: raw.limits.open_requests_per_agent as usize,
            answer_within: Duration::from_secs(raw.limits.answer_within_seconds),
            idle: Duration::from_secs(raw.limits.idle_seconds),
            descriptors: raw.descriptors.map(|file| self.base.join(file)),
            namespaces: raw.namespaces,
        })
    }

    fn issuer(&self, i: usize, raw: &raw::Issuer, audience: &str) -> Result<Issuer, ConfigError> {
        let keys = match (&raw.jwks_file, &raw.jwks_url) {
            (Some(file), None) => KeySource::File(self.base.join(file)),
            (None, Some(url)) if is_trustworthy(url) => KeySource::Url(url.clone()),
            (None, Some(_)) => {
                return Err(self.wrong(
                    format!("identity.issuers[{i}].jwksUrl"),
                    "keys must come over https",
                ));
            }
            _ => {
                return Err(self.wrong(
                    format!("identity.issuers[{i}]"),
                    "set exactly one of jwksFile and jwksUrl",
                ));
            }
        };
        Ok(Issuer {
            name: raw.issuer.clone(),
            audiences: vec![raw.audience.clone().unwrap_or_else(|| audience.to_owned())],
            keys,
            service_accounts: raw.service_accounts,
        })
    }

    fn upstream(&self, i: usize, raw: &raw::Upstream) -> Result<UpstreamRoute, ConfigError> {
        let field = |name: &str| format!("upstreams[{i}].{name}");
        if raw.host.trim_start_matches('*').contains('*')
            || (raw.host.starts_with('*') && !matches!(raw.host.as_bytes(), [b'*'] | [b'*', b'.', ..]))
        {
            return Err(self.wrong(field("host"), "is a host, *.SUFFIX, or * for all"));
        }
        let transport = match (raw.plaintext, &raw.ca_file) {
            (true, Some(_)) => return Err(self.wrong(field("caFile"), "plain HTTP has no certificates")),
            (true, None) => {
                if !raw.address.as_deref().is_some_and(is_loopback) {
                    return Err(self.wrong(
                        field("plaintext"),
                        "credentials go over plain HTTP to a loopback address alone, such as 127.0.0.1:9000",
                    ));
                }
                RouteTransport::Plaintext
            }
            (false, None) => RouteTransport::Tls,
            (false, Some(file)) => {
                RouteTransport::TlsWithRoots(Arc::new(self.roots(&field("caFile"), file)?))
            }
        };
        if raw.address.as_deref().is_some_and(|a| !a.contains(':')) {
            return Err(self.wrong(field("address"), "is HOST:PORT"));
        }
        Ok(UpstreamRoute {
            host: raw.host.clone(),
            address: raw.address.clone(),
            transport,
        })
    }

    fn roots(&self, field: &str, file: &str) -> Result<RootCertStore, ConfigError> {
        let path = self.base.join(file);
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(&path).map_err(|e| self.wrong(field, e.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| self.wrong(field, e.to_string()))?;
            roots
                .add(certificate)
                .map_err(|e| self.wrong(field, e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(self.wrong(field, format!("{} holds no certificate", path.display())));
        }
        Ok(roots)
    }
}

/// Whether keys fetched from a URL are those of the host that it names: by TLS, or from this machine.
fn is_trustworthy(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return false;
    };
    match (uri.scheme_str(), uri.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => is_loopback(&format!("{host}:{}", uri.port_u16().unwrap_or(80))),
        _ => false,
    }
}

fn is_topic(text: &str) -> bool {
    matches!(text.split('/').collect::<Vec<_>>().as_slice(), ["projects", p, "topics", t] if !p.is_empty() && !t.is_empty())
}
