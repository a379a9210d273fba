//! An agent's HTTP client, taken apart: CONNECT, TLS, and HTTP/1.1 or HTTP/2 on top, each with what a test
//! wants to say in it. It trusts Turnpike's root alone, retries nothing and follows nothing.

use std::{io, net::SocketAddr, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// The body of a request.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The protocol inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1
    Http1,
    /// HTTP/2
    Http2,
}

/// An agent at a proxy.
#[derive(Clone, Debug)]
pub struct Agent {
    proxy: SocketAddr,
    roots: Arc<RootCertStore>,
    token: Option<String>,
}

/// A body that is at hand.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

impl Agent {
    /// An agent that trusts these certificates alone.
    ///
    /// # Errors
    /// They are not PEM.
    pub fn new(proxy: SocketAddr, ca_pem: &str, token: Option<String>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate?)?;
        }
        Ok(Self {
            proxy,
            roots: Arc::new(roots),
            token,
        })
    }

    /// The token that it sends as its bearer.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.as_deref().unwrap_or("")
    }

    /// The same agent with another token, or none.
    #[must_use]
    pub fn with_token(&self, token: Option<&str>) -> Self {
        Self {
            token: token.map(str::to_owned),
            ..self.clone()
        }
    }

    /// A connection to the proxy on which nothing was said.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn tcp(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.proxy).await.context("reach the proxy")?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A tunnel by CONNECT.
    ///
    /// # Errors
    /// It is refused: the error is the [`Answer`].
    pub async fn connect(&self, authority: &str, headers: &[(&str, &str)]) -> Result<TcpStream, Failed> {
        let mut stream = self.tcp().await.map_err(Failed::Other)?;
        let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let answer = async {
            stream.write_all(head.as_bytes()).await?;
            read_answer(&mut stream).await
        };
        match answer.await {
            Ok(answer) if answer.status == 200 => Ok(stream),
            Ok(answer) => Err(Failed::Answer(Box::new(answer))),
            Err(error) => Err(Failed::Other(error)),
        }
    }

    /// TLS on a connection, with this name in SNI.
    ///
    /// # Errors
    /// The handshake fails.
    pub async fn tls(
        &self,
        stream: TcpStream,
        sni: &str,
        protocol: Protocol,
    ) -> Result<TlsStream<TcpStream>> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        let name = ServerName::try_from(sni.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .context("TLS with the proxy")?;
        Ok(stream)
    }

    /// A connection for calls to a host: CONNECT, TLS, HTTP.
    ///
    /// # Errors
    /// Any of them fails.
    pub async fn open(&self, host: &str, protocol: Protocol) -> Result<Connection> {
        self.open_with(host, protocol, &[]).await
    }

    /// The same with headers in CONNECT.
    ///
    /// # Errors
    /// As [`Agent::open`].
    pub async fn open_with(
        &self,
        host: &str,
        protocol: Protocol,
        headers: &[(&str, &str)],
    ) -> Result<Connection> {
        let tunnel = self.connect(&format!("{host}:443"), headers).await?;
        let stream = self.tls(tunnel, host, protocol).await?;
        self.speak(stream, host, protocol).await
    }

    /// HTTP on a TLS connection.
    ///
    /// # Errors
    /// The handshake of HTTP/2 fails.
    pub async fn speak(
        &self,
        stream: TlsStream<TcpStream>,
        host: &str,
        protocol: Protocol,
    ) -> Result<Connection> {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|c| c.clone().into_owned()).collect();
        let io = TokioIo::new(stream);
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(2 << 20)
                    .handshake(io)
                    .await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Connection {
            sender,
            host: host.to_owned(),
            token: self.token.clone(),
            chain,
        })
    }

    /// One call on a connection of its own, by HTTP/1.1. `url` is `host/path?query`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call(&self, verb: &str, url: &str, body: &str) -> Result<Answer> {
        let (host, path) = url.split_once('/').context("host/path")?;
        let mut connection = self.open(host, Protocol::Http1).await?;
        connection.call(verb, &format!("/{path}"), body).await
    }

    /// `GET` of `host/path?query`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        self.call("GET", url, "").await
    }

    /// Writes bytes into a fresh tunnel to a host, as HTTP/1.1 inside TLS, and reads one answer.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn raw(&self, host: &str, bytes: &[u8]) -> Result<Answer> {
        let tunnel = self.connect(&format!("{host}:443"), &[]).await?;
        let mut stream = self.tls(tunnel, host, Protocol::Http1).await?;
        stream.write_all(bytes).await?;
        read_answer(&mut stream).await
    }
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The proxy answers CONNECT with something else than 200.
    #[error("CONNECT is answered with {0:?}")]
    Answer(Box<Answer>),
    /// There is no answer.
    #[error("{0:#}")]
    Other(anyhow::Error),
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// An open connection to one host.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    host: String,
    token: Option<String>,
    /// The certificates that the proxy showed, the leaf first.
    pub chain: Vec<CertificateDer<'static>>,
}

impl Connection {
    /// A request for this connection, with the agent's token.
    ///
    /// # Errors
    /// The path is not one.
    pub fn request(&self, verb: &str, path: &str, body: Body) -> Result<Request<Body>> {
        let mut request = Request::new(body);
        *request.method_mut() = verb.parse::<Method>()?;
        match self.sender {
            Sender::Http1(_) => {
                *request.uri_mut() = path.parse::<Uri>()?;
                request.headers_mut().insert(header::HOST, self.host.parse()?);
            }
            Sender::Http2(_) => *request.uri_mut() = format!("https://{}{path}", self.host).parse::<Uri>()?,
        }
        if let Some(token) = &self.token {
            let value = format!("Bearer {token}").parse()?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// Sends a request and gives the answer as a stream.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>> {
        Ok(match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// There is no answer, or it breaks off.
    pub async fn exchange(&mut self, request: Request<Body>) -> Result<Answer> {
        let (parts, body) = self.send(request).await?.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// One call with the agent's token; a body is JSON.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn call(&mut self, verb: &str, path: &str, body: &str) -> Result<Answer> {
        let mut request = self.request(verb, path, whole(body.to_owned()))?;
        if !body.is_empty() {
            let json = "application/json".parse()?;
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        self.exchange(request).await
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Status and reason code of a refusal of Turnpike's: what tests compare.
    #[must_use]
    pub fn refusal(&self) -> (u16, String) {
        let detail = &self.json()["error"]["details"][0];
        let reason = match detail["domain"].as_str() {
            Some("turnpike.dev") => detail["reason"].as_str().unwrap_or("no reason"),
            _ => "not Turnpike's",
        };
        (self.status, reason.to_owned())
    }

    /// The message of an error.
    #[must_use]
    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or("").to_owned()
    }
}

/// Reads one HTTP/1.1 answer with a known length, byte by byte up to the end of its head, so that nothing
/// of what follows is lost.
async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(head.len() < 64 * 1024, "the head has no end");
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if head.is_empty() => return Err(error).context("closed without an answer"),
            Err(error) => return Err(error).context("the head breaks off"),
        }
    }
    let text = String::from_utf8(head)?;
    let mut lines = text.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let mut headers = HeaderMap::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':') else {
            bail!("no header: {line}")
        };
        headers.append(
            http::HeaderName::from_bytes(name.as_bytes())?,
            value.trim().parse()?,
        );
    }
    let length = match headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.to_str()?.parse()?,
        None => 0,
    };
    let mut body = vec![0; length];
    stream
        .read_exact(&mut body)
        .await
        .context("the body breaks off")?;
    Ok(Answer {
        status: status.context("no status")?.parse()?,
        headers,
        body: body.into(),
    })
}
