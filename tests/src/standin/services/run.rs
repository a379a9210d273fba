//! Cloud Run: v1, which is Knative's shape and what gcloud uses, and v2.

use std::collections::BTreeMap;

use anyhow::Result;
use http::StatusCode;
use serde_json::{Value, json};

use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::{CREATED, PROJECT, PROJECT_NUMBER, REGION, World, now};

const V1: &str = "run/v1/";
const V2: &str = "run/v2/";

pub(in crate::standin) fn seed(documents: &mut BTreeMap<String, Value>) {
    let env = json!([
        {"name": "GREETING", "value": "hello"},
        {"name": "TOKEN", "value": "not-a-real-secret: service variable"},
    ]);
    let container = json!({"image": "us-docker.pkg.dev/acme-dev/app/hello:1", "env": env});
    let knative = json!({"metadata": {"name": "hello"}, "spec": {"template": {"spec": {"containers": [container.clone()]}}}});
    documents.insert(format!("{V1}hello"), ready("hello", knative, CREATED));
    let name = format!("projects/{PROJECT}/locations/{REGION}/services/hello");
    documents.insert(
        format!("{V2}{name}"),
        finished(&name, json!({"template": {"containers": [container]}}), CREATED),
    );
}

pub(in crate::standin) async fn answer(
    world: &World,
    call: &Call,
    payload: &mut Payload,
) -> Result<Option<Answer>> {
    let segments = call.segments_and_verb();
    let (method, path) = (call.method.as_str(), segments.as_slice());
    match path {
        ["v2", rest @ ..] => v2(world, call, payload, rest).await,
        ["v1", "projects", project, "locations"] => Ok(Some(answer::ok(&json!({"locations": [{
            "name": format!("projects/{project}/locations/{REGION}"), "locationId": REGION, "displayName": "Iowa",
        }]})))),
        ["v1", "projects", _, "locations", _, rest @ ..]
        | ["apis", "serving.knative.dev", "v1", "namespaces", _, rest @ ..]
        | ["apis", "run.googleapis.com", "v1", "namespaces", _, rest @ ..] => {
            v1(world, method, payload, rest).await
        }
        _ => Ok(None),
    }
}

