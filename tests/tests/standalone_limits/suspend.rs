//! Break-glass: whatever an agent has under way ends within a moment, and nothing of anybody else's does.

use std::time::Instant;

use futures::StreamExt as _;
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use turnpike_tests::turnpike::standalone::{Route, client::Connection};

use super::*;

/// An upstream whose downloads begin and never end.
async fn endless() -> Result<Upstream> {
    Upstream::plain(|seen: &Seen| {
        let body = match seen.line.contains("alt=media") {
            true => {
                let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"the beginning")))]);
                StreamBody::new(first.chain(futures::stream::pending())).boxed_unsync()
            }
            false => whole("{}"),
        };
        let mut answer = Response::new(body);
        let json = header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    })
    .await
}

const DOWNLOAD: &str = "/storage/v1/b/acme-dev-data/o/a?alt=media";

/// A download that has begun; the connection lives as long as it is read.
async fn download(agent: &Agent, protocol: Protocol) -> Result<(Connection, Incoming)> {
    let mut connection = agent.open(STORAGE, protocol).await?;
    let request = connection.request("GET", DOWNLOAD, whole(""))?;
    let mut body = connection.send(request).await?.into_body();
    let first = body.frame().await.context("a frame")??;
    assert_eq!(first.into_data().ok().as_deref(), Some(&b"the beginning"[..]));
    Ok((connection, body))
}

/// Suspends `coder` and tells when.
fn suspend(gate: &Standalone) -> Result<Instant> {
    let text =
        policy("suspend: true\n  mode: DryRun").replace("name: coder, namespace", "name: stop, namespace");
    gate.write_policy("stop", &text)?;
    Ok(Instant::now())
}

/// An upload that has begun and waits for the agent.
async fn upload(agent: &Agent, protocol: Protocol) -> Result<JoinHandle<Result<Answer>>> {
    let mut connection = agent.open(STORAGE, protocol).await?;
    let (mut feed, body) = fed();
    let request = connection.request("POST", UPLOAD, body)?;
    feed.send(Ok(Frame::data(Bytes::from_static(b"the beginning"))))
        .await?;
    Ok(tokio::spawn(async move {
        let answer = connection.exchange(request).await;
        drop(feed);
        answer
    }))
}

