//! Where credentials come from: OAuth 2 grants, token exchange, and impersonation.
//!
//! Any well-formed request gets a token; nothing is verified. Each token is new, so that a
//! test can tell which call used which.

use anyhow::{Result, bail};
use http::StatusCode;
use serde_json::{Value, json};

use crate::standin::answer::{self, Answer};
use crate::standin::call::{Call, Payload};
use crate::standin::world::World;

const HOUR: i64 = 3600;

/// `oauth2.googleapis.com/token`: JWT bearer and refresh token grants.
pub(super) async fn grant(world: &World, call: &Call, payload: &mut Payload) -> Result<Option<Answer>> {
    if (call.method.as_str(), call.segments().as_slice()) != ("POST", &["token"]) {
        return Ok(None);
    }
    let body = payload.collect(64 * 1024).await?;
    let form: Vec<(String, String)> = parse_form(std::str::from_utf8(&body)?);
    let field = |name: &str| {
        form.iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    };
    let fits = match field("grant_type") {
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => field("assertion").split('.').count() == 3,
        "refresh_token" => !field("refresh_token").is_empty(),
        _ => false,
    };
    if !fits {
        let refusal = json!({"error": "invalid_grant", "error_description": "The stand-in takes JWT bearer and refresh token grants."});
        return Ok(Some(answer::json_bytes(
            StatusCode::BAD_REQUEST,
            refusal.to_string().into(),
        )));
    }
    Ok(Some(answer::ok(&token(world))))
}

/// `sts.googleapis.com/v1/token`: RFC 8693, in JSON or as a form.
pub(super) async fn exchange(world: &World, call: &Call, payload: &mut Payload) -> Result<Option<Answer>> {
    if (call.method.as_str(), call.segments().as_slice()) != ("POST", &["v1", "token"]) {
        return Ok(None);
    }
    payload.drain().await?;
    let mut answer = token(world);
    answer["issued_token_type"] = json!("urn:ietf:params:oauth:token-type:access_token");
    Ok(Some(answer::ok(&answer)))
}

/// `iamcredentials.googleapis.com`: `generateAccessToken` and `allowedLocations`.
pub(super) async fn impersonate(world: &World, call: &Call, payload: &mut Payload) -> Result<Option<Answer>> {
    let segments = call.segments_and_verb();
    match (call.method.as_str(), segments.as_slice()) {
        (
            "POST",
            [
                "v1",
                "projects",
                "-",
                "serviceAccounts",
                _,
                ":generateAccessToken",
            ],
        ) => {
            let body = payload.json().await?;
            if body["scope"].as_array().is_none_or(Vec::is_empty) {
                bail!("scope is required");
            }
            let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(HOUR);
            Ok(Some(answer::ok(&json!({
                "accessToken": format!("standin-impersonated-token-{}", world.next()),
                "expireTime": format!("{expires:.0}"),
            }))))
        }
        ("GET", ["v1", "projects", "-", "serviceAccounts", _, "allowedLocations"]) => Ok(Some(answer::ok(
            &json!({"locations": ["global"], "encodedLocations": "0x0"}),
        ))),
        _ => Ok(None),
    }
}

fn token(world: &World) -> Value {
    json!({
        "access_token": format!("standin-access-token-{}", world.next()),
        "expires_in": HOUR - 1,
        "token_type": "Bearer",
    })
}

fn parse_form(text: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced)
            .decode_utf8_lossy()
            .into_owned()
    };
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}
