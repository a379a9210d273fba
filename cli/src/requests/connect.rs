//! From a kubeconfig to a client, and from a client's errors to sentences.
//!
//! Errors of kubeconfigs and credential plugins may quote what they failed to read, which holds tokens and
//! keys. So they are told in our own words, with the place and never the content.

use std::{net::IpAddr, time::Duration};

use anyhow::{Result, anyhow};
use kube::{
    Client, Config,
    client::AuthError,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::args::Target;

/// An API server that takes longer is not there.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// A request here is small, and a person waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A client and what it was made for.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) namespace: String,
    server: String,
}

/// Makes a client as kubectl would: flags, kubeconfig, and inside a pod its ServiceAccount.
pub(super) async fn connect(target: &Target) -> Result<Connection> {
    // An error says that there is a provider already, which is as good.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok();
    let mut config = config(target).await?;
    let server = server_of(&config);
    if let Some(user) = &target.as_user {
        config.auth_info.impersonate = Some(user.clone());
    }
    if !target.as_group.is_empty() {
        if target.as_user.is_none() {
            return Err(anyhow!(
                "--as-group needs --as: the API server knows no group without a user"
            ));
        }
        config.auth_info.impersonate_groups = Some(target.as_group.clone());
    }
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(ANSWER_WITHIN);
    if config.proxy_url.is_some() {
        let exempt = ["NO_PROXY", "no_proxy"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .unwrap_or_default();
        if bypasses_proxy(config.cluster_url.host().unwrap_or_default(), &exempt) {
            config.proxy_url = None;
        } else {
            return Err(anyhow!(
                "the API server {server} is to be reached through an HTTP proxy (proxy-url of the kubeconfig, or \
                 HTTPS_PROXY), which kubectl-turnpike does not do; name the server in NO_PROXY if it can be \
                 reached directly, or approve with plain kubectl"
            ));
        }
    }
    let namespace = target
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).map_err(|e| sentence(e, &server, "connect"))?;
    Ok(Connection {
        client,
        namespace,
        server,
    })
}

async fn config(target: &Target) -> Result<Config> {
    let options = KubeConfigOptions {
        context: target.context.clone(),
        ..KubeConfigOptions::default()
    };
    let found = match &target.kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(read) => Config::from_custom_kubeconfig(read, &options).await,
            Err(error) => Err(error),
        },
        None => Config::from_kubeconfig(&options).await,
    };
    match found {
        Ok(config) => Ok(config),
        Err(error) => {
            let explicit = target.kubeconfig.is_some() || target.context.is_some();
            match Config::incluster() {
                Ok(config) if !explicit => Ok(config),
                _ => Err(kubeconfig_sentence(&error)),
            }
        }
    }
}

fn server_of(config: &Config) -> String {
    config.cluster_url.authority().map_or_else(
        || "of the kubeconfig".to_owned(),
        |a| {
            // Not what stands before an @.
            a.port()
                .map_or_else(|| a.host().to_owned(), |port| format!("{}:{port}", a.host()))
        },
    )
}

/// Whether a host is reached without the proxy, as Go's clients judge it: loopback always, else what
/// NO_PROXY lists by name, domain, address or network.
fn bypasses_proxy(host: &str, exempt: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|a| a.is_loopback()) {
        return true;
    }
    exempt
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" || entry == host {
                return true;
            }
            match (address, entry.split_once('/')) {
                (Some(address), Some((network, bits))) => match (network.parse(), bits.parse()) {
                    (Ok(network), Ok(bits)) => is_in(address, network, bits),
                    _ => false,
                },
                (Some(_), None) | (None, Some(_)) => false,
                (None, None) => {
                    let domain = entry.trim_start_matches("*.").trim_start_matches('.');
                    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
                }
            }
        })
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32_u32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    match width.checked_sub(bits) {
        None => false,
        Some(128) => true,
        Some(host_bits) => address >> host_bits == network >> host_bits,
    }
}

impl Connection {
    /// Says what failed, where, and what to do.
    pub(super) fn sentence(&self, error: kube::Error, what: &str) -> anyhow::Error {
        sentence(error, &self.server, what)
    }
}