#[tokio::test]
async fn open_streams_and_held_calls_of_a_suspended_agent_end() -> Result<()> {
    let upstream = endless().await?;
    let both = policy("").replace("{name: coder}}]", "{name: \"*\"}}]");
    let gate = Standalone::start(&upstream, &both).await?;
    let (coder, other) = (gate.agent("agents/coder")?, gate.agent("agents/other")?);
    let mut downloads = Vec::new();
    let mut uploads = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        downloads.push(download(&coder, protocol).await?);
        uploads.push(upload(&coder, protocol).await?);
    }
    let (mut kept, mut still) = download(&other, Protocol::Http2).await?;
    let held = {
        let coder = coder.clone();
        tokio::spawn(async move { coder.call("POST", &format!("{SERVICES}held"), "{}").await })
    };
    gate.approval("Pending").await?;

    let since = suspend(&gate)?;
    for (_connection, mut body) in downloads {
        // No end that looks like one: the answer breaks off.
        let end = tokio::time::timeout(PATIENCE, body.frame()).await?;
        ensure!(matches!(end, Some(Err(_))), "{end:?}");
    }
    println!("downloads ended after {:?}", since.elapsed());
    for upload in uploads {
        let answer = tokio::time::timeout(PATIENCE, upload).await???;
        assert_eq!(answer.refusal(), (403, "AGENT_SUSPENDED".to_owned()));
    }
    let held = tokio::time::timeout(PATIENCE, held).await???;
    println!("all ended after {:?}", since.elapsed());
    assert_eq!(held.refusal(), (403, "AGENT_SUSPENDED".to_owned()));
    ensure!(
        held.message().contains("policy agents/stop says suspend: true"),
        "{}",
        held.message()
    );
    // Its request stands as it was, for people to see.
    assert_eq!(gate.approval("Pending").await?.phase(), "Pending");

    // Others go on, with what is open and with what is new.
    let next = tokio::time::timeout(std::time::Duration::from_millis(50), still.frame()).await;
    ensure!(next.is_err(), "the other's download: {next:?}");
    let request = kept.request("GET", "/storage/v1/b/acme-dev-data", whole(""))?;
    assert_eq!(kept.exchange(request).await?.status, 200);
    assert_eq!(
        coder.get(BUCKET).await?.refusal(),
        (403, "AGENT_SUSPENDED".to_owned())
    );

    // The record says of each why it ended.
    eventually(PATIENCE, || async {
        let events = gate.events()?;
        let cut = |e: &&turnpike_audit::StoredEvent| {
            let error = e.event.api.response.as_ref().and_then(|r| r.error.as_deref());
            error == Some("AGENT_SUSPENDED")
        };
        let cut = events.iter().filter(cut).count();
        let refused = events
            .iter()
            .filter(|e| e.event.unmapped.turnpike.reason == "AGENT_SUSPENDED")
            .count();
        ensure!(
            (cut, refused) == (4, 2),
            "{cut} were cut off and {refused} refused: {:#?}",
            gate.events()?
        );
        Ok(())
    })
    .await?;

    // Taken back, all is as before.
    std::fs::remove_file(gate.policy("stop"))?;
    eventually(PATIENCE, || async {
        let answer = coder.get(BUCKET).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn streams_of_grpc_are_told_why_they_end() -> Result<()> {
    let upstream = grpc::Upstream::start().await?;
    let gate = Standalone::start(Route::Plain(upstream.addr), &policy("")).await?;
    let coder = gate.agent("agents/coder")?;
    let open = async |host: &str, path: &str, body: Body| -> Result<(Connection, http::Request<Body>)> {
        let connection = coder.open(host, Protocol::Http2).await?;
        let mut request = connection.request("POST", path, body)?;
        for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
            request
                .headers_mut()
                .insert(http::HeaderName::try_from(name)?, value.parse()?);
        }
        Ok((connection, request))
    };
    let named = |name: &str| grpc::framed(&grpc::field(1, name));

    // Both ways, and open; and one that waits for an answer that never comes.
    let (mut feed, body) = fed();
    feed.send(Ok(Frame::data(named("projects/acme/subscriptions/a"))))
        .await?;
    let (mut pulling, request) = open(
        "pubsub.googleapis.com",
        "/google.pubsub.v1.Subscriber/StreamingPull",
        body,
    )
    .await?;
    let mut pulled = pulling.send(request).await?.into_body();
    let echo = pulled.frame().await.context("a message")??;
    assert_eq!(
        echo.into_data().ok(),
        Some(named("projects/acme/subscriptions/a"))
    );
    let list = "/google.cloud.secretmanager.v1.SecretManagerService/ListSecrets";
    let (mut listing, request) = open(
        "secretmanager.googleapis.com",
        list,
        whole(named("projects/acme")),
    )
    .await?;
    let listed = tokio::spawn(async move { listing.exchange(request).await });
    eventually(PATIENCE, || async {
        ensure!(
            upstream
                .seen()
                .iter()
                .any(|s| s.path == list && !s.body.is_empty()),
            "not there yet"
        );
        Ok(())
    })
    .await?;

    suspend(&gate)?;
    let end = tokio::time::timeout(PATIENCE, pulled.frame())
        .await?
        .context("an end")??;
    let trailers = end.into_trailers().ok().context("trailers")?;
    let told = |fields: &http::HeaderMap| -> Result<(String, bool)> {
        let text = |name: &str| {
            fields
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or("")
                .to_owned()
        };
        let details = BASE64_STANDARD_NO_PAD.decode(text("grpc-status-details-bin"))?;
        let suspended = String::from_utf8_lossy(&details).contains("AGENT_SUSPENDED");
        Ok((text("grpc-status"), suspended))
    };
    assert_eq!(told(&trailers)?, ("7".to_owned(), true));
    let listed = tokio::time::timeout(PATIENCE, listed).await???;
    assert_eq!(told(&listed.headers)?, ("7".to_owned(), true));
    // Google is not left waiting either.
    eventually(PATIENCE, || async {
        ensure!(upstream.cancelled(), "upstream still works");
        Ok(())
    })
    .await?;
    drop(feed);
    Ok(())
}
