//! What gcloud asks about on the way: projects, enabled services, who builds; and Compute's
//! instances.

use anyhow::Result;
use serde_json::{Value, json};

use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::{CREATED, PROJECT, PROJECT_NUMBER, World};

/// `cloudresourcemanager`, v1 and v3.
pub(super) fn projects(call: &Call) -> Option<Answer> {
    let segments = call.segments_and_verb();
    Some(match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["v1", "projects"]) => answer::ok(&json!({"projects": [project_v1()]})),
        ("GET", ["v1", "projects", id]) if exists(id) => answer::ok(&project_v1()),
        ("GET", ["v3", "projects", ":search"] | ["v3", "projects:search"]) => {
            answer::ok(&json!({"projects": [project_v3()]}))
        }
        ("GET", ["v3", "projects", id]) if exists(id) => answer::ok(&project_v3()),
        ("GET", ["v1" | "v3", "projects", id]) => answer::not_found(&format!("Project '{id}'")),
        ("POST", ["v1" | "v3", "projects", _, ":testIamPermissions"]) => answer::ok(&json!({})),
        ("POST", ["v1" | "v3", "projects", _, ":getIamPolicy"]) => {
            answer::ok(&json!({"version": 1, "etag": "CAE=", "bindings": []}))
        }
        _ => return None,
    })
}

fn exists(id: &str) -> bool {
    id == PROJECT || id == PROJECT_NUMBER
}

fn project_v1() -> Value {
    json!({
        "projectId": PROJECT, "projectNumber": PROJECT_NUMBER, "name": "Acme development",
        "lifecycleState": "ACTIVE", "createTime": CREATED,
    })
}

fn project_v3() -> Value {
    json!({
        "name": format!("projects/{PROJECT_NUMBER}"), "projectId": PROJECT, "displayName": "Acme development",
        "state": "ACTIVE", "createTime": CREATED, "updateTime": CREATED, "etag": "W/\"standin\"",
    })
}

/// `serviceusage`: everything is enabled.
pub(super) async fn service_usage(
    world: &World,
    call: &Call,
    payload: &mut Payload,
) -> Result<Option<Answer>> {
    let segments = call.segments_and_verb();
    Ok(Some(match (call.method.as_str(), segments.as_slice()) {
        ("GET", ["v1" | "v1beta1", "projects", project, "services"]) => {
            let names = [
                "storage",
                "secretmanager",
                "cloudfunctions",
                "run",
                "iam",
                "cloudbuild",
            ];
            let services: Vec<Value> = names
                .iter()
                .map(|name| enabled(project, &format!("{name}.googleapis.com")))
                .collect();
            answer::ok(&json!({"services": services}))
        }
        ("GET", ["v1" | "v1beta1", "projects", project, "services", ":batchGet"]) => {
            answer::ok(&json!({"services": [enabled(project, "storage.googleapis.com")]}))
        }
        ("GET", ["v1" | "v1beta1", "projects", project, "services", name]) => {
            answer::ok(&enabled(project, name))
        }
        ("POST", ["v1" | "v1beta1", "projects", project, "services", name, ":enable"]) => {
            answer::ok(&done(world, &json!({"service": enabled(project, name)})))
        }
        ("POST", ["v1" | "v1beta1", "projects", project, "services", ":batchEnable"]) => {
            let body = payload.json().await?;
            let ids = body["serviceIds"].as_array().cloned().unwrap_or_default();
            let services: Vec<Value> = ids
                .iter()
                .filter_map(Value::as_str)
                .map(|id| enabled(project, id))
                .collect();
            answer::ok(&done(world, &json!({"services": services})))
        }
        ("GET", ["v1" | "v1beta1", "operations", id]) => {
            answer::ok(&json!({"name": format!("operations/{id}"), "done": true, "response": {}}))
        }
        _ => return Ok(None),
    }))
}

fn enabled(project: &str, service: &str) -> Value {
    json!({
        "name": format!("projects/{project}/services/{service}"),
        "parent": format!("projects/{project}"),
        "config": {"name": service, "title": service},
        "state": "ENABLED",
    })
}

fn done(world: &World, response: &Value) -> Value {
    json!({"name": format!("operations/standin-{}", world.next()), "done": true, "response": response})
}

/// `compute`: one instance, whose start-up script holds what must not reach an agent.
pub(super) fn compute(call: &Call) -> Option<Answer> {
    let segments = call.segments();
    let ("GET", ["compute", "v1" | "beta", "projects", project, rest @ ..]) =
        (call.method.as_str(), segments.as_slice())
    else {
        return None;
    };
    let zone = "us-central1-a";
    let base = format!("https://www.googleapis.com/compute/v1/projects/{project}");
    let instance = json!({
        "kind": "compute#instance", "id": "1000000000000000001", "name": "worker-1", "status": "RUNNING",
        "zone": format!("{base}/zones/{zone}"), "machineType": format!("{base}/zones/{zone}/machineTypes/e2-small"),
        "selfLink": format!("{base}/zones/{zone}/instances/worker-1"), "creationTimestamp": CREATED,
        "networkInterfaces": [{"name": "nic0", "networkIP": "10.0.0.2"}],
        "metadata": {"kind": "compute#metadata", "items": [
            {"key": "startup-script", "value": "export TOKEN='not-a-real-secret: start-up script'"},
        ]},
    });
    Some(match rest {
        ["aggregated", "instances"] => answer::ok(&json!({
            "kind": "compute#instanceAggregatedList", "id": "standin",
            "items": {format!("zones/{zone}"): {"instances": [instance]}},
        })),
        ["zones"] => answer::ok(&json!({"kind": "compute#zoneList", "id": "standin", "items": [
            {"kind": "compute#zone", "name": zone, "status": "UP", "selfLink": format!("{base}/zones/{zone}")},
        ]})),
        ["zones", _, "instances"] => {
            answer::ok(&json!({"kind": "compute#instanceList", "id": "standin", "items": [instance]}))
        }
        ["zones", _, "instances", "worker-1"] => answer::ok(&instance),
        _ => return None,
    })
}

/// `cloudbuild`: which service account builds, as `gcloud functions deploy` asks.
pub(super) fn cloud_build(call: &Call) -> Option<Answer> {
    let segments = call.segments();
    match (call.method.as_str(), segments.as_slice()) {
        (
            "GET",
            [
                "v1",
                "projects",
                project,
                "locations",
                location,
                "defaultServiceAccount",
            ],
        ) => {
            let email = format!("{PROJECT_NUMBER}-compute@developer.gserviceaccount.com");
            Some(answer::ok(&json!({
                "name": format!("projects/{project}/locations/{location}/defaultServiceAccount"),
                "serviceAccountEmail": format!("projects/{PROJECT}/serviceAccounts/{email}"),
            })))
        }
        _ => None,
    }
}
