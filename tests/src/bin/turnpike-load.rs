//! `turnpike-load`: a bounded load of one call through a proxy, or straight to an upstream, over keep-alive
//! connections; prints one JSON line of figures. Loopback only.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Makes the same call again and again.
#[derive(Debug, Parser)]
struct Args {
    /// Where to connect: the proxy, or with --direct the upstream itself.
    #[arg(long)]
    connect: SocketAddr,
    /// Speak TLS with the address at once, without CONNECT.
    #[arg(long)]
    direct: bool,
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
    /// Connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Calls in all, after the warm-up.
    #[arg(long, default_value_t = 20_000)]
    calls: usize,
    /// Calls in all before the clock starts.
    #[arg(long, default_value_t = 2_000)]
    warm_up: usize,
    /// Process whose CPU time is measured.
    #[arg(long)]
    pid: Option<u32>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Arc::new(Args::parse());
    ensure!(
        args.connect.ip().is_loopback(),
        "loads go to loopback addresses alone"
    );
    let token = std::fs::read_to_string(&args.token_file)
        .context("the token")?
        .trim()
        .to_owned();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&args.ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(config));
    let mut senders = Vec::new();
    for _ in 0..args.connections {
        senders.push(open(&args, &tls).await?);
    }
    let senders = run(&args, &token, senders, args.warm_up).await?.0;
    let cpu_before = args.pid.map(cpu_seconds).transpose()?;
    let started = Instant::now();
    let (_, mut latencies) = run(&args, &token, senders, args.calls).await?;
    let took = started.elapsed().as_secs_f64();
    let cpu = args
        .pid
        .map(cpu_seconds)
        .transpose()?
        .zip(cpu_before)
        .map(|(after, before)| after - before);
    latencies.sort_unstable();
    let at = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    let calls = latencies.len() as f64;
    println!(
        "{}",
        serde_json::json!({
            "calls": latencies.len(),
            "connections": args.connections,
            "seconds": took,
            "calls_per_second": calls / took,
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "cpu_seconds_per_10k": cpu.map(|c| c / calls * 10_000.0),
        })
    );
    Ok(())
}

type Sender = http1::SendRequest<Empty<Bytes>>;

async fn open(args: &Args, tls: &TlsConnector) -> Result<Sender> {
    let mut tcp = TcpStream::connect(args.connect).await?;
    tcp.set_nodelay(true)?;
    if !args.direct {
        tcp.write_all(format!("CONNECT {0}:443 HTTP/1.1\r\nHost: {0}:443\r\n\r\n", args.host).as_bytes())
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
    }
    let stream = tls.connect(ServerName::try_from(args.host.clone())?, tcp).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // An error shows at the next call on the connection.
        connection.await.ok();
    });
    Ok(sender)
}

async fn run(
    args: &Arc<Args>,
    token: &str,
    senders: Vec<Sender>,
    calls: usize,
) -> Result<(Vec<Sender>, Vec<Duration>)> {
    let each = calls / senders.len().max(1);
    let mut tasks = Vec::new();
    for mut sender in senders {
        let (args, token) = (args.clone(), token.to_owned());
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::with_capacity(each);
            for _ in 0..each {
                let request = Request::get(&args.path)
                    .header("host", &args.host)
                    .header("authorization", format!("Bearer {token}"))
                    .header("user-agent", "turnpike-load")
                    .body(Empty::new())?;
                let started = Instant::now();
                sender.ready().await?;
                let answer = sender.send_request(request).await?;
                let status = answer.status();
                let body = answer.into_body().collect().await?.to_bytes();
                ensure!(
                    status == StatusCode::OK,
                    "{status}: {}",
                    String::from_utf8_lossy(&body)
                );
                latencies.push(started.elapsed());
            }
            Ok((sender, latencies))
        }));
    }
    let (mut senders, mut latencies) = (Vec::new(), Vec::new());
    for task in tasks {
        let (sender, found) = task.await??;
        senders.push(sender);
        latencies.extend(found);
    }
    Ok((senders, latencies))
}

/// User and system time of a process, in seconds (proc(5), fields 14 and 15 of stat).
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').context("the format of stat")?.1;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    // USER_HZ is 100 on every Linux architecture that Turnpike runs on.
    Ok(ticks as f64 / 100.0)
}
