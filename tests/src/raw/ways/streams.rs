//! Streams whose later messages name a forbidden resource, and messages that name two.

use super::{
    super::{
        Attempt,
        case::resources::{ALLOWED, FORBIDDEN},
    },
    Speaker,
    messages::{field, framed, stream, text},
};

/// Streams of Cloud Storage, Pub/Sub, BigQuery and Firestore whose later messages name something else.
pub(super) fn ways(speaker: Speaker<'_>) -> Vec<Attempt> {
    let bucket = |name: &str| format!("projects/_/buckets/{name}");
    let object = |name: &str| [text(1, "item-1"), text(2, &bucket(name))].concat();
    let write = |name: &str| field(2, &field(1, &object(name)));
    let append = |name: &str| field(11, &[text(1, &bucket(name)), text(2, "item-1")].concat());
    let read = |name: &str| field(1, &[text(1, &bucket(name)), text(2, "item-1")].concat());
    let data = || field(4, &text(1, "content"));
    let subscription = |name: &str| text(1, &format!("projects/acme-dev/subscriptions/{name}"));
    let table = |name: &str| text(1, &format!("projects/acme-dev/datasets/{name}/tables/t/_default"));
    let database = |name: &str| text(1, &format!("projects/acme-dev/databases/{name}"));
    let endpoint = |name: &str| {
        text(
            1,
            &format!("projects/acme-dev/locations/us-central1/endpoints/{name}"),
        )
    };
    let storage = "storage.googleapis.com";
    let service = "/google.storage.v2.Storage/";
    let mut found = Vec::new();
    let mut add = |way, host: &str, path: &str, messages: &[Vec<u8>]| {
        let body: Vec<u8> = messages.iter().flat_map(|m| framed(0, m)).collect();
        found.push(stream(way, host, path, &[], body, speaker));
    };
    let (v, o) = (FORBIDDEN, ALLOWED);
    for (way, host, path, messages) in [
        (
            "a write whose second message names another",
            storage,
            "WriteObject",
            vec![write(o), write(v)],
        ),
        (
            "a write whose third message names another",
            storage,
            "WriteObject",
            vec![write(o), data(), write(v)],
        ),
        (
            "a write that names both",
            storage,
            "WriteObject",
            vec![[write(o), write(v)].concat()],
        ),
        (
            "a write that begins without a name",
            storage,
            "WriteObject",
            vec![data(), write(v)],
        ),
        (
            "a write in both directions that goes on elsewhere",
            storage,
            "BidiWriteObject",
            vec![write(o), append(v)],
        ),
        (
            "an append to two objects",
            storage,
            "BidiWriteObject",
            vec![[append(o), append(v)].concat()],
        ),
        (
            "an append that goes on elsewhere",
            storage,
            "BidiWriteObject",
            vec![append(o), data(), append(v)],
        ),
        (
            "a write that is an append elsewhere",
            storage,
            "BidiWriteObject",
            vec![[write(o), append(v)].concat()],
        ),
        (
            "a read that goes on elsewhere",
            storage,
            "BidiReadObject",
            vec![read(o), read(v)],
        ),
        (
            "a read of two objects",
            storage,
            "BidiReadObject",
            vec![[read(o), read(v)].concat()],
        ),
    ] {
        add(way, host, &format!("{service}{path}"), &messages);
    }
    for (way, host, path, name) in [
        (
            "a pull that goes on elsewhere",
            "pubsub.googleapis.com",
            "/google.pubsub.v1.Subscriber/StreamingPull",
            &subscription as &dyn Fn(&str) -> Vec<u8>,
        ),
        (
            "rows for two tables",
            "bigquerystorage.googleapis.com",
            "/google.cloud.bigquery.storage.v1.BigQueryWrite/AppendRows",
            &table,
        ),
        (
            "writes to two databases",
            "firestore.googleapis.com",
            "/google.firestore.v1.Firestore/Write",
            &database,
        ),
        (
            "listening to two databases",
            "firestore.googleapis.com",
            "/google.firestore.v1.Firestore/Listen",
            &database,
        ),
        (
            "predictions of two endpoints",
            "aiplatform.googleapis.com",
            "/google.cloud.aiplatform.v1.PredictionService/StreamDirectRawPredict",
            &endpoint,
        ),
    ] {
        add(way, host, path, &[name(o), name(v)]);
        add(way, host, path, &[[name(o), name(v)].concat()]);
    }
    // One message that names two objects.
    let rewrite = |from: &str, to: &str| {
        [
            text(2, &bucket(from)),
            text(3, "item-1"),
            text(24, "item-1"),
            text(25, &bucket(to)),
        ]
        .concat()
    };
    let moved = |name: &str| [text(1, &bucket(name)), text(2, "item-1"), text(3, "item-2")].concat();
    for (way, path, message) in [
        (
            "a rewrite from a forbidden bucket by gRPC",
            "RewriteObject",
            rewrite(v, o),
        ),
        (
            "a rewrite to a forbidden bucket by gRPC",
            "RewriteObject",
            rewrite(o, v),
        ),
        ("a move in a forbidden bucket by gRPC", "MoveObject", moved(v)),
        (
            "a move in two buckets by gRPC",
            "MoveObject",
            [moved(o), moved(v)].concat(),
        ),
        (
            "an update of a forbidden object by gRPC",
            "UpdateObject",
            field(1, &object(v)),
        ),
        (
            "an update of two objects by gRPC",
            "UpdateObject",
            [field(1, &object(o)), field(1, &object(v))].concat(),
        ),
        (
            "a session for a forbidden object by gRPC",
            "StartResumableWrite",
            field(1, &field(1, &object(v))),
        ),
        (
            "a composition in a forbidden bucket by gRPC",
            "ComposeObject",
            field(1, &object(v)),
        ),
        (
            "a list of a forbidden bucket by gRPC",
            "ListObjects",
            text(1, &bucket(v)),
        ),
        (
            "a list of any bucket by gRPC",
            "ListObjects",
            text(1, &bucket("-")),
        ),
        (
            "a new bucket by gRPC",
            "CreateBucket",
            [text(1, "projects/_"), text(3, v)].concat(),
        ),
    ] {
        add(way, storage, &format!("{service}{path}"), &[message]);
    }
    found
}
