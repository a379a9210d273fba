//! The operator's binary: flags, logs, signals; everything else is in the library.

use anyhow::Context as _;
use clap::Parser as _;
use tokio_util::sync::CancellationToken;
use turnpike_operator::{Args, run, telemetry};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    telemetry::init(&args.log).context("cannot set up logging")?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed before ours"))?;
    let config = args.into_config().context("invalid flags")?;
    let client = kube::Client::try_default()
        .await
        .context("no Kubernetes configuration")?;

    let stop = CancellationToken::new();
    telemetry::cancel_on_signal(stop.clone()).context("cannot listen for signals")?;
    run(config, client, stop).await.context("operator stopped")
}
