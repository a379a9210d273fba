//! Who gets in: nobody without a token of this cluster for this audience.

use std::time::Duration;

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use turnpike_tests::control_plane::TOKEN_ISSUER;
use turnpike_tests::turnpike::cluster::{AUDIENCE, policy};

use crate::gate;

#[tokio::test]
async fn only_agents_that_a_policy_selects_get_in() -> Result<()> {
    let gate = gate().await?;
    let (agents, others) = (gate.cluster.agents().await?, gate.cluster.agents().await?);
    let rules = json!([{"name": "read", "effect": "Allow", "methods": ["storage.**"]}]);
    gate.cluster.program(&agents, &policy("coder", &rules)).await?;
    let plane = &gate.cluster.plane;
    let good = gate.cluster.token(&agents, "coder").await?;
    let hour = Duration::from_secs(3600);
    let for_others = plane
        .service_account_token(&agents, "coder", "another", hour)
        .await?;

    let now = jiff::Timestamp::now().as_second();
    let claims = |issuer: &str, name: &str, expires: i64| {
        json!({
            "iss": issuer, "aud": [AUDIENCE], "iat": now - 7200, "nbf": now - 7200, "exp": expires,
            "sub": format!("system:serviceaccount:{agents}:{name}"),
        })
    };
    let valid = claims(TOKEN_ISSUER, "coder", now + 3600);
    let unsigned = |algorithm: &str| token(&json!({"alg": algorithm, "typ": "JWT"}), &valid, "");
    // The claims of a good token under the signature of another.
    let parts: Vec<&str> = good.split('.').collect();
    let other_signature = plane.sign_token(&valid)?;
    let forged = format!(
        "{}.{}.{}",
        parts[0],
        parts[1],
        other_signature.rsplit('.').next().unwrap_or_default()
    );
    let sign = |claims: &Value| plane.sign_token(claims);

    let cases: [(&str, Option<String>, &str); 14] = [
        ("no token", None, "401 TOKEN_MISSING"),
        (
            "no JWT",
            Some("ya29.not-a-google-token".to_owned()),
            "401 TOKEN_MALFORMED",
        ),
        ("another audience", Some(for_others), "401 TOKEN_AUDIENCE"),
        (
            "expired",
            Some(sign(&claims(TOKEN_ISSUER, "coder", now - 60))?),
            "401 TOKEN_EXPIRED",
        ),
        ("alg none", Some(unsigned("none")), "401 TOKEN_ALGORITHM"),
        ("alg HS256", Some(unsigned("HS256")), "401 TOKEN_ALGORITHM"),
        ("another signature", Some(forged), "401 TOKEN_REJECTED"),
        (
            "another issuer",
            Some(sign(&claims("https://issuer.example", "coder", now + 3600))?),
            "401 TOKEN_ISSUER",
        ),
        (
            "no such ServiceAccount",
            Some(sign(&claims(TOKEN_ISSUER, "nobody", now + 3600))?),
            "401 TOKEN_REJECTED",
        ),
        ("no issuer", Some(sign(&json!({"sub": "x"}))?), "401 TOKEN_CLAIM"),
        (
            "the same name in another namespace",
            Some(gate.cluster.token(&others, "coder").await?),
            "403 NO_RULE_ALLOWS",
        ),
        (
            "another name in the namespace",
            Some(gate.cluster.token(&agents, "reviewer").await?),
            "403 NO_RULE_ALLOWS",
        ),
        ("good", Some(good.clone()), "200"),
        ("good again", Some(good.clone()), "200"),
    ];
    let agent = gate.proxy.agent(&good)?;
    let url = "https://storage.googleapis.com/storage/v1/b/acme-dev-data?fields=identity";
    let mut found = Vec::new();
    let mut wanted = Vec::new();
    for (name, token, verdict) in cases {
        let answer = agent.with_token(token.as_deref()).get(url).await?;
        found.push(format!("{name}: {}", answer.verdict()));
        wanted.push(format!("{name}: {verdict}"));
    }
    assert_eq!(found, wanted);
    assert_eq!(gate.arrived("fields=identity").len(), 2, "the good calls alone");
    assert!(
        !gate.proxy.process.output()?.contains(&good),
        "no token in the log"
    );
    Ok(())
}

fn token(header: &Value, claims: &Value, signature: &str) -> String {
    let encode = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", encode(header), encode(claims))
}
