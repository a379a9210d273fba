//! BigQuery: datasets without tables, as far as bq looks at them.

use std::collections::BTreeMap;

use anyhow::Result;
use http::StatusCode;
use serde_json::{Value, json};

use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::{PROJECT, World};

pub(in crate::standin) fn seed(documents: &mut BTreeMap<String, Value>) {
    let dataset = described("reports", &json!({"description": "invented data"}));
    documents.insert(key("reports"), dataset);
}

pub(in crate::standin) async fn answer(
    world: &World,
    call: &Call,
    payload: &mut Payload,
) -> Result<Option<Answer>> {
    let segments = call.segments();
    let ["bigquery", "v2", "projects", PROJECT, "datasets", rest @ ..] = segments.as_slice() else {
        return Ok(None);
    };
    let answer = match (call.method.as_str(), rest) {
        ("GET", []) => {
            let documents = world.documents();
            let datasets: Vec<&Value> = documents
                .iter()
                .filter(|(name, _)| name.starts_with(&key("")))
                .map(|(_, dataset)| dataset)
                .collect();
            answer::ok(&json!({"kind": "bigquery#datasetList", "datasets": datasets}))
        }
        ("POST", []) => {
            let body = payload.json().await?;
            let Some(id) = body["datasetReference"]["datasetId"].as_str() else {
                return Ok(Some(answer::error(
                    StatusCode::BAD_REQUEST,
                    "datasetId is required",
                )));
            };
            let dataset = described(id, &body);
            world.documents().insert(key(id), dataset.clone());
            answer::ok(&dataset)
        }
        ("GET", [id]) => match world.documents().get(&key(id)) {
            Some(dataset) => answer::ok(dataset),
            None => missing(id),
        },
        ("PATCH" | "PUT", [id]) => {
            let body = payload.json().await?;
            let mut documents = world.documents();
            match documents.get_mut(&key(id)) {
                Some(dataset) => {
                    *dataset = described(id, &body);
                    answer::ok(dataset)
                }
                None => missing(id),
            }
        }
        ("DELETE", [id]) => match world.documents().remove(&key(id)) {
            Some(_) => answer::empty(StatusCode::NO_CONTENT),
            None => missing(id),
        },
        ("GET", [_, "tables"]) => answer::ok(&json!({"kind": "bigquery#tableList", "totalItems": 0})),
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// A dataset with what the client says of it.
fn described(id: &str, said: &Value) -> Value {
    json!({
        "kind": "bigquery#dataset", "id": format!("{PROJECT}:{id}"), "etag": "\"standin\"",
        "datasetReference": {"projectId": PROJECT, "datasetId": id},
        "location": "US", "creationTime": "1767225600000", "lastModifiedTime": "1767225600000",
        "description": said["description"], "access": [],
    })
}

fn key(id: &str) -> String {
    format!("bigquery/{PROJECT}/{id}")
}

/// BigQuery's errors have one more part, which bq reads.
fn missing(id: &str) -> Answer {
    let message = format!("Not found: Dataset {PROJECT}:{id}");
    let error = json!({"error": {
        "code": 404, "message": message, "status": "NOT_FOUND",
        "errors": [{"message": message, "domain": "global", "reason": "notFound"}],
    }});
    answer::json_bytes(StatusCode::NOT_FOUND, error.to_string().into())
}
