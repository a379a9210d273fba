//! Calls with their bodies, and what they score.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use turnpike_policy::request::Body;

use crate::scored::{Sent, shown};

/// A request, its body (`null` for none), and its score.
type Row = (&'static str, Value, &'static str);

fn check(rows: &[Row]) {
    let wrong: Vec<_> = rows
        .iter()
        .filter_map(|(line, body, wanted)| {
            let body = if body.is_null() {
                Body::Absent
            } else {
                Body::Json(body)
            };
            let found = shown(&Sent::new(line, body).score(&BTreeMap::new()));
            (found != *wanted).then(|| format!("{line}\n  is     {found}\n  wanted {wanted}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn methods_without_a_look_at_bodies() {
    check(&[(
        "GET https://storage.googleapis.com/storage/v1/b/b/o/o",
        json!(null),
        "0",
    )]);
}
