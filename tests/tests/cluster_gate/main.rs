//! One gate in a cluster: an operator, one proxy, real gcloud, real kubectl, and Pub/Sub.
//!
//! Tests run at once; each has its own namespace of agents, and tells its calls at the stand-in by names
//! that are its own.

mod hold;
mod identity;
mod policies;
mod story;
mod upstream;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use turnpike_tests::pubsub::Emulator;
use turnpike_tests::standin::{RecordedRequest, Standin};
use turnpike_tests::turnpike::cluster::Cluster;
use turnpike_tests::turnpike::replica::{Proxy, ProxyOptions, lasting_standin};

const PROJECT: &str = "acme-audit";
const TOPIC: &str = "gate";

/// What the tests share.
struct Gate {
    cluster: Cluster,
    proxy: Proxy,
    standin: Standin,
    emulator: &'static Emulator,
}

async fn gate() -> Result<&'static Gate> {
    static GATE: OnceCell<Gate> = OnceCell::const_new();
    GATE.get_or_try_init(|| async {
        let (cluster, emulator) = tokio::try_join!(Cluster::start(), Emulator::shared())?;
        let topic = emulator.create_topic(PROJECT, TOPIC).await?;
        let standin = lasting_standin().await?;
        let mut options = ProxyOptions::new(&standin).publish(&topic, &emulator.host());
        // Nobody listens on port 1.
        let dead = json!({"host": "pubsub.googleapis.com", "address": "127.0.0.1:1", "plaintext": true});
        options.upstreams.push(dead);
        let proxy = cluster.proxy("turnpike-proxy-0", &options).await?;
        Ok(Gate {
            cluster,
            proxy,
            standin,
            emulator,
        })
    })
    .await
}

impl Gate {
    /// Requests that arrived at the stand-in with this in their path or body, oldest first.
    fn arrived(&self, part: &str) -> Vec<RecordedRequest> {
        let mut requests = self.standin.requests();
        requests.retain(|r| r.path.contains(part) || r.body_text.as_ref().is_some_and(|b| b.contains(part)));
        requests
    }

    /// Those of them that change something.
    fn posts(&self, part: &str) -> Vec<RecordedRequest> {
        let mut requests = self.arrived(part);
        requests.retain(|r| r.method == "POST");
        requests
    }

    /// A subscription that gets every event from now on.
    async fn subscribe(&self, name: &str) -> Result<String> {
        self.emulator.create_subscription(PROJECT, name, TOPIC).await
    }
}

const BUCKET: &str = "https://storage.googleapis.com/storage/v1/b/acme-dev-data";

/// The URL by which a Cloud Run service of this name is created.
fn service_url(name: &str) -> String {
    format!("https://run.googleapis.com/v2/projects/acme-dev/locations/us-central1/services?serviceId={name}")
}

fn service() -> Value {
    json!({"template": {"containers": [{"image": "us-docker.pkg.dev/acme-dev/app/web:1"}]}})
}
