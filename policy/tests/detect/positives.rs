//! What is found: every kind in its forms, and in the forms in which values travel.

use std::collections::BTreeSet;

use turnpike_policy::detect::{Detectors, KINDS};

use crate::{
    found,
    made::{DIGITS, LOWER, Made, UPPER, encoded},
    values,
};

/// A secret: its kind, a text around it, and the value in it.
type Row = (&'static str, String, String);

/// All forms of all kinds, other ones for every seed.
pub(crate) fn rows(seed: u64) -> Vec<Row> {
    let m = &mut Made::new(seed);
    let mut rows: Vec<Row> = Vec::new();
    let mut bare = |kind, value: String| rows.push((kind, value.clone(), value));
    bare("google-api-key", format!("AIza{}", m.url_safe(35)));
    bare("google-api-key", format!("AQ.Ab{}", m.url_safe(48)));
    bare("google-oauth-access-token", format!("ya29.a0{}", m.url_safe(160)));
    bare(
        "google-oauth-access-token",
        format!("ya29.c.b0A{}", m.url_safe(900)),
    );
    bare("google-oauth-refresh-token", format!("1//0{}", m.url_safe(98)));
    bare("google-oauth-client-secret", format!("GOCSPX-{}", m.url_safe(28)));
    for letter in ["p", "o", "u", "s", "r"] {
        bare("github-token", format!("gh{letter}_{}", m.alnum(36)));
    }
    bare(
        "github-token",
        format!("github_pat_{}_{}", m.alnum(22), m.alnum(59)),
    );
    for name in [
        "glpat", "gldt", "glrt", "glcbt", "glptt", "glsoat", "gloas", "glagent",
    ] {
        bare("gitlab-token", format!("{name}-{}", m.url_safe(20)));
    }
    bare(
        "gitlab-token",
        format!("glpat-{}.01.{}", m.url_safe(27), m.alnum(9)),
    );
    bare(
        "slack-token",
        format!(
            "xoxb-{}-{}-{}",
            m.text(&[DIGITS], 12),
            m.text(&[DIGITS], 13),
            m.alnum(24)
        ),
    );
    bare(
        "slack-token",
        format!(
            "xoxp-{}-{}-{}",
            m.text(&[DIGITS], 12),
            m.text(&[DIGITS], 12),
            m.hex(32)
        ),
    );
    bare(
        "slack-token",
        format!(
            "xapp-1-A{}-{}-{}",
            m.text(&[UPPER, DIGITS], 10),
            m.text(&[DIGITS], 13),
            m.hex(64)
        ),
    );
    for name in ["sk_live", "sk_test", "rk_live", "rk_test"] {
        bare("stripe-key", format!("{name}_{}", m.alnum(99)));
    }
    bare("stripe-key", format!("whsec_{}", m.alnum(32)));
    bare("openai-key", format!("sk-{}T3BlbkFJ{}", m.alnum(20), m.alnum(20)));
    bare(
        "openai-key",
        format!("sk-proj-{}T3BlbkFJ{}", m.url_safe(74), m.url_safe(74)),
    );
    bare("anthropic-key", format!("sk-ant-api03-{}AA", m.url_safe(93)));
    bare("npm-token", format!("npm_{}", m.alnum(36)));
    bare(
        "jwt",
        m.jwt(r#"{"iss":"https://login.acme.dev","sub":"u-17","exp":1893456000}"#),
    );
    bare(
        "kubernetes-token",
        m.jwt(r#"{"iss":"kubernetes/serviceaccount","sub":"system:serviceaccount:agents:coder"}"#),
    );
    for label in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "DSA PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
    ] {
        for bytes in [48, 121, 1190, 2350] {
            let key = m.pem(label, bytes);
            let body = key.split("\n-----END").next().expect("a body").to_owned();
            rows.push((
                "private-key",
                key,
                body[..body.len().min(2560)].trim_end().to_owned(),
            ));
        }
    }
    rows.extend(pairs(m));
    rows.extend(urls(m));
    rows.extend(named(m));
    rows
}

fn pairs(m: &mut Made) -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, id) in [
        (
            "google-hmac-secret",
            format!("GOOG1E{}", m.text(&[UPPER, DIGITS], 55)),
        ),
        (
            "google-hmac-secret",
            format!("GOOG{}", m.text(&[UPPER, DIGITS], 20)),
        ),
        (
            "aws-secret-key",
            format!("AKIA{}", m.text(&[UPPER, "234567"], 16)),
        ),
        (
            "aws-secret-key",
            format!("ASIA{}", m.text(&[UPPER, "234567"], 16)),
        ),
    ] {
        let secret = m.base64(40);
        rows.push((kind, format!("{id}\n{secret}\n"), secret.clone()));
        rows.push((
            kind,
            format!("{{\"k\":\"{secret}\",\"id\":\"{id}\"}}"),
            secret.clone(),
        ));
        rows.push((kind, format!("id={id}\\n{secret}\\n"), secret));
    }
    let secret = m.base64(40);
    rows.push((
        "aws-secret-key",
        format!("export AWS_SECRET_ACCESS_KEY={secret}\n"),
        secret.clone(),
    ));
    rows.push((
        "aws-secret-key",
        format!("\"SecretAccessKey\": \"{secret}\""),
        secret,
    ));
    rows
}

