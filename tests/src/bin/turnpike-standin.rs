//! `turnpike-standin`: the stand-in for Google as a program, for the demo and the benchmarks.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use turnpike_tests::standin::{Options, Standin};

/// Answers as Google's APIs would, with invented data. For tests and demonstrations only.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Address of the APIs.
    #[arg(long, default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Serve TLS with an own authority, whose ca.pem is written to this directory.
    #[arg(long)]
    tls_dir: Option<PathBuf>,
    /// Address of the admin port: recorded requests, faults.
    #[arg(long)]
    admin: Option<SocketAddr>,
    /// How many requests to keep for the admin port; 0 keeps none.
    #[arg(long, default_value_t = 10_000)]
    record: usize,
    /// Answer 401 to calls whose bearer token does not start so.
    #[arg(long)]
    require_token: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args {
        listen,
        tls_dir,
        admin,
        record,
        require_token,
    } = Args::parse();
    let standin = Standin::start(Options {
        listen,
        admin,
        tls_dir,
        record,
        require_token,
    })
    .await?;
    match standin.admin_addr() {
        Some(admin) => println!("listening on {}, admin on {admin}", standin.addr()),
        None => println!("listening on {}", standin.addr()),
    }
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    standin.stop().await;
    Ok(())
}
