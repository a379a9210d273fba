//! The file as it is written, with its defaults.

use std::net::SocketAddr;

use serde::Deserialize;
use turnpike_compiler::NamespaceLabels;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Root {
    #[serde(default = "listen")]
    pub(super) listen: SocketAddr,
    #[serde(default = "admin")]
    pub(super) admin: SocketAddr,
    #[serde(default)]
    pub(super) tls: Tls,
    #[serde(default)]
    pub(super) identity: Identity,
    #[serde(default)]
    pub(super) credential: Credential,
    #[serde(default)]
    pub(super) upstreams: Vec<Upstream>,
    #[serde(default)]
    pub(super) audit: Audit,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) descriptors: Option<String>,
    #[serde(default)]
    pub(super) namespaces: NamespaceLabels,
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8443))
}

fn admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9443))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) ca_dir: String,
    pub(super) domains: Vec<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca_dir: "ca".to_owned(),
            domains: vec!["googleapis.com".to_owned()],
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Identity {
    pub(super) audience: String,
    pub(super) issuers: Vec<Issuer>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            audience: "turnpike".to_owned(),
            issuers: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Issuer {
    pub(super) issuer: String,
    #[serde(default)]
    pub(super) audience: Option<String>,
    #[serde(default)]
    pub(super) jwks_file: Option<String>,
    #[serde(default)]
    pub(super) jwks_url: Option<String>,
    #[serde(default)]
    pub(super) service_accounts: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Credential {
    pub(super) source: Source,
    pub(super) access_token_file: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Source {
    #[default]
    ApplicationDefault,
    AccessTokenFile,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Upstream {
    pub(super) host: String,
    #[serde(default)]
    pub(super) address: Option<String>,
    #[serde(default)]
    pub(super) ca_file: Option<String>,
    #[serde(default)]
    pub(super) plaintext: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Audit {
    pub(super) dir: String,
    pub(super) spool_mib: u64,
    pub(super) sink: Sink,
    pub(super) topic: Option<String>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            dir: "audit".to_owned(),
            spool_mib: 1024,
            sink: Sink::Local,
            topic: None,
        }
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Sink {
    #[default]
    Local,
    PubSub,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) masked_answer_mib: u32,
    pub(super) masked_total_mib: u32,
    pub(super) read_body_mib: u32,
    pub(super) read_total_mib: u32,
    pub(super) held_body_mib: u32,
    pub(super) held_total_mib: u32,
    pub(super) held_dir: Option<String>,
    pub(super) open_requests_per_agent: u32,
    pub(super) answer_within_seconds: u64,
    pub(super) idle_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            masked_answer_mib: 16,
            masked_total_mib: 128,
            read_body_mib: 32,
            read_total_mib: 128,
            held_body_mib: 64,
            held_total_mib: 1024,
            held_dir: None,
            open_requests_per_agent: 32,
            answer_within_seconds: 600,
            idle_seconds: 60,
        }
    }
}