async fn v1(world: &World, method: &str, payload: &mut Payload, path: &[&str]) -> Result<Option<Answer>> {
    Ok(Some(match (method, path) {
        ("GET", ["services"]) => {
            let documents = world.documents();
            let items: Vec<&Value> = documents
                .iter()
                .filter(|(key, _)| key.starts_with(V1))
                .map(|(_, service)| service)
                .collect();
            answer::ok(
                &json!({"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "metadata": {}, "items": items}),
            )
        }
        ("POST", ["services"]) => {
            let body = payload.json().await?;
            let Some(id) = body["metadata"]["name"].as_str().map(str::to_owned) else {
                return Ok(Some(answer::error(
                    StatusCode::BAD_REQUEST,
                    "metadata.name is required",
                )));
            };
            keep(world, &id, body)
        }
        ("PUT", ["services", id]) => {
            let body = payload.json().await?;
            keep(world, id, body)
        }
        ("GET", ["services", id]) => match world.documents().get(&format!("{V1}{id}")) {
            Some(service) => answer::ok(service),
            None => answer::not_found(&format!(
                "Resource '{id}' of kind 'SERVICE' in region '{REGION}' in project '{PROJECT}'"
            )),
        },
        ("DELETE", ["services", id]) => {
            world.documents().remove(&format!("{V1}{id}"));
            answer::ok(&json!({"status": "Success", "details": {"name": id, "kind": "Service"}}))
        }
        ("GET", ["services", _, ":getIamPolicy"]) | ("POST", ["services", _, ":setIamPolicy"]) => {
            answer::ok(&json!({"version": 1, "etag": "CAE=", "bindings": []}))
        }
        ("GET", [kind @ ("revisions" | "routes" | "configurations")]) => answer::ok(
            &json!({"apiVersion": "serving.knative.dev/v1", "kind": kind, "metadata": {}, "items": []}),
        ),
        _ => return Ok(None),
    }))
}

async fn v2(world: &World, call: &Call, payload: &mut Payload, path: &[&str]) -> Result<Option<Answer>> {
    let ["projects", project, "locations", location, rest @ ..] = path else {
        return Ok(None);
    };
    let parent = format!("projects/{project}/locations/{location}");
    Ok(Some(match (call.method.as_str(), rest) {
        ("GET", ["services"]) => {
            let documents = world.documents();
            let services: Vec<&Value> = documents
                .iter()
                .filter(|(key, _)| key.starts_with(V2))
                .map(|(_, service)| service)
                .collect();
            answer::ok(&json!({"services": services}))
        }
        ("GET", ["services", id]) => match world.documents().get(&format!("{V2}{parent}/services/{id}")) {
            Some(service) => answer::ok(service),
            None => answer::not_found(&format!("Resource '{id}'")),
        },
        ("POST", ["services"]) => {
            let body = payload.json().await?;
            let Some(id) = call.query("serviceId") else {
                return Ok(Some(answer::error(
                    StatusCode::BAD_REQUEST,
                    "serviceId is required",
                )));
            };
            answer::ok(&deploy(world, &format!("{parent}/services/{id}"), body))
        }
        ("PATCH", ["services", id]) => {
            let body = payload.json().await?;
            answer::ok(&deploy(world, &format!("{parent}/services/{id}"), body))
        }
        ("GET", ["operations", id]) => {
            match world
                .documents()
                .get(&format!("run-operation/{parent}/operations/{id}"))
            {
                Some(operation) => answer::ok(operation),
                None => answer::not_found(&format!("Operation {id}")),
            }
        }
        _ => return Ok(None),
    }))
}

fn keep(world: &World, id: &str, body: Value) -> Answer {
    let service = ready(id, body, &now());
    world.documents().insert(format!("{V1}{id}"), service.clone());
    answer::ok(&service)
}

/// A Knative service as it is once rolled out.
fn ready(id: &str, mut body: Value, time: &str) -> Value {
    let generation = body["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
    let template = body["spec"]["template"]
        .get_mut("metadata")
        .and_then(|metadata| metadata["name"].as_str().map(str::to_owned));
    let revision = template.unwrap_or_else(|| format!("{id}-{generation:05}-abc"));
    let url = format!("https://{id}-standin.a.run.app");
    body["apiVersion"] = json!("serving.knative.dev/v1");
    body["kind"] = json!("Service");
    let metadata = &mut body["metadata"];
    metadata["name"] = json!(id);
    metadata["namespace"] = json!(PROJECT_NUMBER);
    metadata["generation"] = json!(generation);
    metadata["resourceVersion"] = json!("AAAAAAAAAAE");
    metadata["uid"] = json!("00000000-0000-4000-8000-000000000001");
    metadata["creationTimestamp"] = json!(CREATED);
    metadata["labels"]["cloud.googleapis.com/location"] = json!(REGION);
    metadata["annotations"]["serving.knative.dev/lastModifier"] = json!("standin@acme-dev.example");
    body["spec"]["traffic"] = json!([{"latestRevision": true, "percent": 100}]);
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time});
    body["status"] = json!({
        "observedGeneration": generation, "latestReadyRevisionName": revision, "latestCreatedRevisionName": revision,
        "url": url, "address": {"url": url},
        "traffic": [{"revisionName": revision, "percent": 100, "latestRevision": true}],
        "conditions": [condition("Ready"), condition("ConfigurationsReady"), condition("RoutesReady")],
    });
    body
}

fn deploy(world: &World, name: &str, body: Value) -> Value {
    let service = finished(name, body, &now());
    world.documents().insert(format!("{V2}{name}"), service.clone());
    let parent = name.split("/services/").next().unwrap_or(name);
    let operation_name = format!("{parent}/operations/operation-{}", world.next());
    let mut response = json!({"@type": "type.googleapis.com/google.cloud.run.v2.Service"});
    if let (Some(response), Some(service)) = (response.as_object_mut(), service.as_object()) {
        response.extend(service.clone());
    }
    let operation = json!({"name": operation_name, "metadata": response, "done": true, "response": response});
    world
        .documents()
        .insert(format!("run-operation/{operation_name}"), operation.clone());
    operation
}

fn finished(name: &str, mut body: Value, time: &str) -> Value {
    let id = name.rsplit('/').next().unwrap_or(name);
    body["name"] = json!(name);
    body["uid"] = json!("00000000-0000-4000-8000-000000000002");
    body["generation"] = json!("1");
    body["observedGeneration"] = json!("1");
    body["createTime"] = json!(CREATED);
    body["updateTime"] = json!(time);
    body["uri"] = json!(format!("https://{id}-standin.a.run.app"));
    body["terminalCondition"] = json!({"type": "Ready", "state": "CONDITION_SUCCEEDED"});
    body
}
