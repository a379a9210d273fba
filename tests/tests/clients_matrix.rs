//! Every client of the matrix through the real proxy, against the stand-in: reads, writes, refusals that the
//! client shows in Turnpike's words, and calls that wait for an approval.

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use turnpike_tests::{
    clients::{self, Client, POLICY},
    process::temp_dir,
    standin::{Options, Standin},
    turnpike::standalone::{GATEWAY_TOKEN, Standalone},
};

/// Clients at the same time: each takes about a core.
const AT_ONCE: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_reads_writes_is_refused_and_waits_for_an_approval() -> Result<()> {
    let tls = temp_dir("standin")?;
    let standin = Standin::start(Options {
        tls_dir: Some(tls.path().to_owned()),
        require_token: Some(GATEWAY_TOKEN.to_owned()),
        ..Options::default()
    })
    .await?;
    let gate = Standalone::start(&standin, POLICY).await?;

    let wanted: Vec<&Client> = clients::REST.iter().chain(clients::GRPC).collect();
    let results: Vec<_> = futures::stream::iter(wanted.iter().copied())
        .map(|client| async { (client.name, clients::run(client, &gate, &standin).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let (mut failures, mut done) = (String::new(), 0);
    for (name, result) in &results {
        match result {
            Ok(steps) => {
                done += 1;
                println!("{name}: {steps}");
            }
            Err(error) => failures.push_str(&format!("\n--- {name}: {error:#}\n")),
        }
    }

    println!("clients: {done} of {}", wanted.len());
    ensure!(failures.is_empty(), "{failures}");

    // What Google saw: the gateway's token on every call, an agent's on none, and nothing that was refused.
    let bearer = format!("Bearer {GATEWAY_TOKEN}");
    for request in standin.requests() {
        ensure!(request.header("authorization") == Some(&bearer), "{request:?}");
        // Every JWT begins so.
        let leaked = request.headers.iter().any(|(_, value)| value.contains("eyJ"));
        ensure!(!leaked && !request.path.contains("eyJ"), "{request:?}");
        let refused = request.method == "DELETE" || request.path.ends_with("/DeleteSecret");
        ensure!(!refused, "a refused call reached Google: {request:?}");
    }

    Ok(())
}
