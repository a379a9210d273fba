//! `turnpike-proxy`: the command line.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, Subcommand};
use turnpike_proxy::{cluster, config, keys, server, standalone, tls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The gate between AI agents and Google Cloud.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Which log lines are written, as in `info,turnpike_proxy=debug`.
    #[arg(long, env = "TURNPIKE_LOG", default_value = "info", global = true)]
    log: String,
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
    /// Make the interception authority for `serve`: ca.pem, which agents trust, and issuing.pem and
    /// issuing-key.pem, which the proxies need. The root's key is thrown away.
    Ca {
        /// A folder without an authority; it is made where it is not there.
        #[arg(long)]
        out: PathBuf,
        /// Domains that certificates may be issued for, with all their subdomains.
        #[arg(long, value_delimiter = ',', default_value = "googleapis.com", value_parser = domain)]
        domains: Vec<String>,
    },
    /// Check a configuration file, and do nothing else.
    CheckConfig {
        /// The file, as in turnpike.yaml.
        file: PathBuf,
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

/// A domain as name constraints write it: lower-case labels, without a wildcard.
fn domain(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.split('.').count() >= 2 && text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err("name a domain in lower case without a wildcard, for example googleapis.com".to_owned())
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
    let log = cli.log;
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
        } => serve(&log, async move {
            standalone::run(&dir, server::stop_on_signals()?).await
        }),
        Command::Serve {
            config,
            namespace,
            replica,
        } => serve(&log, async move {
            cluster::run(&config, namespace, replica, server::stop_on_signals()?).await
        }),
        Command::Standalone {
            config: None,
            init: None,
        } => anyhow::bail!("name a folder with --config or --init"),
        Command::Ca { out, domains } => {
            tls::ca::create(&out, &domains)?;
            println!(
                "Wrote {0}/{1}, which agents trust, and {0}/{2} and {0}/{3}, which the proxies need.",
                out.display(),
                tls::ca::ROOT,
                tls::ca::ISSUING,
                tls::ca::ISSUING_KEY
            );
            Ok(())
        }
        Command::CheckConfig { file } => {
            config::Config::read(&file)?;
            println!("{}: ok", file.display());
            Ok(())
        }
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

fn serve(log: &str, what: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(log)
        .with_context(|| format!("{log:?} is no log filter such as info,turnpike_proxy=debug"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
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
