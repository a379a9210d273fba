//! Cloud Functions v1 and v2. Operations are done as soon as they are asked for.

use std::collections::BTreeMap;

use anyhow::Result;
use http::StatusCode;
use serde_json::{Value, json};

use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::{CREATED, PROJECT, REGION, World, now};

/// Functions live under `cloudfunctions/VERSION/NAME`, as each version lists only its own.
const PREFIX: &str = "cloudfunctions";

pub(in crate::standin) fn seed(documents: &mut BTreeMap<String, Value>) {
    let name = format!("projects/{PROJECT}/locations/{REGION}/functions/hello");
    let config = json!({
        "buildConfig": {"runtime": "python312", "entryPoint": "hello"},
        "serviceConfig": {"environmentVariables": {"GREETING": "hello", "TOKEN": "not-a-real-secret: function variable"}},
    });
    documents.insert(
        format!("{PREFIX}/v2/{name}"),
        finished("v2", &name, config, CREATED),
    );
}

pub(in crate::standin) async fn answer(
    world: &World,
    call: &Call,
    payload: &mut Payload,
) -> Result<Option<Answer>> {
    let segments = call.segments_and_verb();
    let [version @ ("v1" | "v2" | "v2alpha" | "v2beta"), rest @ ..] = segments.as_slice() else {
        return Ok(None);
    };
    let version = if *version == "v1" { "v1" } else { "v2" };
    let method = call.method.as_str();
    Ok(Some(match (method, rest) {
        ("GET", ["projects", project, "locations"]) => answer::ok(&json!({"locations": [{
            "name": format!("projects/{project}/locations/{REGION}"), "locationId": REGION,
            "metadata": {"environments": ["GEN_1", "GEN_2"]},
        }]})),
        ("GET", ["projects", project, "locations", location, "functions"]) => {
            list(world, version, project, location)
        }
        (
            "POST",
            [
                "projects",
                project,
                "locations",
                location,
                "functions",
                ":generateUploadUrl",
            ],
        ) => {
            payload.drain().await?;
            answer::ok(&upload_url(world, version, project, location))
        }
        ("POST", ["projects", project, "locations", location, "functions"]) => {
            let body = payload.json().await?;
            let id = call
                .query("functionId")
                .or_else(|| body["name"].as_str().and_then(|name| name.rsplit('/').next()));
            let Some(id) = id else {
                return Ok(Some(answer::error(
                    StatusCode::BAD_REQUEST,
                    "functionId is required",
                )));
            };
            put(
                world,
                version,
                &format!("projects/{project}/locations/{location}/functions/{id}"),
                body,
                "create",
            )
        }
        ("GET", ["projects", _, "locations", _, "runtimes"]) => answer::ok(&json!({"runtimes": [
            {"name": "python312", "displayName": "Python 3.12", "stage": "GA", "environment": "GEN_2"},
            {"name": "python312", "displayName": "Python 3.12", "stage": "GA", "environment": "GEN_1"},
            {"name": "nodejs22", "displayName": "Node.js 22", "stage": "GA", "environment": "GEN_2"},
        ]})),
        ("GET", ["projects", project, "locations", location, "operations", id]) => operation(
            world,
            &format!("projects/{project}/locations/{location}/operations/{id}"),
        ),
        ("GET", ["operations", id]) => operation(world, &format!("operations/{id}")),
        (
            _,
            [
                "projects",
                project,
                "locations",
                location,
                "functions",
                id,
                verb @ ..,
            ],
        ) => {
            let name = format!("projects/{project}/locations/{location}/functions/{id}");
            match (method, verb) {
                ("GET", []) => match world.documents().get(&format!("{PREFIX}/{version}/{name}")) {
                    Some(function) => answer::ok(function),
                    None => answer::not_found(&format!("Resource '{name}'")),
                },
                ("PATCH" | "PUT", []) => {
                    let body = payload.json().await?;
                    put(world, version, &name, body, "update")
                }
                ("DELETE", []) => {
                    world.documents().remove(&format!("{PREFIX}/{version}/{name}"));
                    answer::ok(&start(
                        world,
                        version,
                        &name,
                        "delete",
                        json!({"@type": "type.googleapis.com/google.protobuf.Empty"}),
                    ))
                }
                ("GET", [":getIamPolicy"]) | ("POST", [":setIamPolicy"]) => {
                    answer::ok(&json!({"version": 1, "etag": "CAE=", "bindings": []}))
                }
                ("POST", [":generateDownloadUrl"]) => {
                    answer::ok(&json!({"downloadUrl": signed_url(world, project, location)}))
                }
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    }))
}

fn list(world: &World, version: &str, project: &str, location: &str) -> Answer {
    let start = format!("{PREFIX}/{version}/projects/{project}/locations/");
    let documents = world.documents();
    let functions: Vec<&Value> = documents
        .iter()
        .filter_map(|(key, function)| Some((key.strip_prefix(&start)?.split('/').next()?, function)))
        .filter(|(found, _)| location == "-" || *found == location)
        .map(|(_, function)| function)
        .collect();
    if functions.is_empty() {
        answer::ok(&json!({}))
    } else {
        answer::ok(&json!({"functions": functions}))
    }
}

fn put(world: &World, version: &str, name: &str, body: Value, verb: &str) -> Answer {
    let key = format!("{PREFIX}/{version}/{name}");
    if verb == "create" && world.documents().contains_key(&key) {
        return answer::error(
            StatusCode::CONFLICT,
            &format!("Could not create Cloud Function {name}: it exists."),
        );
    }
    let function = finished(version, name, body, &now());
    world.documents().insert(key, function.clone());
    let message = if version == "v1" {
        "v1.CloudFunction"
    } else {
        "v2.Function"
    };
    let mut response = json!({"@type": format!("type.googleapis.com/google.cloud.functions.{message}")});
    if let (Some(response), Some(function)) = (response.as_object_mut(), function.as_object()) {
        response.extend(function.clone());
    }
    answer::ok(&start(world, version, name, verb, response))
}

/// Keeps an operation that is done, and returns it.
fn start(world: &World, version: &str, target: &str, verb: &str, response: Value) -> Value {
    let id = format!("operation-{}", world.next());
    let name = if version == "v1" {
        format!("operations/{id}")
    } else {
        format!(
            "{}/operations/{id}",
            target.split("/functions/").next().unwrap_or(target)
        )
    };
    let operation = json!({
        "name": name,
        "metadata": {
            "@type": format!("type.googleapis.com/google.cloud.functions.{version}.OperationMetadata{}", if version == "v1" { "V1" } else { "" }),
            "target": target, "verb": verb, "createTime": now(), "endTime": now(), "apiVersion": version,
        },
        "done": true,
        "response": response,
    });
    world
        .documents()
        .insert(format!("operation/{name}"), operation.clone());
    operation
}

fn operation(world: &World, name: &str) -> Answer {
    match world.documents().get(&format!("operation/{name}")) {
        Some(operation) => answer::ok(operation),
        None => answer::not_found(&format!("Operation {name}")),
    }
}

/// A function as it is once deployed: what the client sent, and what Google adds.
fn finished(version: &str, name: &str, mut body: Value, time: &str) -> Value {
    let id = name.rsplit('/').next().unwrap_or(name);
    body["name"] = json!(name);
    body["updateTime"] = json!(time);
    if version == "v1" {
        body["status"] = json!("ACTIVE");
        body["versionId"] = json!("1");
        if body.get("httpsTrigger").is_some() {
            body["httpsTrigger"] = json!({"url": format!("https://{REGION}-{PROJECT}.cloudfunctions.net/{id}"), "securityLevel": "SECURE_ALWAYS"});
        }
    } else {
        body["state"] = json!("ACTIVE");
        body["environment"] = json!("GEN_2");
        body["url"] = json!(format!("https://{REGION}-{PROJECT}.cloudfunctions.net/{id}"));
        body["serviceConfig"]["service"] =
            json!(format!("projects/{PROJECT}/locations/{REGION}/services/{id}"));
        body["serviceConfig"]["uri"] = json!(format!("https://{id}-standin.a.run.app"));
    }
    body
}

fn upload_url(world: &World, version: &str, project: &str, location: &str) -> Value {
    let url = signed_url(world, project, location);
    if version == "v1" {
        return json!({"uploadUrl": url});
    }
    let object = url.split('?').next().and_then(|url| url.rsplit('/').next());
    json!({"uploadUrl": url, "storageSource": {"bucket": format!("gcf-v2-uploads-{location}"), "object": object}})
}

/// A URL that carries its permission with it, as Google's do; the signature is none.
fn signed_url(world: &World, _project: &str, location: &str) -> String {
    let object = format!("source-{}.zip", world.next());
    format!(
        "https://storage.googleapis.com/gcf-v2-uploads-{location}/{object}?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Expires=1800&X-Goog-Signature=not-a-real-signature"
    )
}
