//! Secret Manager: secrets, their versions, and access.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::{CREATED, PROJECT, PROJECT_NUMBER, World, now};

/// A secret and its versions, oldest first.
#[derive(Clone, Debug)]
pub(in crate::standin) struct Secret {
    created: String,
    /// The payloads of its versions; the first is version 1.
    pub(in crate::standin) versions: Vec<Vec<u8>>,
}

impl Secret {
    /// Made now, without a version.
    pub(in crate::standin) fn empty() -> Self {
        Self {
            created: now(),
            versions: Vec::new(),
        }
    }
}

pub(in crate::standin) fn seed() -> BTreeMap<String, Secret> {
    let secret = |text: &str| Secret {
        created: CREATED.to_owned(),
        versions: vec![text.as_bytes().to_vec()],
    };
    BTreeMap::from([
        ("api-token".to_owned(), secret("not-a-real-secret: api token")),
        (
            "db-password".to_owned(),
            secret("not-a-real-secret: database password"),
        ),
    ])
}

pub(in crate::standin) async fn answer(
    world: &World,
    call: &Call,
    payload: &mut Payload,
) -> Result<Option<Answer>> {
    let segments = call.segments_and_verb();
    let (method, path) = (call.method.as_str(), segments.as_slice());
    let ["v1" | "v1beta1" | "v1beta2", "projects", project, rest @ ..] = path else {
        return Ok(None);
    };
    if *project != PROJECT && *project != PROJECT_NUMBER {
        return Ok(None);
    }
    // A regional secret has a location in its name.
    let rest = match rest {
        ["locations", _, rest @ ..] => rest,
        rest => rest,
    };
    let answer = match (method, rest) {
        ("GET", ["secrets"]) => list(world),
        ("POST", ["secrets"]) => create(world, call),
        ("GET", ["secrets", id]) => get(world, id, describe),
        ("DELETE", ["secrets", id]) => match world.secrets().remove(*id) {
            Some(_) => answer::ok(&json!({})),
            None => no_secret(id),
        },
        ("POST", ["secrets", id, ":addVersion"]) => {
            let body = payload.json().await?;
            add_version(world, id, &body)?
        }
        ("GET", ["secrets", id, "versions"]) => get(world, id, |id, secret| {
            let versions: Vec<Value> = (1..=secret.versions.len())
                .rev()
                .map(|n| version(id, secret, n))
                .collect();
            json!({"versions": versions, "totalSize": versions.len()})
        }),
        ("GET", ["secrets", id, "versions", which]) => get_version(world, id, which, version),
        ("GET", ["secrets", id, "versions", which, ":access"]) => {
            get_version(world, id, which, |id, secret, n| {
                let data = &secret.versions[n - 1];
                json!({"name": version_name(id, n), "payload": {
                    "data": STANDARD.encode(data), "dataCrc32c": crc32c::crc32c(data).to_string(),
                }})
            })
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn list(world: &World) -> Answer {
    let secrets: Vec<Value> = world
        .secrets()
        .iter()
        .map(|(id, secret)| describe(id, secret))
        .collect();
    answer::ok(&json!({"secrets": secrets, "totalSize": secrets.len()}))
}

fn create(world: &World, call: &Call) -> Answer {
    let Some(id) = call.query("secretId") else {
        return answer::error(StatusCode::BAD_REQUEST, "secretId is required");
    };
    let mut secrets = world.secrets();
    if secrets.contains_key(id) {
        return answer::error(
            StatusCode::CONFLICT,
            &format!("Secret [{}] already exists.", secret_name(id)),
        );
    }
    let secret = Secret::empty();
    let described = describe(id, &secret);
    secrets.insert(id.to_owned(), secret);
    answer::ok(&described)
}

fn add_version(world: &World, id: &str, body: &Value) -> Result<Answer> {
    let data = STANDARD.decode(body["payload"]["data"].as_str().unwrap_or(""))?;
    let mut secrets = world.secrets();
    let Some(secret) = secrets.get_mut(id) else {
        return Ok(no_secret(id));
    };
    secret.versions.push(data);
    Ok(answer::ok(&version(id, secret, secret.versions.len())))
}

fn get(world: &World, id: &str, shape: impl FnOnce(&str, &Secret) -> Value) -> Answer {
    match world.secrets().get(id) {
        Some(secret) => answer::ok(&shape(id, secret)),
        None => no_secret(id),
    }
}

fn get_version(
    world: &World,
    id: &str,
    which: &str,
    shape: impl FnOnce(&str, &Secret, usize) -> Value,
) -> Answer {
    let secrets = world.secrets();
    let Some(secret) = secrets.get(id) else {
        return no_secret(id);
    };
    let number = if which == "latest" {
        Some(secret.versions.len())
    } else {
        which.parse().ok()
    };
    match number.filter(|number| (1..=secret.versions.len()).contains(number)) {
        Some(number) => answer::ok(&shape(id, secret, number)),
        None => answer::not_found(&format!("Secret Version [{}/versions/{which}]", secret_name(id))),
    }
}

fn describe(id: &str, secret: &Secret) -> Value {
    json!({
        "name": secret_name(id), "replication": {"automatic": {}}, "createTime": secret.created,
        "etag": "\"standin\"",
    })
}

fn version(id: &str, secret: &Secret, number: usize) -> Value {
    json!({
        "name": version_name(id, number), "createTime": secret.created, "state": "ENABLED",
        "replicationStatus": {"automatic": {}}, "etag": "\"standin\"",
    })
}

pub(in crate::standin) fn secret_name(id: &str) -> String {
    format!("projects/{PROJECT_NUMBER}/secrets/{id}")
}

pub(in crate::standin) fn version_name(id: &str, number: usize) -> String {
    format!("{}/versions/{number}", secret_name(id))
}

fn no_secret(id: &str) -> Answer {
    answer::not_found(&format!("Secret [{}]", secret_name(id)))
}
