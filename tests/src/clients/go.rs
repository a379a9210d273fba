//! Go: `cloud.google.com/go/storage` and `cloud.google.com/go/secretmanager`.

use std::process::Command;

use anyhow::Result;

use super::{Client, Says, Site, Step, Variables, installed, secret_steps, storage_steps};
use crate::process::clean_command;

/// Over REST.
pub(super) const REST: Client = Client {
    name: "go-rest",
    steps: |name| storage_steps(name, true),
    environment,
    program: |site, step| go(site, step, "rest"),
};

/// Over gRPC. Objects come as a stream, and go by one that is open both ways.
pub(super) const GRPC: Client = Client {
    name: "go-grpc",
    steps: |name| {
        let mut steps = secret_steps(name);
        let text = format!("streamed by {name}\n");
        let stored = Says::exactly(format!("clients/{name}.txt {}\n", text.len()));
        steps.extend([
            Step::allowed("download", Says::exactly("Hello from the stand-in.\n")),
            Step::allowed("upload", stored).bringing(text),
        ]);
        steps
    },
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
