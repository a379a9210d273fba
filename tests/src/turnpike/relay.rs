//! A TCP relay that can be taken away: a service that is out of reach and comes back with its state.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Relays connections to another port of the loopback interface while it lives. Dropping it closes its port
/// and cuts its connections.
#[derive(Debug)]
pub struct Relay {
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Listens on `port` for what goes to `to`.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start(port: u16, to: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("bind {port}"))?;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(to).await {
                        // How a connection ends is the business of its ends.
                        tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
                    }
                });
            }
        });
        Ok(Self { _tasks: tasks })
    }
}
