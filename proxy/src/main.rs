//! `turnpike-proxy`: the command line.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use turnpike_proxy::{cluster, config, keys, server, standalone};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The gate between AI agents and Google Cloud.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run without a cluster: policies, approvals and records are files in a folder.
    Standalone {
        /// The folder with turnpike.yaml.
        #[arg(long, required_unless_present = "init")]
        config: Option<PathBuf>,
        /// Write a commented example into this folder, and do nothing else.
        #[arg(long, conflicts_with = "config")]
        init: Option<PathBuf>,
    },
    /// Run in a cluster: policies and approvals come from the API server.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Turnpike's own namespace.
        #[arg(long, env = "POD_NAMESPACE")]
        namespace: String,
        /// Name of this replica, the pod's.
        #[arg(long, env = "POD_NAME")]
        replica: String,
    },
    /// Print a short-lived agent token, signed with the key of a standalone folder.
    Token {
        /// The folder with turnpike.yaml.
        #[arg(long)]
        config: PathBuf,
        /// The agent, as NAMESPACE/NAME.
        #[arg(long, value_parser = agent)]
        agent: (String, String),
        /// How long the token is good for, in minutes.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=720))]
        minutes: u32,
    },
}

fn agent(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        _ => Err("name an agent as NAMESPACE/NAME, for example agents/coder".to_owned()),
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("turnpike-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Standalone { init: Some(dir), .. } => {
            config::init::init(&dir)?;
            println!(
                "Wrote {0}/turnpike.yaml and {0}/policies/coder.yaml. Run: turnpike-proxy standalone --config {0}",
                dir.display()
            );
            Ok(())
        }
        Command::Standalone {
            config: Some(dir), ..
        } => serve(async move { standalone::run(&dir, server::stop_on_signals()?).await }),
        Command::Serve {
            config,
            namespace,
            replica,
        } => {
            serve(async move { cluster::run(&config, namespace, replica, server::stop_on_signals()?).await })
        }
        Command::Standalone {
            config: None,
            init: None,
        } => anyhow::bail!("name a folder with --config or --init"),
        Command::Token {
            config: dir,
            agent: (namespace, name),
            minutes,
        } => {
            let config = config::Config::read(&dir.join("turnpike.yaml"))?;
            anyhow::ensure!(
                config.issuers.iter().any(|i| i.name == keys::ISSUER),
                "{}/turnpike.yaml does not trust the issuer {}, whose key is in this folder",
                dir.display(),
                keys::ISSUER
            );
            let ttl = Duration::from_secs(u64::from(minutes) * 60);
            println!("{}", keys::mint(&dir, &namespace, &name, &config.audience, ttl)?);
            Ok(())
        }
    }
}

fn serve(what: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .init();
    rustls::crypto::CryptoProvider::install_default(rustls::crypto::aws_lc_rs::default_provider())
        .map_err(|_| anyhow::anyhow!("another cryptography provider is installed"))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?
        .block_on(what)
}
