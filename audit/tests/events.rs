//! Whole events, as they are written and as they are read back.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use turnpike_audit::{
    Actor, ApiCall, ApprovalRef, DecisionRecord, Envelope, Event, FindingRef, MaskHit, OutcomeRecord,
    Reading, ResourceRef, RiskFactorRef, RiskRef, RuleHit, Stage, StoredEvent, Verdict, parse_line,
};
use uuid::Uuid;

const FUNCTION: ResourceRef<'_> = ResourceRef {
    name: "projects/acme-dev/locations/us-central1/functions/billing",
    kind: "functions",
    project: Some("acme-dev"),
    location: Some("us-central1"),
    id: Some("billing"),
    below: false,
};

const OUTCOME: OutcomeRecord<'_> = OutcomeRecord {
    status: 200,
    latency_us: 41_734_250,
    upstream_us: Some(210_100),
    response_bytes: Some(512),
    masked: &[
        MaskHit {
            kind: "env-value",
            path: "serviceConfig.environmentVariables.*",
            count: 3,
        },
        MaskHit {
            kind: "google-api-key",
            path: "",
            count: 1,
        },
    ],
    error: None,
    upstream: Some(SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
        443,
    )),
};

/// One call with every field set; each test changes what it is about.
fn event(stage: Stage<'static>) -> Event<'static> {
    Event {
        id: Uuid::from_u128(0x0193_5c1a_0000_7000_8000_0000_0000_0002),
        call_id: Uuid::from_u128(0x0193_5c1a_0000_7000_8000_0000_0000_0001),
        at: timestamp("2026-11-24T07:11:42.123456Z"),
        started: timestamp("2026-11-24T07:11:00.389206Z"),
        source: "//turnpike.dev/proxies/turnpike-proxy-0",
        product_version: "0.1.0",
        actor: Actor {
            namespace: "agents",
            service_account: "coder",
            issuer: "https://kubernetes.default.svc",
            subject: "system:serviceaccount:agents:coder",
            session: "agents/coder-6c9f",
            pod: Some("coder-6c9f"),
            peer: Some(SocketAddr::from(([10, 0, 3, 9], 51234))),
        },
        call: ApiCall {
            transport: "rest",
            verb: "POST",
            host: "cloudfunctions.googleapis.com",
            path: "/v2/projects/acme-dev/locations/us-central1/functions?key=AIza",
            method: Some("cloudfunctions.projects.locations.functions.create"),
            api: Some("cloudfunctions"),
            version: Some("v2"),
            resources: &[FUNCTION],
            readings: &[],
            traits: &["change"],
            user_agent: Some("google-cloud-sdk gcloud/500.0.0"),
            request_bytes: Some(1024),
        },
        decision: DecisionRecord {
            verdict: Verdict::Allow,
            reason: "APPROVED",
            rules: &[RuleHit {
                policy: "agents/coder",
                rule: "deploy",
                effect: "RequireApproval",
                mode: "Enforce",
                condition: Some("holds"),
            }],
            risk: Some(RiskRef {
                score: 35,
                factors: &[
                    RiskFactorRef {
                        name: "iam",
                        points: 25,
                    },
                    RiskFactorRef {
                        name: "change",
                        points: 10,
                    },
                ],
            }),
            findings: &[FindingRef {
                kind: "private-key",
                place: "source.zip!config.py line 3",
                hash: "hmac:00",
            }],
            unscannable: Some("encrypted archive"),
            approval: Some(ApprovalRef {
                namespace: "agents",
                name: "coder-7f3k2",
                decided_by: &["alice@acme"],
                reason: Some("ok"),
            }),
            would: Some(Verdict::Deny),
            message: None,
            credential: Some("coder@acme-dev.iam.gserviceaccount.com"),
            policy_digest: Some("sha256:5f2e"),
        },
        stage,
    }
}

fn timestamp(text: &str) -> Timestamp {
    text.parse().expect("a timestamp of a test")
}

fn line(event: &Event<'_>) -> Value {
    let line = event.to_line().expect("an event encodes");
    assert!(!line.contains(&b'\n'), "one line");
    serde_json::from_slice(&line).expect("an event is JSON")
}

#[test]
fn outcome_whole() {
    insta::assert_json_snapshot!(line(&event(Stage::Outcome(&OUTCOME))));
}

#[test]
fn held_whole() {
    let mut held = event(Stage::Held);
    held.decision.verdict = Verdict::Hold;
    held.decision.reason = "APPROVAL_PENDING";
    held.decision.approval = Some(ApprovalRef {
        namespace: "agents",
        name: "coder-7f3k2",
        decided_by: &[],
        reason: None,
    });
    insta::assert_json_snapshot!(line(&held));
}

#[test]
fn refusal_of_an_unknown_caller_whole() {
    let refused = Event {
        actor: Actor::default(),
        call: ApiCall {
            transport: "rest",
            verb: "GET",
            host: "example.com",
            path: "/",
            ..ApiCall::default()
        },
        decision: DecisionRecord::new(Verdict::Deny, "UNKNOWN_HOST"),
        ..event(Stage::Refused)
    };
    insta::assert_json_snapshot!(line(&refused));
}

#[test]
fn every_stage_has_what_ocsf_requires() {
    let stages = [
        (Stage::Intent, Verdict::Allow, 99, 1, 8),
        (Stage::Outcome(&OUTCOME), Verdict::Allow, 1, 1, 8),
        (Stage::Refused, Verdict::Deny, 2, 2, 2),
        (Stage::Held, Verdict::Hold, 99, 0, 14),
    ];
    for (stage, verdict, status_id, action_id, disposition_id) in stages {
        for actor in [event(stage).actor, Actor::default()] {
            let mut event = event(stage);
            event.actor = actor;
            event.decision.verdict = verdict;
            let data = &line(&event)["data"];
            for pointer in [
                "/activity_id",
                "/category_uid",
                "/class_uid",
                "/type_uid",
                "/severity_id",
                "/time",
                "/metadata/version",
                "/metadata/product/vendor_name",
                "/metadata/product/name",
                "/actor/user/name",
                "/api/operation",
                "/api/service/name",
                "/src_endpoint/name",
                "/cloud/provider",
                "/http_request/url/hostname",
            ] {
                assert!(
                    data.pointer(pointer)
                        .is_some_and(|value| !value.is_null() && value != ""),
                    "{pointer} of {:?}",
                    stage.phase()
                );
            }
            assert_eq!(
                (&data["status_id"], &data["action_id"], &data["disposition_id"]),
                (&json!(status_id), &json!(action_id), &json!(disposition_id)),
                "{:?}",
                stage.phase()
            );
            let type_uid = data["class_uid"].as_u64().zip(data["activity_id"].as_u64());
            assert_eq!(
                type_uid.map(|(class, activity)| class * 100 + activity),
                data["type_uid"].as_u64()
            );
        }
    }
}

#[test]
fn activities() {
    let cases: [(Option<&str>, &str, &[&str], u64); 10] = [
        (Some("storage.objects.list"), "GET", &["read"], 2),
        (Some("bigquery.jobs.query"), "POST", &["read"], 2),
        (Some("storage.objects.insert"), "POST", &["change"], 1),
        (Some("compute.instances.setMetadata"), "POST", &["change"], 3),
        (
            Some("run.projects.locations.services.patch"),
            "PATCH",
            &["change"],
            3,
        ),
        (
            Some("storage.buckets.delete"),
            "DELETE",
            &["change", "destructive"],
            4,
        ),
        (
            Some("cloudkms.projects.locations.keyRings.cryptoKeys.cryptoKeyVersions.destroy"),
            "POST",
            &["destructive"],
            4,
        ),
        (Some("run.projects.locations.jobs.run"), "POST", &["change"], 99),
        (None, "GET", &[], 2),
        (None, "POST", &[], 99),
    ];
    for (method, verb, traits, activity) in cases {
        let mut event = event(Stage::Intent);
        event.call.method = method;
        event.call.verb = verb;
        event.call.traits = traits;
        assert_eq!(
            line(&event)["data"]["activity_id"],
            json!(activity),
            "{method:?} {verb}"
        );
    }
}

#[test]
fn a_query_is_never_recorded() {
    for stage in [
        Stage::Intent,
        Stage::Outcome(&OUTCOME),
        Stage::Refused,
        Stage::Held,
    ] {
        let line = event(stage).to_line().expect("an event encodes");
        assert!(!String::from_utf8_lossy(&line).contains("AIza"));
    }
}

#[test]
fn attributes_fit_pubsub() {
    let long = format!("projects/_/buckets/b/objects/{}", "ü".repeat(1024));
    let resources = [ResourceRef {
        name: &long,
        ..ResourceRef::default()
    }];
    let mut event = event(Stage::Intent);
    event.call.resources = &resources;
    let bytes = event.to_line().expect("an event encodes");
    let envelope = Envelope::parse(&bytes).expect("an envelope");
    assert!(
        envelope
            .attributes()
            .expect("attributes")
            .iter()
            .all(|(_, value)| !value.is_empty() && value.len() <= 1024)
    );
    let stored = parse_line(&bytes).expect("a stored event");
    assert_eq!(stored.resource(), long, "the record itself is not cut");
}

#[test]
fn what_a_request_is_taken_for_is_read_back() {
    let mut several = event(Stage::Intent);
    let parent = ResourceRef {
        name: "projects/acme-dev/locations/us-central1",
        kind: "functions",
        below: true,
        ..ResourceRef::default()
    };
    let (resources, method) = (
        [FUNCTION, parent],
        "cloudfunctions.projects.locations.functions.create",
    );
    let readings = [1, 1].map(|resources| Reading { method, resources });
    several.call.resources = &resources;
    several.call.readings = &readings;
    let read = |event: &Event<'_>| {
        let stored = parse_line(&event.to_line().expect("an event encodes")).expect("it is read back");
        let facts = stored.event.unmapped.turnpike;
        let readings: Vec<_> = facts
            .readings
            .into_iter()
            .map(|r| (r.method, r.resources))
            .collect();
        let names = stored.event.resources.into_iter().map(|r| (r.name, r.uid));
        (readings, facts.below, names.collect::<Vec<_>>())
    };
    let function = (FUNCTION.name.to_owned(), Some("billing".to_owned()));
    let both = vec![(method.to_owned(), 1), (method.to_owned(), 1)];
    let names = vec![function.clone(), (parent.name.to_owned(), None)];
    assert_eq!(read(&several), (both, vec![1], names));
    assert_eq!(read(&event(Stage::Intent)), (vec![], vec![], vec![function]));
}

