//! The clients of the matrix: each language's packages at pinned versions, from its own registry, and what of
//! `tests/clients` is compiled. gcloud and curl are the machine's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Tool;
use crate::{paths, shell};

#[path = "../../../tests/src/clients/pins.rs"]
mod pins;

/// Fetches a Maven project's libraries; the version is that of the plugin.
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// The sets, each with its version.
pub(super) fn tools() -> [(Tool, String); 4] {
    let tool = |pins: pins::Pins, programs, install| {
        let name = pins.name;
        let tool = Tool {
            name,
            programs,
            install,
        };
        (tool, pins.version())
    };
    [
        tool(pins::PYTHON, &["venv/bin/python"], install_python),
        tool(
            pins::NODE,
            &["node_modules/@google-cloud/storage/package.json"],
            install_node,
        ),
        tool(pins::GO, &["client"], build_go),
        tool(pins::JAVA, &["classes/Client.class"], build_java),
    ]
}

fn install_python(into: &Path, _version: &str) -> Result<()> {
    let python = program("python3", "Python 3.10 or newer with its venv module")?;
    let venv = into.join("venv");
    shell::run(Command::new(python).args(["-m", "venv"]).arg(&venv))?;
    shell::run(
        Command::new(venv.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
            ])
            .arg("-r")
            .arg(source("python/requirements.txt")),
    )
}

/// No package's script runs: none of these needs one.
fn install_node(into: &Path, _version: &str) -> Result<()> {
    let npm = program("npm", "Node 20 or newer with npm")?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source("node").join(file), into.join(file)).with_context(|| format!("copy {file}"))?;
    }
    shell::run(Command::new(npm).current_dir(into).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]))
}

fn build_go(into: &Path, _version: &str) -> Result<()> {
    let go = program("go", "Go 1.26 or newer")?;
    shell::run(
        Command::new(go)
            .current_dir(source("go"))
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly"])
            .args(["-ldflags", "-s -w", "-o"])
            .arg(into.join("client"))
            .arg("."),
    )
}

fn build_java(into: &Path, _version: &str) -> Result<()> {
    let maven = program("mvn", "Maven 3.8 or newer")?;
    let javac = program("javac", "a JDK of Java 17 or newer")?;
    let jars = into.join("jars");
    shell::run(
        Command::new(maven)
            .args(["--quiet", "--batch-mode", "-f"])
            .arg(source("java/pom.xml"))
            .arg(COPY_DEPENDENCIES)
            .arg("-DincludeScope=runtime")
            .arg(format!("-DoutputDirectory={}", jars.display())),
    )?;
    shell::run(
        Command::new(javac)
            .arg("-cp")
            .arg(jars.join("*"))
            .arg("-d")
            .arg(into.join("classes"))
            .arg(source("java/Client.java")),
    )
}

fn source(file: &str) -> PathBuf {
    paths::root().join("tests/clients").join(file)
}

fn program(name: &str, what: &str) -> Result<PathBuf> {
    paths::which(name)
        .with_context(|| format!("{name} is not on PATH, and a client is made with it: install {what}"))
}
