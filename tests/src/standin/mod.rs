//! A stand-in for Google's APIs on loopback: what the tests, the demo and the
//! benchmarks put behind Turnpike instead of Google.
//!
//! It answers in the shapes of the discovery documents, chosen by the `Host` header
//! and the path, and some APIs by gRPC too, from a small world of obviously invented data. It records what
//! arrives, and can be told to fail. It checks no permission, keeps no content of
//! large uploads (length and digests only), and implements only what real clients
//! were seen to call.

mod admin;
mod answer;
mod call;
mod fault;
mod grpc;
mod record;
mod server;
mod services;
mod tls;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

pub use fault::Fault;
pub use record::{RecordedRequest, RecordedRpc};

use fault::Faults;
use record::Recorder;
use tls::Authority;
use world::World;

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the APIs are served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the recorded requests are read and faults are set; `None` serves no such port.
    pub admin: Option<SocketAddr>,
    /// Serves TLS with certificates of an own authority, whose `ca.pem` is written to this
    /// directory. The port then takes plain HTTP and `CONNECT` too. `None` is plain HTTP only.
    pub tls_dir: Option<PathBuf>,
    /// How many of the latest requests are kept; 0 records nothing, which benchmarks want.
    pub record: usize,
    /// A call without `Authorization: Bearer <this prefix>...` is answered 401, as Google does
    /// for a token that it did not issue. `None` takes any call.
    pub require_token: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: loopback,
            admin: None,
            tls_dir: None,
            record: 10_000,
            require_token: None,
        }
    }
}

/// A running stand-in. Dropping it closes its ports and every open connection.
#[derive(Debug)]
pub struct Standin {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    ca_pem: Option<String>,
    state: Arc<State>,
    stop: CancellationToken,
    tracker: tokio_util::task::TaskTracker,
}

/// What every connection shares.
#[derive(Debug)]
struct State {
    world: World,
    recorder: Recorder,
    faults: Faults,
    require_token: Option<String>,
}

impl Standin {
    /// Binds the ports and serves until the value is dropped or [`Standin::stop`] is called.
    ///
    /// # Errors
    /// A port is taken, or the authority cannot be made or written.
    pub async fn start(options: Options) -> Result<Self> {
        let authority = match &options.tls_dir {
            Some(dir) => Some(Arc::new(Authority::create(dir)?)),
            None => None,
        };
        let state = Arc::new(State {
            world: World::new(),
            recorder: Recorder::new(options.record),
            faults: Faults::default(),
            require_token: options.require_token,
        });
        let stop = CancellationToken::new();
        let tracker = tokio_util::task::TaskTracker::new();
        let listener = server::bind(options.listen).with_context(|| format!("bind {}", options.listen))?;
        let addr = listener.local_addr()?;
        let ca_pem = authority.as_ref().map(|authority| authority.ca_pem().to_owned());
        let admin_addr = match options.admin {
            Some(admin) => {
                let listener = server::bind(admin).with_context(|| format!("bind {admin}"))?;
                let bound = listener.local_addr()?;
                let router = admin::router(Arc::clone(&state), ca_pem.clone());
                let stopped = stop.clone().cancelled_owned();
                tracker.spawn(async move {
                    if let Err(error) = axum::serve(listener, router)
                        .with_graceful_shutdown(stopped)
                        .await
                    {
                        eprintln!("stand-in: admin port: {error}");
                    }
                });
                Some(bound)
            }
            None => None,
        };
        tracker.spawn(server::serve(
            listener,
            authority.map(|authority| authority.acceptor()),
            Arc::clone(&state),
            stop.clone(),
            tracker.clone(),
        ));
        Ok(Self {
            addr,
            admin_addr,
            ca_pem,
            state,
            stop,
            tracker,
        })
    }

    /// The address of the APIs.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the admin port, where there is one.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The certificate that its clients have to trust, in PEM; `None` in plain HTTP.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// What has arrived, oldest first. `CONNECT` requests are not among them.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.recorder.all()
    }

    /// Forgets what has arrived.
    pub fn clear_requests(&self) {
        self.state.recorder.clear();
    }

    /// From now on, requests that match are answered as the fault says. The first fault that
    /// matches counts.
    pub fn inject(&self, fault: Fault) {
        self.state.faults.add(fault);
    }

    /// Removes every fault.
    pub fn clear_faults(&self) {
        self.state.faults.clear();
    }

    /// Closes the ports and cuts open connections, and returns when that is done; the address
    /// can then be bound again.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
