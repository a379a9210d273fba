//! `turnpike-idle`: many connections through a proxy that make one call each and then idle; prints one JSON line with
//! what they cost the proxy in memory. Loopback only.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

/// Connections from one address: ports for outgoing connections are some 28,000.
const EACH_ADDRESS: usize = 5_000;
/// Connections that are opened at once.
const AT_ONCE: usize = 16;
/// How long memory may take to come to rest.
const REST_WITHIN: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Speak {
    Http1,
    Http2,
}

/// Opens connections, makes one call on each, and lets them idle.
#[derive(Debug, Parser)]
struct Args {
    /// The proxy.
    #[arg(long)]
    connect: SocketAddr,
    /// Its process.
    #[arg(long)]
    pid: u32,
    /// Trusted certificate.
    #[arg(long)]
    ca: PathBuf,
    /// A file with the bearer token.
    #[arg(long)]
    token_file: PathBuf,
    /// Host of the call.
    #[arg(long)]
    host: String,
    /// Path and query of the call.
    #[arg(long)]
    path: String,
    /// What is spoken inside TLS.
    #[arg(long)]
    speak: Speak,
    /// Connections.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Connections that are opened, used and closed before memory is looked at.
    #[arg(long, default_value_t = 200)]
    warm_up: usize,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Arc::new(Args::parse());
    ensure!(
        args.connect.ip().is_loopback(),
        "connections go to loopback addresses alone"
    );
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&args.ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![match args.speak {
        Speak::Http1 => b"http/1.1".to_vec(),
        Speak::Http2 => b"h2".to_vec(),
    }];
    let tls = TlsConnector::from(Arc::new(config));
    let token = std::fs::read_to_string(&args.token_file).context("the token")?;
    let token: Arc<str> = token.trim().into();

    drop(open(&args, &tls, &token, args.warm_up).await?);
    let before = at_rest(args.pid).await?;
    let started = Instant::now();
    let open = open(&args, &tls, &token, args.connections).await?;
    let seconds = started.elapsed().as_secs_f64();
    let after = at_rest(args.pid).await?;
    let closed = open.iter().filter(|sender| match sender {
        Sender::Http1(sender) => sender.is_closed(),
        Sender::Http2(sender) => sender.is_closed(),
    });
    ensure!(closed.count() == 0, "the proxy has closed connections");
    println!(
        "{}",
        serde_json::json!({
            "connections": open.len(),
            "seconds": seconds,
            "before_kib": before / 1024,
            "after_kib": after / 1024,
            "kib_per_connection": after.saturating_sub(before) as f64 / 1024.0 / open.len().max(1) as f64,
        })
    );
    Ok(())
}

/// Opens so many connections and makes a call on each.
async fn open(args: &Arc<Args>, tls: &TlsConnector, token: &Arc<str>, count: usize) -> Result<Vec<Sender>> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (args, tls, token, next) = (args.clone(), tls.clone(), token.clone(), next.clone());
        tasks.spawn(async move {
            let mut senders = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, anyhow::Error>(senders);
                }
                let sender = one(&args, &tls, &token, number).await;
                senders.push(sender.with_context(|| format!("connection {number}"))?);
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(senders) = tasks.join_next().await {
        all.extend(senders??);
    }
    Ok(all)
}

async fn one(args: &Args, tls: &TlsConnector, token: &str, number: usize) -> Result<Sender> {
    let stream = tunnel(args, number).await?;
    let stream = tls
        .connect(ServerName::try_from(args.host.clone())?, stream)
        .await?;
    let io = TokioIo::new(stream);
    let request = |uri: String| {
        Request::get(uri)
            .header("authorization", format!("Bearer {token}"))
            .header("user-agent", "turnpike-idle")
    };
    let (sender, answer) = match args.speak {
        Speak::Http1 => {
            let (mut sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            let request = request(args.path.clone()).header("host", &args.host);
            let answer = sender.send_request(request.body(Empty::new())?).await?;
            (Sender::Http1(sender), answer)
        }
        Speak::Http2 => {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            let request = request(format!("https://{}{}", args.host, args.path));
            let answer = sender.send_request(request.body(Empty::new())?).await?;
            (Sender::Http2(sender), answer)
        }
    };
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    ensure!(
        status == StatusCode::OK,
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(sender)
}

async fn tunnel(args: &Args, number: usize) -> Result<TcpStream> {
    let address = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number / EACH_ADDRESS)?);
    let socket = TcpSocket::new_v4()?;
    socket.bind((address, 0).into())?;
    let mut tcp = socket.connect(args.connect).await?;
    tcp.set_nodelay(true)?;
    let host = &args.host;
    tcp.write_all(format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n").as_bytes())
        .await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.context("the proxy's answer to CONNECT")?);
    }
    ensure!(
        head.starts_with(b"HTTP/1.1 200"),
        "CONNECT: {}",
        String::from_utf8_lossy(&head)
    );
    Ok(tcp)
}

/// Resident memory of a process in bytes, once it no longer changes by much.
async fn at_rest(pid: u32) -> Result<u64> {
    let until = Instant::now() + REST_WITHIN;
    let mut last = resident(pid)?;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = resident(pid)?;
        if now.abs_diff(last) < 256 * 1024 {
            return Ok(now);
        }
        last = now;
    }
    bail!("the proxy's memory does not come to rest")
}

/// (proc(5), statm)
fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = text.split(' ').nth(1).context("statm")?.parse()?;
    Ok(pages * 4096)
}
