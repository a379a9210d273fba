//! What reviews come down to, and the status that follows.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use turnpike_crds::{ApprovalRequest, Phase};

use super::{Found, next_status, removable_at, settle, superseded_status};

const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
const OTHER: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000002";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn request(requires: Value, status: Value) -> ApprovalRequest {
    serde_json::from_value(json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": "coder-1", "namespace": "agents", "generation": 1},
        "spec": {
            "agent": {"name": "agents/coder"},
            "call": {"method": "run.services.create", "resources": [], "verb": "POST", "url": "u", "bodyBytes": 0},
            "policies": [{"namespace": "agents", "name": "coder", "uid": "u", "generation": 3, "rule": "deploy"}],
            "requires": requires,
            "digest": DIGEST,
            "expiresAt": "2030-01-02T00:00:00Z",
        },
        "status": status,
    }))
    .unwrap()
}

/// Phase, approvals, who decided, and the words of the condition that holds.
fn told(request: &ApprovalRequest, now: Timestamp) -> (Option<Phase>, String, Vec<String>, Vec<String>) {
    let status = next_status(request, now).unwrap();
    let held = status.conditions.iter().filter(|c| c.status == "True");
    (
        status.phase,
        status.approvals.unwrap(),
        status.decided_by,
        held.map(|c| c.message.clone()).collect(),
    )
}

#[test]
fn reviews_come_down_to_a_phase() {
    let now = at("2030-01-01T00:00:00Z");
    let (yes, no) = (json!({"decision": "Approve"}), json!({"decision": "Deny"}));
    let sre = json!({"decision": "Approve", "groups": ["sre"]});
    let cases = [
        (json!([]), json!({}), "Pending 0/1"),
        (json!([]), json!({"alice": yes}), "Approved 1/1"),
        (json!([{"approvals": 2}]), json!({"alice": yes}), "Pending 1/2"),
        (
            json!([{"approvals": 2}]),
            json!({"alice": yes, "bob": yes}),
            "Approved 2/2",
        ),
        // One refusal is enough, also of somebody whose approval would not count.
        (
            json!([{"approvals": 1, "approvers": {"users": ["alice"]}}]),
            json!({"alice": yes, "bob": no}),
            "Denied 1/1",
        ),
        (
            json!([{"approvals": 1, "approvers": {"users": ["alice"]}}]),
            json!({"bob": yes}),
            "Pending 0/1",
        ),
        (
            json!([{"approvals": 1, "approvers": {"groups": ["sre"]}}]),
            json!({"bob": sre}),
            "Approved 1/1",
        ),
        // Of another call, or in the agent's own name.
        (
            json!([]),
            json!({"alice": {"decision": "Approve", "digest": OTHER}}),
            "Pending 0/1",
        ),
        (
            json!([]),
            json!({"alice": {"decision": "Approve", "digest": DIGEST}}),
            "Approved 1/1",
        ),
        (json!([]), json!({"agents/coder": yes}), "Pending 0/1"),
        (
            json!([]),
            json!({"system:serviceaccount:agents:coder": yes}),
            "Pending 0/1",
        ),
        (
            json!([]),
            json!({"system:serviceaccount:agents:coder": no}),
            "Denied 0/1",
        ),
    ];
    for (requires, reviews, expected) in cases {
        let request = request(requires.clone(), json!({"reviews": reviews}));
        let (verdict, tally) = settle(&request, now);
        let verdict = format!("{verdict:?}");
        let word = verdict.split(' ').next().unwrap();
        assert_eq!(format!("{word} {tally}"), expected, "{requires} {reviews}");
    }
}

#[test]
fn the_status_says_how_far_it_is_and_who_does_not_count() {
    let now = at("2030-01-01T00:00:00Z");
    let requires = json!([{"approvals": 2, "approvers": {"users": ["alice", "bob"]}}]);
    let yes = |reason: &str| json!({"decision": "Approve", "reason": reason});
    let first = request(
        requires.clone(),
        json!({"reviews": {"alice": yes("ok"), "carol": yes("me too")}}),
    );
    assert_eq!(
        told(&first, now),
        (
            Some(Phase::Pending),
            "1/2".to_owned(),
            vec![],
            vec![
                "has 1 of 2 approvals; waits until 2030-01-02T00:00:00Z; not among those whose approval counts, or \
                 without naming the group that does: carol"
                    .to_owned()
            ],
        )
    );
    // Written once, it is right until something changes.
    let mut written = first.clone();
    written.status = next_status(&first, now);
    assert_eq!(next_status(&written, now), None);

    let both = json!({"alice": yes("ok"), "bob": yes("fine"), "carol": yes("me too")});
    let both = request(requires.clone(), json!({"reviews": both}));
    assert_eq!(
        told(&both, now),
        (
            Some(Phase::Approved),
            "2/2".to_owned(),
            vec!["alice".to_owned(), "bob".to_owned()],
            vec!["approved by alice, bob: ok".to_owned()],
        )
    );
    assert_eq!(
        told(&first, at("2030-01-03T00:00:00Z")),
        (
            Some(Phase::Expired),
            "1/2".to_owned(),
            vec![],
            vec!["not enough approvals in time: 1/2".to_owned()],
        )
    );
}

