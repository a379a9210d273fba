//! `turnpike-agent`: one API call through a Turnpike proxy, as an agent without gcloud would make it. The
//! demo plays it where gcloud is not installed.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

/// Makes one call through a proxy and prints its answer.
#[derive(Debug, Parser)]
struct Args {
    /// The proxy, as http://HOST:PORT.
    #[arg(long, env = "HTTPS_PROXY")]
    proxy: String,
    /// The certificate that signs what the proxy serves.
    #[arg(long)]
    ca: PathBuf,
    /// A file with the agent's token.
    #[arg(long)]
    token_file: PathBuf,
    /// A JSON body.
    #[arg(long)]
    body: Option<String>,
    /// HTTP verb.
    verb: String,
    /// URL.
    url: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    match call(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("turnpike-agent: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether the call succeeded.
async fn call(args: Args) -> Result<bool> {
    let ca = std::fs::read(&args.ca).with_context(|| args.ca.display().to_string())?;
    let token =
        std::fs::read_to_string(&args.token_file).with_context(|| args.token_file.display().to_string())?;
    let client = reqwest::Client::builder()
        .proxy(reqwest::Proxy::https(&args.proxy)?)
        .tls_certs_only([reqwest::Certificate::from_pem(&ca)?])
        .build()?;
    let mut request = client
        .request(args.verb.parse()?, &args.url)
        .bearer_auth(token.trim());
    if let Some(body) = args.body {
        request = request.header("content-type", "application/json").body(body);
    }
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    if status.is_success() {
        println!("{text}");
        return Ok(true);
    }
    let error: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    eprintln!(
        "ERROR {}: {}",
        status.as_u16(),
        error["error"]["message"].as_str().unwrap_or(&text)
    );
    Ok(false)
}
