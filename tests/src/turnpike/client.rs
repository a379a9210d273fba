//! An agent that makes single HTTP calls through a proxy, for tests that gcloud is too coarse for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longer than any call may be held here.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A client that comes by `HTTPS_PROXY` and sends one token.
#[derive(Clone, Debug)]
pub struct Agent {
    client: reqwest::Client,
    token: Option<String>,
}

/// An answer as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The reason code of an error in Google's shape; empty where there is none.
    #[must_use]
    pub fn reason(&self) -> String {
        self.error("/error/details/0/reason")
    }

    /// The message of an error in Google's shape; empty where there is none.
    #[must_use]
    pub fn message(&self) -> String {
        self.error("/error/message")
    }

    /// A fact of a refusal, such as `approvalRequest`; empty where it is not told.
    #[must_use]
    pub fn fact(&self, name: &str) -> String {
        self.error(&format!("/error/details/0/metadata/{name}"))
    }

    /// Status and reason in one, for comparison: `403 NO_RULE_ALLOWS`, or `200`.
    #[must_use]
    pub fn verdict(&self) -> String {
        format!("{} {}", self.status, self.reason()).trim_end().to_owned()
    }

    fn error(&self, pointer: &str) -> String {
        let value = self.json();
        let text = value.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }
}

impl Agent {
    /// An agent behind the proxy at this address.
    ///
    /// # Errors
    /// The certificate is refused.
    pub fn new(proxy: SocketAddr, ca_pem: &str, token: Option<&str>) -> Result<Self> {
        let client = reqwest::Client::builder()
            .proxy(reqwest::Proxy::https(format!("http://{proxy}"))?)
            .tls_certs_only([reqwest::Certificate::from_pem(ca_pem.as_bytes())?])
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self {
            client,
            token: token.map(str::to_owned),
        })
    }

    /// The same client with another token, or none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            client: self.client.clone(),
            token: token.map(str::to_owned),
        }
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        self.send(self.client.get(url)).await
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn post(&self, url: &str, body: &Value) -> Result<Answer> {
        self.send(self.client.post(url).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.context("no answer")?;
        Ok(Answer {
            status: answer.status().as_u16(),
            body: answer.text().await.context("the answer broke off")?,
        })
    }
}

/// One connection through one CONNECT, used for one call after the other. It never reconnects: a connection
/// that the proxy closes fails the next call.
#[derive(Debug)]
pub struct Tunnel {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    token: String,
}

impl Tunnel {
    /// Connects to a host through the proxy at this address.
    ///
    /// # Errors
    /// The proxy refuses, or TLS fails.
    pub async fn open(proxy: SocketAddr, ca_pem: &str, host: &str, token: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(proxy).await.context("connect")?;
        let connect = format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n");
        stream.write_all(connect.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(head.len() < 4096, "the answer to CONNECT is too long");
            head.push(stream.read_u8().await.context("the answer to CONNECT")?);
        }
        let head = String::from_utf8_lossy(&head);
        ensure!(head.starts_with("HTTP/1.1 200"), "CONNECT: {head}");

        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .context("TLS in the tunnel")?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Its end shows at the next call.
            connection.await.ok();
        });
        Ok(Self {
            sender,
            host: host.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Reads a path of the host.
    ///
    /// # Errors
    /// The connection is closed, or breaks off.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        self.sender.ready().await.context("the connection is closed")?;
        let request = http::Request::get(path)
            .header("host", &self.host)
            .header("authorization", format!("Bearer {}", self.token))
            .body(Full::default())?;
        let answer = self.sender.send_request(request).await.context("no answer")?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(Answer {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}
