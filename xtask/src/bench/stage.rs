//! A proxy in standalone mode before the stand-in for Google, for benchmarks.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::cargo;
use crate::{
    local::{Folder, Running, free_ports, get},
    paths, shell,
};

/// The host of the call that is measured.
pub(super) const HOST: &str = "storage.googleapis.com";
/// Its path.
pub(super) const PATH: &str = "/storage/v1/b/acme-dev-data";
const CREDENTIAL: &str = "standin-access-token-of-the-gateway";

/// What runs, until it is dropped.
pub(super) struct Stage {
    // Fields are dropped in this order: programs end before their folder goes.
    /// The proxy's process.
    pub(super) process: Running,
    _standin: Running,
    folder: Folder,
    /// Where the built programs are.
    pub(super) programs: PathBuf,
    /// Where the proxy takes calls.
    pub(super) proxy: SocketAddr,
    /// Where the stand-in takes them.
    pub(super) google: SocketAddr,
    /// A token of an agent.
    pub(super) token_file: PathBuf,
}

impl Stage {
    /// Builds the programs and starts them; `more` goes to the end of the proxy's configuration.
    ///
    /// # Errors
    /// A program cannot be built or started.
    pub(super) fn start(release: bool, more: &str) -> Result<Self> {
        let mut build = cargo()?;
        build.args(["build", "-p", "turnpike-proxy", "-p", "turnpike-tests", "--bins"]);
        if release {
            build.arg("--release");
        }
        shell::run(&mut build)?;
        let programs = paths::target()?.join(if release { "release" } else { "debug" });
        let folder = Folder::new("bench")?;
        let config = folder.path().join("turnpike");
        let [proxy, admin, google, google_admin] = free_ports()?;
        shell::read(
            Command::new(programs.join("turnpike-proxy"))
                .args(["standalone", "--init"])
                .arg(&config),
        )?;
        let tls = folder.path().join("google");
        let standin = Running::start(
            Command::new(programs.join("turnpike-standin"))
                .args([
                    "--listen",
                    &google.to_string(),
                    "--admin",
                    &google_admin.to_string(),
                    "--record",
                    "0",
                ])
                .arg("--tls-dir")
                .arg(&tls)
                .stdout(Stdio::null()),
        )?;
        wait(
            || get(google_admin, "/healthz").is_ok_and(|a| a.starts_with("HTTP/1.1 200")),
            "the stand-in",
        )?;
        let path = config.join("turnpike.yaml");
        let text = fs::read_to_string(&path)?
            .replace("listen: 127.0.0.1:8443", &format!("listen: {proxy}"))
            .replace("admin: 127.0.0.1:9443", &format!("admin: {admin}"))
            .replace(
                "source: ApplicationDefault",
                "source: AccessTokenFile\n  accessTokenFile: google-token",
            );
        let upstream = format!(
            "  - {{host: \"*\", address: \"{google}\", caFile: \"{}\"}}\n",
            tls.join("ca.pem").display()
        );
        fs::write(&path, format!("{text}\nupstreams:\n{upstream}{more}"))?;
        fs::write(config.join("google-token"), CREDENTIAL)?;
        // As many descriptors as the system lets it have: thousands of connections need them.
        let process = Running::start(
            Command::new("sh")
                .args(["-c", "ulimit -n \"$(ulimit -Hn)\" && exec \"$0\" \"$@\""])
                .arg(programs.join("turnpike-proxy"))
                .args(["standalone", "--config"])
                .arg(&config)
                .env("TURNPIKE_LOG", "warn")
                .stdout(Stdio::null()),
        )?;
        wait(
            || get(admin, "/readyz").is_ok_and(|a| a.starts_with("HTTP/1.1 200")),
            "the proxy",
        )?;
        let token = shell::read(
            Command::new(programs.join("turnpike-proxy"))
                .args(["token", "--agent", "agents/coder", "--config"])
                .arg(&config),
        )?;
        let token_file = folder.path().join("token.jwt");
        fs::write(&token_file, token)?;
        Ok(Self {
            process,
            _standin: standin,
            folder,
            programs,
            proxy,
            google,
            token_file,
        })
    }

    /// What agents trust.
    pub(super) fn proxy_ca(&self) -> PathBuf {
        self.folder.path().join("turnpike/ca/ca.pem")
    }

    /// What the proxy trusts.
    pub(super) fn google_ca(&self) -> PathBuf {
        self.folder.path().join("google/ca.pem")
    }
}

fn wait(ready: impl Fn() -> bool, what: &str) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(15);
    while !ready() {
        if Instant::now() > until {
            bail!("{what} did not come up");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}
