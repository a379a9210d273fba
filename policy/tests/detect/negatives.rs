//! What is not found: placeholders, templates, code, and values of other kinds that look alike.

use crate::{
    made::{Made, UPPER},
    values,
};

fn none(texts: &[String]) {
    for text in texts {
        assert_eq!(values(text), [], "{text}");
    }
}

#[test]
fn placeholders_are_none() {
    let x = |prefix: &str, c: &str, n: usize| format!("{prefix}{}", c.repeat(n));
    none(&[
        "AKIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        x("AIza", "x", 35),
        x("AIzaSy", "0", 33),
        x("ghp_", "X", 36),
        x("ghp_", "a1", 18),
        x("npm_", "0123456789ab", 3),
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789".to_owned(),
        "GOCSPX-your-client-secret-goes-h3re".to_owned(),
        "sk-ant-api03-your-key-here-your-key-here-your-key-here-your-key-here-1A".to_owned(),
        "xoxb-your-token-here-0000-1111".to_owned(),
        "hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX".to_owned(),
    ]);
    let mut texts = Vec::new();
    for value in [
        "changeme",
        "change-me-2024",
        "<password>",
        "${DB_PASSWORD}",
        "$DB_PASSWORD1",
        "{{ .Values.password1 }}",
        "%(password)s",
        "********",
        "password123",
        "Passw0rd!",
        "xxxx-xxxx-1X",
        "your_password_1A",
        "test-Pw-1234",
        "None",
        "hunter2",
        "example1Ab#",
        "secret/data/db1",
        "/run/secrets/db-1A",
        "os.environ['A1bC2']",
        "getPassword(1, 'aB')",
        "config.db.password2",
        "2024-01-01T00:00:00Z",
        "https://vault.acme.dev/v1/a1B2",
        "550e8400-e29b-41d4-a716-446655440000",
        "projects/acme/secrets/db/versions/1",
        "gs://Bucket1/Path2/a",
        "ADMIN_PASSWORD_2",
        "v1.27.3-gke.100",
        "aaaaaaaaaaaa1B",
        "AbCdEfGh12345678",
    ] {
        for form in [
            "password = \"{}\"",
            "password: {}",
            "DB_PASSWORD={}",
            "{\"apiKey\": \"{}\"}",
        ] {
            texts.push(form.replace("{}", value));
        }
    }
    none(&texts);
}

#[test]
fn names_of_other_things_are_none() {
    let m = &mut Made::new(21);
    let names = [
        "pageToken",
        "nextPageToken",
        "next_page_token",
        "syncToken",
        "csrfToken",
        "secretName",
        "secret_id",
        "password_hash",
        "passwordFile",
        "tokenUri",
        "token_type",
        "tokens",
        "secretKeyRef",
        "passwordPolicy",
    ];
    let texts: Vec<String> = names
        .iter()
        .map(|name| format!("\"{name}\": \"{}\"", m.alnum(28)))
        .collect();
    none(&texts);
}

#[test]
fn ids_digests_and_cut_values_are_none() {
    let m = &mut Made::new(22);
    let id = format!("AKIA{}", m.text(&[UPPER, "234567"], 16));
    none(&[
        // An id alone is no secret, nor with the digest of a commit or a path beside it.
        id.clone(),
        format!("{id} {}", m.hex(40)),
        format!("{id} a/b/c/d/e/f/{}", m.alnum(28)),
        format!("AIza{}", m.alnum(20)),
        format!("{}AIza{}", m.alnum(8), m.alnum(35)),
        m.alnum(5000),
        m.base64(5000),
        m.hex(5000),
    ]);
}

#[test]
fn tokens_and_keys_without_what_makes_them_secret_are_none() {
    let m = &mut Made::new(23);
    let jwt = m.jwt(r#"{"iss":"acme"}"#);
    let unsigned = jwt.rsplit_once('.').expect("three parts").0.to_owned();
    let sample = m.jwt(r#"{"sub":"1234567890","name":"John Doe","iat":1516239022}"#);
    none(&[
        unsigned.clone(),
        format!("{unsigned}."),
        format!("{unsigned}.c2ln"),
        sample,
        m.pem("PUBLIC KEY", 300),
        m.pem("CERTIFICATE", 900),
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg...\n-----END PRIVATE KEY-----\n".to_owned(),
        format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            "A".repeat(640)
        ),
        "const BEGIN = '-----BEGIN RSA PRIVATE KEY-----';".to_owned(),
    ]);
}

#[test]
fn urls_without_a_real_password_are_none() {
    none(
        &[
            "postgres://user:password@localhost/db",
            "postgres://postgres:postgres@db:5432/app",
            "postgres://${USER}:${PASSWORD}@db/app",
            "postgres://user:{password1A}@db/app",
            "mysql://app:****@db/app",
            "https://user:p4ssw0rd1@example.com/",
            "https://user@acme.dev/a:b1C2d3@e",
            "https://acme.dev/login?next=a:Xy12345z@b",
            "http://[::1]:8080/a@b",
            "ssh://git@github.com:22/a",
            "https://user:abc@acme.dev",
        ]
        .map(str::to_owned),
    );
}
