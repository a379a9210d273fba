//! Tokens against a key set: what proves a caller, and what does not, and why.

use std::{path::PathBuf, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use serde_json::{Value, json};
use turnpike_policy::caller::{Caller, Identity};

use super::{Identifier, IdentityError, Issuer, Issuers, MAX_QUOTED, MAX_TOKEN_BYTES, jwks::KeySource};

const ISSUER: &str = "https://issuer.example";
const OIDC: &str = "https://ci.example";

struct Key {
    id: &'static str,
    encoding: EncodingKey,
    public_pem: String,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        Self {
            id,
            encoding: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
            public_pem: rcgen::PublicKeyData::subject_public_key_info(&pair)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect(),
        }
    }

    fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        json!(jwk)
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some(self.id), claims)
    }

    fn sign_as(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header {
            kid: id.map(str::to_owned),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, &self.encoding).unwrap()
    }
}

fn identifier(keys: &[&Key]) -> Identifier {
    let set = json!({"keys": keys.iter().map(|k| k.jwk()).collect::<Vec<_>>()}).to_string();
    let issuer = |name: &str, service_accounts| Issuer {
        name: name.to_owned(),
        audiences: vec!["turnpike".to_owned(), "turnpike-next".to_owned()],
        keys: KeySource::Given(set.clone()),
        service_accounts,
    };
    Identifier::new(
        Issuers::new(vec![issuer(ISSUER, true), issuer(OIDC, false)]),
        None,
    )
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Claims of a good token with changes; null removes.
fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "sub": "system:serviceaccount:agents:coder", "aud": "turnpike", "exp": now() + 600,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

fn part(value: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(value.to_string())
}

fn audience(found: &str) -> IdentityError {
    IdentityError::Audience {
        found: found.to_owned(),
        wanted: "turnpike or turnpike-next".to_owned(),
    }
}

#[tokio::test]
async fn a_token_proves_its_subject_or_says_why_not() {
    let (key, other) = (Key::new("one"), Key::new("two"));
    let identifier = identifier(&[&key, &other]);
    let with = |changes: Value| key.sign(&claims(&changes));
    let good = with(json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = |alg: &str| part(&json!({"alg": alg, "kid": "one"}));
    let shared = {
        let header = Header {
            kid: Some("one".to_owned()),
            ..Header::new(Algorithm::HS256)
        };
        let secret = EncodingKey::from_secret(key.public_pem.as_bytes());
        jsonwebtoken::encode(&header, &claims(&json!({})), &secret).unwrap()
    };
    let algorithm = |name: &str| Err(IdentityError::Algorithm(name.to_owned()));
    let coder = || Ok("agents/coder".to_owned());
    let cases: Vec<(&str, String, Result<String, IdentityError>)> = vec![
        ("good", good.clone(), coder()),
        ("the other key", other.sign(&claims(&json!({}))), coder()),
        ("audiences", with(json!({"aud": ["x", "turnpike"]})), coder()),
        ("second audience", with(json!({"aud": "turnpike-next"})), coder()),
        ("clocks that differ", with(json!({"nbf": now() + 5})), coder()),
        ("nothing", String::new(), Err(IdentityError::NotAToken)),
        (
            "two parts",
            format!("{}.{}", parts[0], parts[1]),
            Err(IdentityError::NotAToken),
        ),
        ("four parts", format!("{good}.x"), Err(IdentityError::NotAToken)),
        ("no base64", "a b.c.d".to_owned(), Err(IdentityError::NotAToken)),
        (
            "a Google token",
            "ya29.a0Af".to_owned(),
            Err(IdentityError::NotAToken),
        ),
        (
            "alg none",
            format!("{}.{}.", unsigned("none"), parts[1]),
            algorithm("none"),
        ),
        (
            "alg None",
            format!("{}.{}.", unsigned("None"), parts[1]),
            algorithm("None"),
        ),
        (
            "none, old signature",
            format!("{}.{}.{}", unsigned("none"), parts[1], parts[2]),
            algorithm("none"),
        ),
        ("HS256 with the public key", shared, algorithm("HS256")),
        (
            "an unknown alg",
            format!("{}.{}.{}", unsigned("XX1"), parts[1], parts[2]),
            algorithm("XX1"),
        ),
        (
            "another family",
            format!("{}.{}.{}", unsigned("RS256"), parts[1], parts[2]),
            Err(IdentityError::Signature),
        ),
        (
            "no signature",
            format!("{}.{}.", parts[0], parts[1]),
            Err(IdentityError::Signature),
        ),
        (
            "another's claims",
            format!(
                "{}.{}.{}",
                parts[0],
                part(&claims(&json!({"sub": "x"}))),
                parts[2]
            ),
            Err(IdentityError::Signature),
        ),
        (
            "another's kid",
            key.sign_as(Some("two"), &claims(&json!({}))),
            Err(IdentityError::Signature),
        ),
        (
            "an unknown kid",
            key.sign_as(Some("three"), &claims(&json!({}))),
            Err(IdentityError::Signature),
        ),
        (
            "no kid of several",
            key.sign_as(None, &claims(&json!({}))),
            Err(IdentityError::Claim("kid, and its issuer has several keys")),
        ),
        (
            "expired",
            with(json!({"exp": now() - 60})),
            Err(IdentityError::Expired),
        ),
        (
            "not yet",
            with(json!({"nbf": now() + 60})),
            Err(IdentityError::Immature),
        ),
        (
            "another audience",
            with(json!({"aud": "sts.googleapis.com"})),
            Err(audience(r#"["sts.googleapis.com"]"#)),
        ),
        (
            "no audience",
            with(json!({"aud": null})),
            Err(IdentityError::Claim("aud")),
        ),
        ("audiences of none", with(json!({"aud": []})), Err(audience("[]"))),
        (
            "no issuer",
            with(json!({"iss": null})),
            Err(IdentityError::Claim("iss")),
        ),
        (
            "an unknown issuer",
            with(json!({"iss": "https://issuer.example/"})),
            Err(IdentityError::UnknownIssuer("https://issuer.example/".to_owned())),
        ),
        (
            "no subject",
            with(json!({"sub": null})),
            Err(IdentityError::Claim("sub")),
        ),
        (
            "an empty subject",
            with(json!({"sub": ""})),
            Err(IdentityError::Claim("sub")),
        ),
        (
            "no expiry",
            with(json!({"exp": null})),
            Err(IdentityError::Claim("exp")),
        ),
        (
            "expiry as text",
            with(json!({"exp": "never"})),
            Err(IdentityError::NotAToken),
        ),
        // Only an issuer that is told to speak for a cluster does.
        (
            "ServiceAccount of an OIDC issuer",
            with(json!({"iss": OIDC})),
            Ok("system:serviceaccount:agents:coder".to_owned()),
        ),
        (
            "no ServiceAccount",
            with(json!({"sub": "repo:acme/app"})),
            Ok("repo:acme/app".to_owned()),
        ),
    ];
    for (what, token, expected) in cases {
        let found = identifier.verify(&token).await.map(|caller| caller.name());
        assert_eq!(found, expected, "{what}");
    }
}

#[tokio::test]
async fn a_caller_is_what_the_token_says() {
    let key = Key::new("one");
    let identifier = identifier(&[&key]);
    let pod = json!({
        "kubernetes.io": {"namespace": "agents", "pod": {"name": "coder-0", "uid": "u-1"}},
        "session": "named",
    });
    let service_account = |session: &str, pod: Option<&str>| Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".to_owned(),
            name: "coder".to_owned(),
        },
        issuer: ISSUER.to_owned(),
        session: session.to_owned(),
        pod: pod.map(str::to_owned),
    };
    let oidc = Caller {
        identity: Identity::Oidc {
            issuer: OIDC.to_owned(),
            subject: "repo:acme/app".to_owned(),
            audiences: vec!["turnpike".to_owned()],
            claims: [("ref".to_owned(), "main".to_owned())].into(),
        },
        issuer: OIDC.to_owned(),
        session: "repo:acme/app".to_owned(),
        pod: None,
    };
    let cases = [
        (pod, service_account("u-1", Some("coder-0"))),
        (json!({"session": "named"}), service_account("named", None)),
        (json!({}), service_account("agents/coder", None)),
        (
            json!({"iss": OIDC, "sub": "repo:acme/app", "ref": "main", "run": 7}),
            oidc,
        ),
    ];
    for (changes, expected) in cases {
        // One key alone needs no kid.
        let token = key.sign_as(None, &claims(&changes));
        assert_eq!(
            identifier.verify(&token).await,
            Ok(Arc::new(expected)),
            "{changes}"
        );
    }
}

#[tokio::test]
async fn keys_in_a_file_are_read_again_for_a_key_that_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("jwks.json");
    let issuer = Issuer {
        name: ISSUER.to_owned(),
        audiences: vec!["turnpike".to_owned()],
        keys: KeySource::File(path.clone()),
        service_accounts: true,
    };
    let identifier = Identifier::new(Issuers::new(vec![issuer]), None);
    let key = Key::new("one");
    let first = key.sign(&claims(&json!({})));
    let missing = identifier.verify(&first).await.unwrap_err();
    assert_eq!(missing.reason(), "TOKEN_UNVERIFIABLE");

    std::fs::write(&path, json!({"keys": [key.jwk()]}).to_string()).unwrap();
    // What failed is remembered for a moment only; another token is looked at anew.
    let again = key.sign(&claims(&json!({"session": "2"})));
    assert_eq!(
        identifier.verify(&again).await.map(|c| c.name()),
        Ok("agents/coder".to_owned())
    );
}

#[tokio::test]
async fn no_error_quotes_much_of_what_nobody_verified() {
    let key = Key::new("one");
    let identifier = identifier(&[&key]);
    let long = "x".repeat(8000);
    let cut = format!("{}...", "x".repeat(MAX_QUOTED));
    let unsigned = |header: Value, changes: Value| format!("{}.{}.x", part(&header), part(&claims(&changes)));
    let es256 = || json!({"alg": "ES256"});
    let signed = |changes: Value| key.sign(&claims(&changes));
    let cases = [
        (
            "issuer",
            unsigned(es256(), json!({"iss": long})),
            IdentityError::UnknownIssuer(cut.clone()),
        ),
        (
            "algorithm",
            unsigned(json!({"alg": long}), json!({})),
            IdentityError::Algorithm(cut),
        ),
        (
            "audience",
            signed(json!({"aud": long})),
            audience(&format!("[\"{}...", "x".repeat(MAX_QUOTED - 2))),
        ),
        // Whatever it says, and however well it is signed.
        (
            "all of it",
            signed(json!({"more": "x".repeat(MAX_TOKEN_BYTES)})),
            IdentityError::NotAToken,
        ),
    ];
    for (what, token, expected) in cases {
        let found = identifier.verify(&token).await.map(|caller| caller.name());
        assert_eq!(found, Err(expected), "{what}");
    }
}