fn sentence(error: kube::Error, server: &str, what: &str) -> anyhow::Error {
    match error {
        kube::Error::Api(status) => match status.code {
            401 => anyhow!("the API server {server} does not accept your credentials; log in again"),
            403 => anyhow!(
                "you may not {what}: {}; ask an administrator for a Role with get and list on approvalrequests \
                 and patch on approvalrequests/status, group turnpike.dev",
                status.message
            ),
            404 if is_missing_object(&status) => anyhow!("cannot {what}: {}", status.message),
            404 => anyhow!(
                "the cluster at {server} does not know approval requests; install Turnpike's custom resource \
                 definitions, or choose another cluster with --context"
            ),
            _ => anyhow!("cannot {what}: the API server {server} says: {}", status.message),
        },
        kube::Error::InferKubeconfig(error) => kubeconfig_sentence(&error),
        kube::Error::Auth(error) => auth_sentence(&error),
        kube::Error::Service(error) => match error.downcast_ref::<AuthError>() {
            Some(error) => auth_sentence(error),
            None => anyhow!(
                "cannot {what}: the API server {server} cannot be reached: {}",
                innermost(error.as_ref())
            ),
        },
        kube::Error::HyperError(error) => {
            anyhow!(
                "cannot {what}: the API server {server} cannot be reached: {}",
                innermost(&error)
            )
        }
        kube::Error::SerdeError(error) => anyhow!(
            "cannot {what}: an answer of {server} is not what was expected: {error}; does this kubectl-turnpike fit \
             the cluster's version?"
        ),
        other => anyhow!("cannot {what} at {server}: {other}"),
    }
}

/// "There is no such object", as against "there is no such resource".
pub(super) fn is_missing_object(status: &kube::core::Status) -> bool {
    let named = status.details.as_ref().is_some_and(|d| !d.name.is_empty());
    status.code == 404 && named
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn kubeconfig_sentence(error: &KubeconfigError) -> anyhow::Error {
    match error {
        KubeconfigError::Parse(error) => {
            let place = error.location().map_or_else(String::new, |l| {
                format!(" at line {}, column {}", l.line(), l.column())
            });
            anyhow!("the kubeconfig cannot be read: it is no kubeconfig{place}")
        }
        KubeconfigError::CurrentContextNotSet => {
            anyhow!(
                "the kubeconfig has no current context; name one with --context, or a standalone folder with --config"
            )
        }
        KubeconfigError::LoadContext(name) => {
            anyhow!("the kubeconfig has no context {name:?}; `kubectl config get-contexts` lists them")
        }
        KubeconfigError::FindPath => {
            anyhow!(
                "there is no kubeconfig: set KUBECONFIG or --kubeconfig, or name a standalone folder with --config"
            )
        }
        KubeconfigError::ReadConfig(error, path) => anyhow!(
            "there is no kubeconfig that can be read at {}: {error}; set KUBECONFIG or --kubeconfig, or name a \
             standalone folder with --config",
            path.display()
        ),
        other => anyhow!("the kubeconfig cannot be used: {other}"),
    }
}

fn auth_sentence(error: &AuthError) -> anyhow::Error {
    match error {
        // Neither its command line nor its output, which hold tokens.
        AuthError::AuthExecRun { out, .. } => anyhow!(
            "the credential plugin of the kubeconfig failed with {}; run `kubectl get ns` to see what it says",
            out.status
        ),
        AuthError::AuthExecStart(error) => {
            anyhow!("the credential plugin of the kubeconfig cannot be started: {error}")
        }
        AuthError::ReadTokenFile(error, path) => {
            anyhow!("the token file {} cannot be read: {error}", path.display())
        }
        AuthError::MissingCommand | AuthError::ExecMissingClusterInfo | AuthError::ExecPluginFailed => {
            anyhow!("the credential plugin of the kubeconfig cannot be used: {error}")
        }
        // The others may quote what they could not read.
        _ => anyhow!(
            "your credentials for the cluster cannot be used; log in again, or see what `kubectl get ns` says"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::bypasses_proxy;

    #[test]
    fn the_proxy_is_left_out_where_go_would() {
        let cases = [
            ("127.0.0.1", "", true),
            ("[::1]", "", true),
            ("localhost", "", true),
            ("api.acme.test", "", false),
            ("api.acme.test", "other.test, acme.test", true),
            ("api.acme.test", ".acme.test", true),
            ("acme.test", "acme.test", true),
            ("notacme.test", "acme.test", false),
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.0/99,0.0.0.0/0", true),
            ("fd00::1", "fd00::/16", true),
            ("fd00::1", "::/0", true),
            ("10.1.2.3", "*", true),
        ];
        for (host, exempt, bypassed) in cases {
            assert_eq!(
                bypasses_proxy(host, exempt),
                bypassed,
                "{host} with NO_PROXY={exempt}"
            );
        }
    }
}
