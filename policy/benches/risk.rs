//! How long a risk score takes: a call that reads, one that changes without a body of interest, and a large IAM policy.

use std::{collections::BTreeMap, hint::black_box};

use divan::Bencher;
use jiff::Timestamp;
use serde_json::{Value, json};
use turnpike_policy::{
    call::Call,
    canonical::Target,
    catalog::Catalog,
    request::{Body, RequestFacts},
    risk::{Inputs, Pace, score},
};

fn main() {
    divan::main();
}

fn call(verb: &str, url: &str) -> [Call; 1] {
    let target = Target::from_url(verb, url).unwrap();
    [Catalog::embedded().unwrap().classify(&target).unwrap().call]
}

fn measure(bencher: Bencher<'_, '_>, calls: &[Call], body: Body<'_>) {
    let weights = BTreeMap::from([("destructive".to_owned(), 40), ("off-hours".to_owned(), 5)]);
    let request = RequestFacts {
        verb: "POST",
        host: "cloudresourcemanager.googleapis.com",
        query: &[("alt", "json"), ("prettyPrint", "false")],
        body,
        ..RequestFacts::default()
    };
    let inputs = Inputs {
        calls,
        request: &request,
        pace: Pace::default(),
        now: Timestamp::UNIX_EPOCH,
    };
    bencher.bench_local(|| {
        black_box(score(
            black_box(&weights),
            &mut |_| false,
            &[],
            black_box(&inputs),
        ))
    });
}

#[divan::bench]
fn get_object(bencher: Bencher<'_, '_>) {
    let calls = call("GET", "https://storage.googleapis.com/storage/v1/b/b/o/o");
    measure(bencher, &calls, Body::Absent);
}

#[divan::bench]
fn stop_instance(bencher: Bencher<'_, '_>) {
    let calls = call(
        "POST",
        "https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances/i/stop",
    );
    measure(bencher, &calls, Body::Absent);
}

#[divan::bench]
fn insert_instance(bencher: Bencher<'_, '_>) {
    let calls = call(
        "POST",
        "https://compute.googleapis.com/compute/v1/projects/p/zones/z/instances",
    );
    let body = json!({
        "name": "i",
        "machineType": "zones/z/machineTypes/e2-small",
        "disks": [{"boot": true, "initializeParams": {"sourceImage": "projects/debian-cloud/global/images/family/d"}}],
        "networkInterfaces": [{"network": "global/networks/default", "accessConfigs": [{"type": "ONE_TO_ONE_NAT"}]}],
        "labels": {"team": "a", "stage": "dev"},
    });
    measure(bencher, &calls, Body::Json(&body));
}

/// 10 KB of bindings, as projects of some age have them.
#[divan::bench]
fn set_policy_of_10_kb(bencher: Bencher<'_, '_>) {
    let calls = call(
        "POST",
        "https://cloudresourcemanager.googleapis.com/v1/projects/p:setIamPolicy",
    );
    let member = |i: usize| format!("serviceAccount:worker-{i:04}@acme-dev.iam.gserviceaccount.com");
    let bindings: Vec<Value> = (0..48)
        .map(|i| {
            json!({
                "role": format!("roles/service{i}.viewer"),
                "members": [member(i), member(i + 1), member(i + 2)],
            })
        })
        .collect();
    let body =
        json!({"policy": {"bindings": bindings, "etag": "BwYAAAAAAAA="}, "updateMask": "bindings,etag"});
    assert!(body.to_string().len() > 10_000);
    measure(bencher, &calls, Body::Json(&body));
}
