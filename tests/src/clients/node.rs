//! Node: `@google-cloud/storage`, `google-auth-library` and `@google-cloud/secret-manager`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{Client, Site, Step, Variables, installed, script, secret_steps, storage_steps};
use crate::tools;

/// Over REST: gaxios reads the proxy in either case.
pub(super) const REST: Client = Client {
    name: "node-rest",
    steps: |name| storage_steps(name, true),
    environment: |site| environment(site, "HTTPS_PROXY"),
    program: |site, step| node(site, step, "node/rest.mjs"),
};

/// Over gRPC, which reads the proxy in lower case alone.
pub(super) const GRPC: Client = Client {
    name: "node-grpc",
    steps: secret_steps,
    environment: |site| environment(site, "https_proxy"),
    program: |site, step| node(site, step, "node/rpc.mjs"),
};

fn environment(site: &Site, proxy: &'static str) -> Result<Variables> {
    let modules = installed::node_modules()?;
    let mut variables = vec![
        (proxy, site.proxy.clone()),
        // Else gaxios asks the proxy for the token endpoint, too.
        ("NO_PROXY", "127.0.0.1".to_owned()),
        ("NODE_EXTRA_CA_CERTS", site.ca()),
        // For the script alone: its packages are not beside it.
        ("TURNPIKE_CLIENT_MODULES", modules.display().to_string()),
    ];
    variables.extend(site.default_credential());
    Ok(variables)
}

fn node(site: &Site, step: &Step, file: &str) -> Result<Command> {
    let node = tools::which("node").context("node is not on PATH: install Node 20 or newer")?;
    Ok(script(site, step, Path::new(&node), file))
}
