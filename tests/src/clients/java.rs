//! Java: `google-cloud-storage`, and `google-auth-library` for the call that it has no class for.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

use super::{Client, Says, Site, Step, installed, storage_steps};
use crate::process::clean_command;
use crate::tools;

/// Of a store that holds nothing but a public certificate.
const STORE_PASSWORD: &str = "changeit";

/// Over REST. The virtual machine reads properties, and takes them from one variable.
pub(super) const REST: Client = Client {
    name: "java-rest",
    steps,
    environment: |site| {
        let (host, port) = site
            .proxy
            .trim_start_matches("http://")
            .split_once(':')
            .context("a proxy has a port")?;
        let options = format!(
            "-Dhttps.proxyHost={host} -Dhttps.proxyPort={port} -Djavax.net.ssl.trustStore={} \
             -Djavax.net.ssl.trustStorePassword={STORE_PASSWORD}",
            trust_store(site)?.display()
        );
        let mut variables = vec![("JAVA_TOOL_OPTIONS", options)];
        variables.extend(site.metadata_credential());
        Ok(variables)
    },
    program: |site, step| {
        let mut command = clean_command(tool("java")?, site.home());
        command
            // A short life: no time for the second compiler.
            .args(["-XX:TieredStopAtLevel=1", "-cp", &installed::java_class_path()?])
            .args(["Client", step.name, site.name()]);
        Ok(command)
    },
};

/// The masked secret is shown in the answer that it comes in.
fn steps(name: &'static str) -> Vec<Step> {
    let mut steps = storage_steps(name, true);
    for step in &mut steps {
        if step.name == "masked" {
            // "[MASKED:secret]" in base64.
            step.says = Says::Among(vec!["\"data\":\"W01BU0tFRDpzZWNyZXRd\"".to_owned()]);
        }
    }
    steps
}

/// Java reads no PEM: the certificate is put into a store of its own, once.
fn trust_store(site: &Site) -> Result<PathBuf> {
    let store = site.home().join("trust.p12");
    if store.exists() {
        return Ok(store);
    }
    let output = clean_command(tool("keytool")?, site.home())
        .args([
            "-importcert",
            "-noprompt",
            "-alias",
            "turnpike",
            "-file",
            &site.ca(),
        ])
        .args(["-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-keystore"])
        .arg(&store)
        .output()
        .context("start keytool")?;
    ensure!(
        output.status.success(),
        "keytool: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(store)
}

fn tool(name: &str) -> Result<PathBuf> {
    tools::which(name).with_context(|| format!("{name} is not on PATH: install Java 17 or newer"))
}
