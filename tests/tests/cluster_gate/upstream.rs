//! Google that is down, or breaks off.

use anyhow::Result;
use serde_json::{Value, json};
use turnpike_tests::pubsub::Message;
use turnpike_tests::standin::Fault;
use turnpike_tests::turnpike::cluster::{SOON, policy};
use turnpike_tests::turnpike::events::session;

use crate::{gate, service, service_url};

#[tokio::test]
async fn an_upstream_that_is_down_is_told_and_recorded() -> Result<()> {
    let gate = gate().await?;
    let agents = gate.cluster.agents().await?;
    let rules = json!([{"name": "all", "effect": "Allow", "methods": ["**"]}]);
    gate.cluster.program(&agents, &policy("coder", &rules)).await?;
    let subscription = gate.subscribe("upstream").await?;
    let agent = gate.proxy.agent(&gate.cluster.token(&agents, "coder").await?)?;

    let down = agent
        .get("https://pubsub.googleapis.com/v1/projects/acme-dev/topics")
        .await?;
    assert_eq!(down.verdict(), "502 UPSTREAM_UNREACHABLE");
    gate.standin.inject(Fault {
        path_prefix: Some(
            "/v2/projects/acme-dev/locations/us-central1/services?serviceId=cut-off".to_owned(),
        ),
        close: true,
        ..Fault::default()
    });
    let cut = agent.post(&service_url("cut-off"), &service()).await?;
    assert_eq!(cut.verdict(), "502 UPSTREAM_BROKE_OFF");
    assert_eq!(
        gate.posts("cut-off").len(),
        1,
        "nobody knows whether it was done, so it is not sent again"
    );

    let name = format!("{agents}/coder");
    let complete = |messages: &[Message]| session(messages, &name).is_ok_and(|events| events.len() >= 4);
    let messages = gate.emulator.pull_until(&subscription, SOON, complete).await?;
    let found: Vec<(String, Value, Value)> = session(&messages, &name)?
        .into_iter()
        .map(|e| {
            let response = &e.payload["api"]["response"];
            (e.line(), response["code"].clone(), response["error"].clone())
        })
        .collect();
    let event = |line: &str, code: Value, error: Value| (line.to_owned(), code, error);
    assert_eq!(
        found,
        [
            event("intent pubsub.projects.topics.list", Value::Null, Value::Null),
            event(
                "outcome pubsub.projects.topics.list",
                json!(502),
                json!("UPSTREAM_UNREACHABLE")
            ),
            event(
                "intent run.projects.locations.services.create",
                Value::Null,
                Value::Null
            ),
            event(
                "outcome run.projects.locations.services.create",
                json!(502),
                json!("UPSTREAM_BROKE_OFF")
            ),
        ]
    );
    Ok(())
}
