//! An upstream that answers what a test says, byte for byte: odd codings, broken bodies, protocols by choice.
//! For Google's shapes there is the stand-in.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Route,
    client::{Body, Protocol},
};

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `VERB host path?query`
    pub line: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The protocol it came by.
    pub version: Version,
}

/// Makes the answer.
type Answerer = Arc<dyn Fn(&Seen) -> Response<Body> + Send + Sync>;

/// A running upstream. Dropping it stops it.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    ca_pem: Option<String>,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: DropGuard,
}

impl From<&Upstream> for Route {
    fn from(upstream: &Upstream) -> Self {
        match &upstream.ca_pem {
            Some(pem) => Self::Tls(upstream.addr, pem.clone()),
            None => Self::Plain(upstream.addr),
        }
    }
}

impl Upstream {
    /// Starts one that speaks plain HTTP/1.1.
    ///
    /// # Errors
    /// No port is free.
    pub async fn plain(answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Result<Self> {
        Self::start(None, Arc::new(answer)).await
    }

    /// Starts one that speaks TLS with a certificate for these hosts, and one protocol in it.
    ///
    /// # Errors
    /// No port is free, or the certificate cannot be made.
    pub async fn tls(
        hosts: &[&str],
        protocol: Protocol,
        answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::start(Some(acceptor(hosts, protocol)?), Arc::new(answer)).await
    }

    async fn start(tls: Option<(TlsAcceptor, String)>, answer: Answerer) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (tls, ca_pem) = tls.unzip();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let accepting = accept(listener, tls, answer, seen.clone(), stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accepting));
        Ok(Self {
            addr,
            ca_pem,
            seen,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What has arrived, oldest first.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    answer: Answerer,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: CancellationToken,
) {
    // An accept that fails ends the upstream, which the test sees as one that is down.
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answer, seen) = (tls.clone(), answer.clone(), seen.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            match tls {
                None => serve(stream, answer, seen).await,
                Some(tls) => {
                    // Who does not trust the certificate says so himself.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, answer, seen).await;
                    }
                }
            }
        }));
    }
}

async fn serve<I>(io: I, answer: Answerer, seen: Arc<Mutex<Vec<Seen>>>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (answer, seen) = (answer.clone(), seen.clone());
        async move {
            let (head, body) = request.into_parts();
            let host = match (head.uri.host(), head.headers.get(http::header::HOST)) {
                (Some(host), _) => host.to_owned(),
                (None, host) => host.map_or(String::new(), |h| String::from_utf8_lossy(h.as_bytes()).into()),
            };
            let target = head.uri.path_and_query().map_or("", |p| p.as_str());
            let request = Seen {
                line: format!("{} {host} {target}", head.method),
                headers: head.headers,
                // A body that breaks off counts as empty here.
                body: body.collect().await.map_or(Bytes::new(), |b| b.to_bytes()),
                version: head.version,
            };
            seen.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(request.clone());
            Ok::<_, Infallible>(answer(&request))
        }
    });
    // How a connection ends is the client's to report.
    auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(io), service)
        .await
        .ok();
}

fn acceptor(hosts: &[&str], protocol: Protocol) -> Result<(TlsAcceptor, String)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names: Vec<String> = hosts.iter().map(|&h| h.to_owned()).collect();
    let leaf = CertificateParams::new(names)?.signed_by(&key, &root)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    Ok((TlsAcceptor::from(Arc::new(config)), root.pem()))
}
