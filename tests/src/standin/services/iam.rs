//! IAM: service accounts and their keys. The keys are no keys.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::{CREATED, PROJECT, World, now};

const PREFIX: &str = "iam/";

pub(in crate::standin) fn seed(documents: &mut BTreeMap<String, Value>) {
    for id in ["coder", "deployer"] {
        let account = account(&format!("{id}@{PROJECT}.iam.gserviceaccount.com"));
        documents.insert(
            format!("{PREFIX}{}", account["email"].as_str().unwrap_or(id)),
            account,
        );
    }
}

pub(in crate::standin) async fn answer(
    world: &World,
    call: &Call,
    payload: &mut Payload,
) -> Result<Option<Answer>> {
    let segments = call.segments_and_verb();
    let (method, path) = (call.method.as_str(), segments.as_slice());
    let ["v1", "projects", project, "serviceAccounts", rest @ ..] = path else {
        return Ok(None);
    };
    Ok(Some(match (method, rest) {
        ("GET", []) => {
            let accounts: Vec<Value> = documents(world).into_iter().map(|(_, account)| account).collect();
            answer::ok(&json!({"accounts": accounts}))
        }
        ("POST", []) => {
            let body = payload.json().await?;
            let id = body["accountId"].as_str().unwrap_or("unnamed");
            let email = format!("{id}@{project}.iam.gserviceaccount.com");
            let made = account(&email);
            world.documents().insert(format!("{PREFIX}{email}"), made.clone());
            answer::ok(&made)
        }
        ("GET", [email]) => match world.documents().get(&format!("{PREFIX}{email}")) {
            Some(account) => answer::ok(account),
            None => answer::not_found(&format!("Service account {email}")),
        },
        ("GET", [email, "keys"]) => answer::ok(&json!({"keys": [key_head(email, "standin-key-0", CREATED)]})),
        ("POST", [email, "keys"]) => {
            payload.drain().await?;
            answer::ok(&create_key(world, email))
        }
        ("DELETE", [_, "keys", _]) => answer::ok(&json!({})),
        ("POST", [_, ":getIamPolicy"]) => answer::ok(&json!({"version": 1, "etag": "CAE="})),
        _ => return Ok(None),
    }))
}

fn documents(world: &World) -> Vec<(String, Value)> {
    let documents = world.documents();
    documents
        .iter()
        .filter(|(key, _)| key.starts_with(PREFIX))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn account(email: &str) -> Value {
    json!({
        "name": format!("projects/{PROJECT}/serviceAccounts/{email}"), "projectId": PROJECT, "email": email,
        "uniqueId": "100000000000000000001", "displayName": email.split('@').next(), "etag": "MDEwMjE5MjA=",
    })
}

/// The head of a key, as `keys.list` gives it.
fn key_head(email: &str, id: &str, valid_after: &str) -> Value {
    json!({
        "name": format!("projects/{PROJECT}/serviceAccounts/{email}/keys/{id}"),
        "validAfterTime": valid_after, "validBeforeTime": "9999-12-31T23:59:59Z",
        "keyAlgorithm": "KEY_ALG_RSA_2048", "keyOrigin": "GOOGLE_PROVIDED", "keyType": "USER_MANAGED",
    })
}

/// A key in the shape of Google's, whose private part says that it is none.
fn create_key(world: &World, email: &str) -> Value {
    let id = format!("standin-key-{}", world.next());
    let file = json!({
        "type": "service_account", "project_id": PROJECT, "private_key_id": id,
        "private_key": "not-a-real-secret: no key at all", "client_email": email,
        "client_id": "100000000000000000001", "token_uri": "https://oauth2.googleapis.com/token",
    });
    let mut key = key_head(email, &id, &now());
    key["privateKeyType"] = json!("TYPE_GOOGLE_CREDENTIALS_FILE");
    key["privateKeyData"] = json!(STANDARD.encode(file.to_string()));
    key
}
