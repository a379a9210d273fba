//! Go: `cloud.google.com/go/storage` and `cloud.google.com/go/secretmanager`.

use std::process::Command;

use anyhow::Result;

use super::{Client, Site, Step, Variables, installed, secret_steps, storage_steps};
use crate::process::clean_command;

/// Over REST.
pub(super) const REST: Client = Client {
    name: "go-rest",
    steps: |name| storage_steps(name, true),
    environment,
    program: |site, step| go(site, step, "rest"),
};

/// Over gRPC.
pub(super) const GRPC: Client = Client {
    name: "go-grpc",
    steps: secret_steps,
    environment,
    program: |site, step| go(site, step, "grpc"),
};

fn environment(site: &Site) -> Result<Variables> {
    let mut variables = vec![("HTTPS_PROXY", site.proxy.clone()), ("SSL_CERT_FILE", site.ca())];
    variables.extend(site.default_credential());
    Ok(variables)
}

fn go(site: &Site, step: &Step, protocol: &str) -> Result<Command> {
    let mut command = clean_command(installed::go()?, site.home());
    command.args([protocol, step.name, site.name()]);
    Ok(command)
}