fn urls(m: &mut Made) -> Vec<Row> {
    let mut rows = Vec::new();
    for scheme in [
        "postgres",
        "postgresql+psycopg2",
        "mysql",
        "mongodb+srv",
        "redis",
        "amqps",
        "jdbc:postgresql",
    ] {
        let password = m.alnum(14);
        rows.push((
            "database-url",
            format!("{scheme}://app:{password}@db.acme.dev:5432/x?y=1"),
            password,
        ));
    }
    let password = m.alnum(20);
    rows.push((
        "database-url",
        format!("url: redis://:{password}@10.1.2.3:6379"),
        password,
    ));
    let password = m.alnum(20);
    rows.push((
        "basic-auth-url",
        format!("git clone https://bot:{password}@git.acme.dev/a.git"),
        password,
    ));
    let end = m.alnum(20);
    let hook = format!(
        "hooks.slack.com/services/T{}/B{}/{end}",
        m.text(&[UPPER], 8),
        m.text(&[UPPER], 8)
    );
    rows.push(("slack-webhook", format!("https://{hook}"), hook));
    rows
}

fn named(m: &mut Made) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut form = |before: &str, value: &str, behind: &str| {
        rows.push(("password", format!("{before}{value}{behind}"), value.to_owned()));
    };
    form("DB_PASSWORD=", &m.alnum(16), "\nNEXT=1\n");
    form("db.password = ", &m.alnum(24), "\n");
    form(
        "password: \"",
        &format!("{}#{}!", m.alnum(7), m.text(&[DIGITS], 3)),
        "\"\n",
    );
    form("{\"client_secret\":\"", &m.url_safe(32), "\"}");
    form("{\\\"client_secret\\\": \\\"", &m.url_safe(32), "\\\"}");
    form("let api_key: &str = \"", &m.alnum(32), "\";");
    form("config['apiKey'] = '", &m.hex(32), "';");
    form("<dbPassword>", &m.alnum(18), "</dbPassword>");
    form("mysql --user app --password ", &m.alnum(18), " -e x");
    form("tool --token=", &m.alnum(30), "");
    form("env:\n- name: API_TOKEN\n  value: ", &m.alnum(30), "\n");
    form("{\"name\": \"DB_PASSWORD\", \"value\": \"", &m.alnum(30), "\"}");
    form("a=1&password=", &m.alnum(14), "&b=2");
    form("//registry.acme.dev/:_authToken=", &m.alnum(36), "\n");
    form(
        "data:\n  password: ",
        &encoded(&format!("{}!{}", m.alnum(9), m.text(&[LOWER, DIGITS], 4))),
        "\n",
    );
    rows
}

/// Kinds whose values have to look random: some random ones don't.
const BY_LOOKS: [&str; 3] = ["password", "database-url", "basic-auth-url"];

