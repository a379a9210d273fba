//! Connections to upstreams: which address, which trust roots, which protocol.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::EgressError;

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Where the calls for some hosts really go: private endpoints in production, stand-ins in tests.
#[derive(Debug, Clone)]
pub struct UpstreamRoute {
    /// A host, `*.SUFFIX`, or `*` for every host.
    pub host: String,
    /// `ADDRESS:PORT` to connect to instead; `None` keeps the host's own.
    pub address: Option<String>,
    /// How.
    pub transport: RouteTransport,
}

/// How an upstream is spoken to.
#[derive(Clone)]
pub enum RouteTransport {
    /// TLS with the system's trust roots.
    Tls,
    /// TLS with these roots alone.
    TlsWithRoots(Arc<RootCertStore>),
    /// Plain HTTP; the configuration allows it for loopback addresses alone.
    Plaintext,
}

impl fmt::Debug for RouteTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "Tls",
            Self::TlsWithRoots(_) => "TlsWithRoots",
            Self::Plaintext => "Plaintext",
        })
    }
}

/// All routes; the most specific one that fits a host counts.
#[derive(Debug, Clone, Default)]
pub struct UpstreamMap {
    routes: Vec<(UpstreamRoute, Option<Arc<ClientConfig>>)>,
}

/// An open connection and the protocol on it.
#[derive(Debug)]
pub(super) enum Connection {
    Plain(TcpStream),
    Tls {
        stream: Box<TlsStream<TcpStream>>,
        http2: bool,
    },
}

/// Opens connections.
#[derive(Debug)]
pub struct Dialer {
    map: UpstreamMap,
    default: Arc<ClientConfig>,
}

impl Dialer {
    /// A dialer with these routes; hosts without one are reached at their own address with the system's
    /// trust roots.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(routes: Vec<UpstreamRoute>, provider: &Arc<CryptoProvider>) -> Result<Self, rustls::Error> {
        let default = client_config(provider, Arc::new(system_roots()))?;
        let mut map = UpstreamMap::default();
        for route in routes {
            let config = match &route.transport {
                RouteTransport::Tls => Some(default.clone()),
                RouteTransport::TlsWithRoots(roots) => Some(client_config(provider, roots.clone())?),
                RouteTransport::Plaintext => None,
            };
            map.routes.push((route, config));
        }
        // Exact names first, then the longest suffix, then the rest.
        map.routes
            .sort_by_key(|(r, _)| (r.host.starts_with('*'), std::cmp::Reverse(r.host.len())));
        Ok(Self { map, default })
    }

    pub(super) async fn dial(&self, host: &str) -> Result<Connection, EgressError> {
        match tokio::time::timeout(CONNECT_WITHIN, self.connect(host)).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(reason)) => Err(EgressError::Connect {
                host: host.to_owned(),
                reason,
            }),
            Err(_) => Err(EgressError::Connect {
                host: host.to_owned(),
                reason: format!("no connection within {} s", CONNECT_WITHIN.as_secs()),
            }),
        }
    }

    async fn connect(&self, host: &str) -> Result<Connection, String> {
        let route = self.map.routes.iter().find(|(r, _)| fits(&r.host, host));
        let (address, config) = match route {
            Some((route, config)) => (route.address.clone(), config.as_ref()),
            None => (None, Some(&self.default)),
        };
        let address = address.unwrap_or_else(|| format!("{host}:443"));
        let tcp = TcpStream::connect(&address)
            .await
            .map_err(|e| format!("{address}: {e}"))?;
        tcp.set_nodelay(true).map_err(|e| format!("{address}: {e}"))?;
        let Some(config) = config else {
            return Ok(Connection::Plain(tcp));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        let stream = TlsConnector::from(config.clone())
            .connect(name, tcp)
            .await
            .map_err(|e| format!("TLS with {address}: {e}"))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connection::Tls {
            stream: Box::new(stream),
            http2,
        })
    }
}

fn fits(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => pattern == host,
    }
}

fn client_config(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The system's trust roots, or Mozilla's where the system has none.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a trust root of the system cannot be read");
    }
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!(ignored, "the system has no trust roots; using the built-in ones");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Whether a plain connection to this address stays on this machine.
pub fn is_loopback(address: &str) -> bool {
    address.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_loopback())
        || address
            .rsplit_once(':')
            .is_some_and(|(host, _)| host == "localhost")
}