#[test]
fn the_payload_is_published_byte_for_byte() {
    let bytes = event(Stage::Outcome(&OUTCOME))
        .to_line()
        .expect("an event encodes");
    let envelope = Envelope::parse(&bytes).expect("an envelope");
    assert_eq!(envelope.id, "01935c1a-0000-7000-8000-000000000002");
    assert_eq!(envelope.key, "agents/coder-6c9f");
    let text = std::str::from_utf8(&bytes).expect("JSON is UTF-8");
    assert!(text.ends_with(&format!("\"data\":{}}}", envelope.data.get())));
}

#[test]
fn trails_read_back_from_every_place() {
    let bytes = event(Stage::Outcome(&OUTCOME))
        .to_line()
        .expect("an event encodes");
    let envelope = Envelope::parse(&bytes).expect("an envelope");
    let topic = json!({
        "messageId": "7",
        "publishTime": "2026-11-24T07:11:42Z",
        "orderingKey": envelope.key,
        "attributes": {"phase": "outcome"},
        "data": serde_json::from_str::<Value>(envelope.data.get()).expect("JSON"),
    });
    let stored = [
        parse_line(&bytes).expect("a spooled event"),
        parse_line(topic.to_string().as_bytes()).expect("an event of the local topic"),
        StoredEvent::from_message(&envelope.key, Default::default(), envelope.data.get().as_bytes())
            .expect("an event of Pub/Sub"),
    ];
    for event in stored {
        assert_eq!(event.key, "agents/coder-6c9f");
        assert_eq!(
            event.summary(),
            "2026-11-24T07:11:42.123Z  agents/coder  outcome  allow  \
             cloudfunctions.projects.locations.functions.create  \
             projects/acme-dev/locations/us-central1/functions/billing  200 in 41734 ms  \
             rule=agents/coder/deploy  approval=agents/coder-7f3k2 by alice@acme  \
             dry-run=deny  masked=4"
        );
    }
    assert!(parse_line(b"{}").is_err());
    assert!(parse_line(b"not json").is_err());
}
