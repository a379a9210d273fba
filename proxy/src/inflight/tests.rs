//! What wakes a call that waits, and what does not.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, channel::mpsc};
use http_body_util::{BodyExt, StreamBody};
use turnpike_compiler::{Bundle, Context, load};
use turnpike_policy::{
    caller::{Caller, Identity},
    definition::LimitsDef,
};

use super::*;
use crate::limits::Load;

fn caller(name: &str) -> Arc<Caller> {
    Arc::new(Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".into(),
            name: name.into(),
        },
        issuer: "https://cluster.test".into(),
        session: "s".into(),
        pod: None,
    })
}

/// Puts one policy for `coder` into force.
fn enforce(policies: &Policies, spec: &str) {
    let text = format!(
        "{{apiVersion: turnpike.dev/v1alpha1, kind: AgentPolicy, metadata: {{name: stop, namespace: agents}}, spec: \
         {{agents: [{{serviceAccount: {{name: coder}}}}], {spec}}}}}"
    );
    let found = load::policies(&text, &Context::without_namespaces("turnpike-system")).expect("a policy");
    policies.update(vec![Bundle::new("agents", found)], &[]);
}

fn line(policies: &Arc<Policies>, name: &str) -> Line {
    Line::begin(policies, &Arc::default(), &caller(name))
}

#[tokio::test]
async fn a_suspension_wakes_the_calls_of_its_agent_and_no_other() {
    let policies = Arc::new(Policies::default());
    enforce(&policies, "suspend: false");
    let (coder, other) = (line(&policies, "coder"), line(&policies, "other"));
    let (mut waits, mut stays, mut looks) = (coder.watch(), other.watch(), coder.watch());
    assert!(waits.cut().now_or_never().is_none() && stays.cut().now_or_never().is_none());
    assert!(!looks.is_cut() && coder.look().is_ok());

    // Another policy that suspends nobody is no news.
    enforce(&policies, "mode: DryRun");
    assert!(waits.cut().now_or_never().is_none());
    enforce(&policies, "mode: DryRun, suspend: true");
    let cut = waits.cut().await;
    assert_eq!((cut.reason, cut.http.as_u16()), ("AGENT_SUSPENDED", 403));
    assert_eq!(
        cut.message,
        "Turnpike has suspended agents/coder: policy agents/stop says suspend: true. All its calls are refused until \
         the owner of the policy takes that back."
    );
    assert_eq!(cut.metadata, [("policy", "agents/stop".to_owned())]);
    assert!(looks.is_cut() && coder.look().is_err());
    assert!(stays.cut().now_or_never().is_none() && other.look().is_ok());

    // What was cut off stays so; what begins afterwards is not.
    enforce(&policies, "suspend: false");
    assert!(coder.watch().is_cut());
    let after = line(&policies, "coder");
    assert!(after.look().is_ok() && !after.watch().is_cut());
}

#[tokio::test]
async fn a_suspension_between_begin_and_wait_is_not_missed() {
    let policies = Arc::new(Policies::default());
    let line = line(&policies, "coder");
    enforce(&policies, "suspend: true");
    let mut watch = line.watch();
    assert_eq!(
        watch.cut().now_or_never().map(|c| c.reason),
        Some("AGENT_SUSPENDED")
    );
}

/// A body that the test feeds.
fn fed(line: &Line, toll: Toll) -> (mpsc::UnboundedSender<&'static str>, RequestBody) {
    let (feed, fed) = mpsc::unbounded();
    let frames = fed.map(|text: &str| Ok::<_, BoxError>(Frame::data(Bytes::from(text))));
    let body = RequestBody::rebuilt(StreamBody::new(frames), &Arc::default());
    (feed, Upload::watched(body, line, toll))
}

async fn next(body: &mut RequestBody) -> Result<String, String> {
    match body.frame().await {
        None => Ok("the end".to_owned()),
        Some(Ok(frame)) => Ok(String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text")),
        Some(Err(error)) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn an_upload_is_cut_off_while_it_waits_and_while_it_flows() {
    for waits in [true, false] {
        let policies = Arc::new(Policies::default());
        let line = line(&policies, "coder");
        let (feed, mut body) = fed(&line, Toll::default());
        feed.unbounded_send("one").expect("a reader");
        assert_eq!(next(&mut body).await, Ok("one".to_owned()));
        assert!(next(&mut body).now_or_never().is_none());
        if !waits {
            feed.unbounded_send("two").expect("a reader");
        }
        let (cut, ()) = tokio::join!(next(&mut body), async { enforce(&policies, "suspend: true") });
        match waits {
            true => assert_eq!(cut, Err("the call was cut off".to_owned())),
            // It was there before; what comes then is not passed on, though it is at hand.
            false => {
                assert_eq!(cut, Ok("two".to_owned()));
                feed.unbounded_send("three").expect("a reader");
                assert_eq!(next(&mut body).await, Err("the call was cut off".to_owned()));
            }
        }
        assert_eq!(line.cut().map(|c| c.reason), Some("AGENT_SUSPENDED"));
    }
}

#[tokio::test]
async fn an_upload_is_cut_off_before_the_byte_that_is_too_many() {
    let policies = Arc::new(Policies::default());
    enforce(&policies, "limits: {bytesOutPerHour: 5}");
    let ledger = Arc::<Ledger>::default();
    let coder = caller("coder");
    let line = Line::begin(&policies, &ledger, &coder);
    let limits = LimitsDef {
        bytes_out_per_hour: Some(5),
        ..LimitsDef::default()
    };
    let load = Load { calls: 1, changes: 1 };
    let toll = ledger
        .toll(&coder, &limits, load, Instant::now())
        .expect("a place");
    let (feed, mut body) = fed(&line, toll);
    for text in ["one", "", "22", "3"] {
        feed.unbounded_send(text).expect("a reader");
    }
    drop(feed);
    let found = [
        next(&mut body).await,
        next(&mut body).await,
        next(&mut body).await,
        next(&mut body).await,
    ];
    let passed = ["one", "", "22"].map(|t| Ok(t.to_owned()));
    assert_eq!(found[..3], passed);
    assert_eq!(found[3], Err("the call was cut off".to_owned()));
    let cut = line.cut().expect("a reason");
    assert_eq!(
        (cut.reason, cut.http.as_u16(), cut.retry_after.is_some()),
        ("LIMIT_BYTES", 429, true)
    );
}

#[test]
fn only_what_can_be_cut_off_is_watched() {
    let policies = Arc::new(Policies::default());
    let line = line(&policies, "coder");
    let whole = |text: &'static str| RequestBody::whole(Bytes::from(text));
    let watched = |body| {
        matches!(
            Upload::watched(body, &line, Toll::default()),
            RequestBody::Watched(_)
        )
    };
    assert!(!watched(whole("")) && !watched(whole("at hand")));
    let empty = RequestBody::rebuilt(
        http_body_util::Empty::new().map_err(|never| match never {}),
        &Arc::default(),
    );
    assert!(!watched(empty));
    assert!(matches!(fed(&line, Toll::default()).1, RequestBody::Watched(_)));
}