#[test]
fn every_form_of_every_kind_is_found() {
    let mut kinds = BTreeSet::from(["google-service-account-key"]);
    let (mut missed, mut looked, mut overlooked) = (Vec::new(), 0, 0);
    for seed in 1..=40 {
        for (kind, text, value) in rows(seed) {
            kinds.insert(kind);
            let is_found = values(&text) == [(kind.to_owned(), value)];
            if BY_LOOKS.contains(&kind) {
                looked += 1;
                overlooked += u32::from(!is_found);
            } else if !is_found {
                missed.push((seed, kind, text));
            }
        }
    }
    assert_eq!(missed, []);
    // A form that is not read would be one of twenty-four.
    assert!(
        looked > 900 && overlooked * 100 < looked * 4,
        "{overlooked} of {looked}"
    );
    assert_eq!(kinds, KINDS.iter().map(|kind| kind.name).collect::<BTreeSet<_>>());
    assert_eq!(Detectors::builtin().kinds().collect::<BTreeSet<_>>(), kinds);
}

#[test]
fn service_account_keys_are_told_from_other_keys() {
    let m = &mut Made::new(7);
    let key = m.service_account();
    let kinds = |text: &str| values(text).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds(&key), ["google-service-account-key"]);
    let inside = key
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    assert_eq!(
        kinds(&format!("{{\"key\": \"{inside}\"}}")),
        ["google-service-account-key"]
    );
    assert_eq!(
        kinds(&format!("privateKeyData: {}", encoded(&key))),
        ["google-service-account-key"]
    );
    let compact = key
        .replace(['\n', ' '], "")
        .replace("NPRIVATEKEY", "N PRIVATE KEY")
        .replace("DPRIVATEKEY", "D PRIVATE KEY");
    assert_eq!(kinds(&encoded(&compact)), ["google-service-account-key"]);
    assert_eq!(kinds(&m.pem("PRIVATE KEY", 1216)), ["private-key"]);
    assert_eq!(
        kinds(&format!(
            "client-key-data: {}",
            encoded(&m.pem("EC PRIVATE KEY", 121))
        )),
        ["private-key"]
    );
}

#[test]
fn keys_are_found_in_strings_of_sources_and_with_headers() {
    let m = &mut Made::new(11);
    let key = m.pem("RSA PRIVATE KEY", 600);
    for text in [
        key.replace('\n', "\\n"),
        key.replace('\n', "\r\n"),
        key.replace('\n', "\\n\" \\\n    \""),
        key.replace('\n', "%0A"),
        key.replace(
            "KEY-----\n",
            "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00FF\n\n",
        ),
        key.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK")
            .replace("-----\n", "-----\nVersion: 1\n\n"),
    ] {
        assert_eq!(values(&text).len(), 1, "{text}");
        assert_eq!(values(&text)[0].0, "private-key", "{text}");
    }
}

#[test]
fn values_are_found_behind_escapes_and_not_inside_other_words() {
    let token = format!("ghp_{}", Made::new(3).alnum(36));
    for before in [
        "", "\\n", "\\t", "\\u003d", "%3D", "\\x20", "=", "\"", "/", ":", "Bearer ", "é",
    ] {
        assert_eq!(
            values(&format!("{before}{token}")),
            [("github-token".to_owned(), token.clone())],
            "{before}"
        );
    }
    for text in [format!("x{token}"), format!("{token}x"), format!("9{token}")] {
        assert_eq!(values(&text), [], "{text}");
    }
}

#[test]
fn offsets_and_lines_are_those_of_the_value() {
    let token = format!("npm_{}", Made::new(5).alnum(36));
    let secret = Made::new(6).base64(40);
    let id = format!("AKIA{}", Made::new(6).text(&[UPPER, "234567"], 16));
    let text = format!("one\n{token}\n\n{secret}\n{id}\nkey {token}\n");
    let at = |what: &str| text.find(what).expect("it stands there") as u64;
    let last = text.rfind(&token).expect("it stands there") as u64;
    assert_eq!(
        found(&text),
        [
            ("npm-token".to_owned(), at(&token), 2, token.clone()),
            ("aws-secret-key".to_owned(), at(&secret), 4, secret.clone()),
            ("npm-token".to_owned(), last, 6, token.clone()),
        ]
    );
}
