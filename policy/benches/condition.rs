//! Evaluating conditions: the common ones, one over a large body, and the longest that the bounds let run.

use divan::{Bencher, black_box};
use jiff::Timestamp;
use serde_json::{Value, json};
use smallvec::smallvec;
use turnpike_policy::{
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    condition::{Condition, Scene},
    request::{Body, Form, RequestFacts},
};

fn main() {
    divan::main();
}

/// Evaluates `text` on a call with this body.
fn evaluate(bencher: Bencher<'_, '_>, text: &str, body: &Value) {
    let condition = Condition::compile(text).unwrap();
    let caller = Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".into(),
            name: "coder".into(),
        },
        issuer: "https://kubernetes.default.svc".into(),
        session: "run".into(),
        pod: None,
    };
    let resource = Resource {
        name: "projects/prod-eu/locations/us-central1/functions/billing".into(),
        project: Some("prod-eu".into()),
        location: Some("us-central1".into()),
        kind: "functions",
        id: Some("billing".into()),
        scope: Scope::Exact,
    };
    let call = Call {
        method: "cloudfunctions.projects.locations.functions.patch",
        index: MethodIndex(0),
        api: "cloudfunctions",
        version: "v2",
        traits: Traits::CHANGE,
        transport: Transport::Rest,
        resources: smallvec![resource.clone()],
    };
    let headers: Vec<(&str, &str)> = vec![
        ("accept", "*/*"),
        ("content-type", "application/json"),
        ("x-goog-a", "b"),
    ];
    let request = RequestFacts {
        form: Form::Rest,
        verb: "POST",
        host: "cloudfunctions.googleapis.com",
        query: &[("updateMask", "labels")],
        headers: &headers,
        size: Some(2_048),
        body: Body::Json(body),
        parts: &[],
    };
    let scene = Scene {
        caller: &caller,
        call: &call,
        resource: Some(&resource),
        request: &request,
        now: Timestamp::UNIX_EPOCH,
        risk: Some(40),
    };
    bencher.bench_local(|| black_box(&condition).holds(black_box(&scene)));
}

/// A body of about a MiB.
fn large() -> Value {
    let items: Vec<Value> = (0..10_000)
        .map(|n| json!({"name": format!("item-{n}"), "labels": {"env": "prod", "n": n}}))
        .collect();
    json!({"items": items, "numbers": vec![1; 10_000], "x": 1})
}

#[divan::bench]
fn name_and_verb(bencher: Bencher<'_, '_>) {
    evaluate(
        bencher,
        r#"resource.name.startsWith("projects/prod-") && request.verb == "POST""#,
        &Value::Null,
    );
}

#[divan::bench]
fn risk_only(bencher: Bencher<'_, '_>) {
    evaluate(bencher, "risk > 50", &Value::Null);
}

#[divan::bench]
fn one_of_twenty(bencher: Bencher<'_, '_>) {
    let names: Vec<String> = (0..20).map(|n| format!("\"type-{n}\"")).collect();
    evaluate(
        bencher,
        &format!("resource.type in [{}]", names.join(", ")),
        &Value::Null,
    );
}

#[divan::bench]
fn pattern(bencher: Bencher<'_, '_>) {
    evaluate(
        bencher,
        r#"resource.name.matches("^projects/[a-z-]+/locations/us-.*/functions/b")"#,
        &Value::Null,
    );
}

#[divan::bench]
fn office_hours(bencher: Bencher<'_, '_>) {
    let text =
        r#"now.getDayOfWeek("Europe/Berlin") in [1, 2, 3, 4, 5] && now.getHours("Europe/Berlin") < 18"#;
    evaluate(bencher, text, &Value::Null);
}

#[divan::bench]
fn public_members(bencher: Bencher<'_, '_>) {
    let body = json!({"policy": {"bindings": [
        {"role": "roles/viewer", "members": ["user:a@acme", "user:b@acme"]},
        {"role": "roles/owner", "members": ["user:c@acme", "allUsers"]},
    ]}});
    let text = r#"request.body.policy.bindings.exists(b, b.members.exists(m, m in ["allUsers", "allAuthenticatedUsers"]))"#;
    evaluate(bencher, text, &body);
}

#[divan::bench]
fn member_of_a_mebibyte(bencher: Bencher<'_, '_>) {
    evaluate(bencher, "has(request.body.x)", &large());
}

#[divan::bench]
fn all_of_ten_thousand(bencher: Bencher<'_, '_>) {
    evaluate(
        bencher,
        r#"request.body.items.all(i, i.labels.env == "prod")"#,
        &large(),
    );
}

#[divan::bench]
fn until_the_steps_are_spent(bencher: Bencher<'_, '_>) {
    evaluate(
        bencher,
        "request.body.numbers.all(a, request.body.numbers.all(b, a == b))",
        &large(),
    );
}

#[divan::bench]
fn slow_pattern_on_a_long_text(bencher: Bencher<'_, '_>) {
    // Letters in no order, so that an automaton for the pattern has a new state at each.
    let mut state = 1_u32;
    let letters = (0..64 * 1024).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if state >> 31 == 0 { 'a' } else { 'b' }
    });
    let body = json!({"x": letters.collect::<String>()});
    evaluate(bencher, r#"request.body.x.matches("a[ab]{300}[^ab]")"#, &body);
}

#[divan::bench]
fn compile(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        Condition::compile(black_box(
            r#"resource.name.startsWith("projects/prod-") && request.verb == "POST""#,
        ))
    });
}