#[test]
fn a_policy_that_is_no_longer_what_it_was_ends_what_is_open() {
    let now = at("2030-01-01T00:00:00Z");
    let version = |uid: &str, generation| Found::At {
        uid: uid.to_owned(),
        generation,
    };
    let found: [(Found, Option<&str>); 5] = [
        (Found::Unknown, None),
        (version("u", 3), None),
        (Found::Gone, Some("policy agents/coder is no longer in force")),
        (
            version("v", 3),
            Some("policy agents/coder was replaced by another one of that name"),
        ),
        (
            version("u", 4),
            Some("policy agents/coder changed since it asked for the approval"),
        ),
    ];
    for phase in [
        "Pending",
        "Approved",
        "Denied",
        "Expired",
        "Consumed",
        "Superseded",
    ] {
        for (found, why) in &found {
            let request = request(json!([]), json!({"phase": phase, "instructions": "kubectl ..."}));
            let status = superseded_status(&request, |_| found.clone(), now);
            let told = status.map(|s| {
                let held = s.conditions.into_iter().find(|c| c.status == "True");
                (s.phase, held.map(|c| c.message), s.instructions)
            });
            let open = matches!(phase, "Pending" | "Approved");
            let expected = why
                .filter(|_| open)
                .map(|why| (Some(Phase::Superseded), Some(why.to_owned()), None));
            assert_eq!(told, expected, "{phase} {found:?}");
        }
    }
    // One that is spent, or over, is not ended another way.
    let spent =
        json!({"phase": "Approved", "consumption": {"by": "p", "call": "c", "at": "2030-01-01T00:00:00Z"}});
    let spent = request(json!([]), spent);
    assert_eq!(superseded_status(&spent, |_| Found::Gone, now), None);
    let (late, open) = (at("2030-01-03T00:00:00Z"), request(json!([]), json!({})));
    assert_eq!(superseded_status(&open, |_| Found::Gone, late), None);
}

#[test]
fn a_pending_request_shows_the_line_to_paste_where_kubectl_can_be_used() {
    let now = at("2030-01-01T00:00:00Z");
    let requires = json!([{"approvals": 1, "approvers": {"groups": ["o'neill", "sre"]}}]);
    let mut stored = request(requires, json!({}));
    assert_eq!(next_status(&stored, now).unwrap().instructions, None);
    stored.metadata.resource_version = Some("7".to_owned());
    let expected = r#"kubectl patch apr coder-1 -n agents --subresource=status --type=merge -p '{"status":{"reviews":{"YOUR-USER-NAME":{"decision":"Approve","digest":"DIGEST","groups":["o'\''neill","sre"],"reason":"WHY"}}}}'"#;
    assert_eq!(
        next_status(&stored, now).unwrap().instructions,
        Some(expected.replace("DIGEST", DIGEST))
    );
}

#[test]
fn what_is_decided_for_good_is_kept_for_its_time() {
    let (hour, minute) = (Duration::from_secs(3600), Duration::from_secs(60));
    let settled = "2030-01-01T10:00:00Z";
    let cases = [
        ("Pending", hour, None),
        ("Approved", hour, None),
        ("Expired", 2 * hour, Some("2030-01-01T12:00:00Z")),
        ("Superseded", 2 * hour, Some("2030-01-01T12:00:00Z")),
        // Never shorter than an hour.
        ("Expired", minute, Some("2030-01-01T11:00:00Z")),
        // It was spent after it was approved.
        ("Consumed", hour, Some("2030-01-01T11:30:00Z")),
        // It answers the same call until its time is over.
        ("Denied", hour, Some("2030-01-02T01:00:00Z")),
    ];
    for (phase, keep, expected) in cases {
        let mut status = json!({
            "phase": phase,
            "conditions": [{
                "type": phase, "status": "True", "reason": "R", "message": "", "lastTransitionTime": settled,
            }],
        });
        if phase == "Consumed" {
            status["consumption"] = json!({"by": "p", "call": "c", "at": "2030-01-01T10:30:00Z"});
        }
        let request = request(json!([]), status);
        assert_eq!(removable_at(&request, keep), expected.map(at), "{phase} {keep:?}");
    }
}
