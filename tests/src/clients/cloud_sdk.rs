//! The Google Cloud CLI: gcloud, gsutil and bq, as its package installs them.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::{Client, PROJECT, Says, Site, Step, Variables, storage_steps};
use crate::process::clean_command;
use crate::tools;

/// gcloud.
pub(super) const GCLOUD: Client = Client {
    name: "gcloud",
    steps: |name| {
        let mut steps = files_steps(name);
        // It writes what it got, without a line's end.
        steps.insert(1, Step::allowed("masked", Says::exactly("[MASKED:secret]")));
        steps
    },
    environment: |site| Ok(environment(site)),
    program: |site, step| {
        let mut command = clean_command(program("gcloud")?, site.home());
        match step.name {
            "read" => command.args(["storage", "cat", HELLO]),
            "masked" => command.args(["secrets", "versions", "access", "latest", "--secret=db-password"]),
            "write" => command
                .args(["storage", "cp"])
                .args(upload(site, "acme-dev-data", step)?),
            "refused" => command.args(["storage", "rm", HELLO]),
            "held" => command
                .args(["storage", "cp"])
                .args(upload(site, "acme-dev-artifacts", step)?),
            other => bail!("no such step: {other}"),
        };
        Ok(command)
    },
};

/// gsutil. By itself it ignores the token's file and calls as nobody, so it is told to be gcloud, which it is
/// only with an account.
pub(super) const GSUTIL: Client = Client {
    name: "gsutil",
    steps: files_steps,
    environment: |site| {
        let configuration = site.home().join("boto");
        fs::write(&configuration, "[GSUtil]\nuse_gcloud_storage = True\n")
            .with_context(|| format!("write {}", configuration.display()))?;
        let mut variables = environment(site);
        variables.push(("BOTO_CONFIG", configuration.display().to_string()));
        variables.push(("CLOUDSDK_CORE_ACCOUNT", "agent@example.com".to_owned()));
        Ok(variables)
    },
    program: |site, step| {
        let mut command = clean_command(program("gsutil")?, site.home());
        match step.name {
            "read" => command.args(["cat", HELLO]),
            "write" => command.arg("cp").args(upload(site, "acme-dev-data", step)?),
            "refused" => command.args(["rm", HELLO]),
            "held" => command.arg("cp").args(upload(site, "acme-dev-artifacts", step)?),
            other => bail!("no such step: {other}"),
        };
        Ok(command)
    },
};

/// bq.
pub(super) const BQ: Client = Client {
    name: "bq",
    steps: |name| {
        let made = "Dataset 'acme-dev:written_by_bq' successfully created.";
        let updated = "Dataset 'acme-dev:reports' successfully updated.";
        vec![
            Step::allowed(
                "read",
                Says::Among(vec!["\"id\":\"acme-dev:reports\"".to_owned()]),
            ),
            Step::allowed("write", Says::Among(vec![made.to_owned()])).bringing(format!("written by {name}")),
            Step::refused(),
            Step::held(Says::Among(vec![updated.to_owned()])).bringing(format!("held for {name}")),
        ]
    },
    environment: |site| Ok(environment(site)),
    program: |site, step| {
        let mut command = clean_command(program("bq")?, site.home());
        match step.name {
            "read" => command.args(["show", "--format=json", "acme-dev:reports"]),
            "write" => command.args([
                "mk",
                "--description",
                "written by bq",
                "--dataset",
                "acme-dev:written_by_bq",
            ]),
            "refused" => command.args(["rm", "--force", "--dataset", "acme-dev:reports"]),
            "held" => command.args(["update", "--description", "held for bq", "acme-dev:reports"]),
            other => bail!("no such step: {other}"),
        };
        Ok(command)
    },
};

const HELLO: &str = "gs://acme-dev-data/hello.txt";

/// What is common to all: they say nothing of uploads on their standard output.
fn files_steps(name: &'static str) -> Vec<Step> {
    let mut steps = storage_steps(name, false);
    for step in &mut steps {
        if step.brings.is_some() {
            step.says = Says::nothing();
        }
    }
    steps
}

/// A file that holds what a step brings, and where it goes.
fn upload(site: &Site, bucket: &str, step: &Step) -> Result<[String; 2]> {
    let file = site.file(step.name);
    let text = step.brings.as_deref().context("an upload brings something")?;
    fs::write(&file, text).with_context(|| format!("write {file}"))?;
    Ok([file, format!("gs://{bucket}/clients/{}.txt", site.name())])
}

fn environment(site: &Site) -> Variables {
    vec![
        ("CLOUDSDK_CONFIG", site.file("config")),
        ("HTTPS_PROXY", site.proxy.clone()),
        ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", site.ca()),
        ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", site.file("token")),
        ("CLOUDSDK_CORE_PROJECT", PROJECT.to_owned()),
        ("CLOUDSDK_CORE_CHECK_GCE_METADATA", "False".to_owned()),
        // For quiet runs alone.
        ("CLOUDSDK_CORE_DISABLE_PROMPTS", "1".to_owned()),
        ("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "true".to_owned()),
        (
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK",
            "true".to_owned(),
        ),
        ("CLOUDSDK_SURVEY_DISABLE_PROMPTS", "true".to_owned()),
    ]
}

fn program(name: &str) -> Result<PathBuf> {
    tools::which(name).with_context(|| {
        format!(
            "{name} is not on PATH: install the Google Cloud CLI, https://cloud.google.com/sdk/docs/install"
        )
    })
}
