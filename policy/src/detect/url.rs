//! Passwords in the user part of URLs (RFC 3986, section 3.2.1).

use super::{
    value::{entropy, is_placeholder},
    view::{Class, Hit, View, holds},
};

/// Schemes of databases, queues and the like; what follows a `+` names the driver.
const DATABASES: [&str; 20] = [
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "mongodb",
    "redis",
    "rediss",
    "amqp",
    "amqps",
    "mssql",
    "sqlserver",
    "oracle",
    "cockroachdb",
    "clickhouse",
    "cassandra",
    "kafka",
    "nats",
    "ldap",
    "ldaps",
    "db2",
];
/// Passwords that stand for one.
const WORDS: [&str; 23] = [
    "pass", "p4ss", "pwd", "secret", "user", "token", "test", "admin", "example", "changeme", "postgres",
    "mysql", "redis", "guest", "root", "hunter2", "dummy", "fake", "foo", "bar", "api_key", "apikey", "key",
];
/// Characters of a scheme.
const SCHEME: Class = Class::ALNUM.with(b'+').with(b'-').with(b'.');

/// A URL around its `://`.
pub(super) fn url(view: &View<'_>) -> Option<Hit> {
    let start = view.at + 3;
    let rest = view.slice(start..start + 320);
    let end = rest.iter().position(|b| {
        !b.is_ascii_graphic() || matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>' | b'`' | b'\\')
    });
    let authority = rest.get(..end.unwrap_or(rest.len()))?;
    let at = authority.iter().rposition(|b| *b == b'@')?;
    let (user_info, host) = (authority.get(..at)?, authority.get(at + 1..)?);
    let colon = user_info.iter().position(|b| *b == b':')?;
    let password = user_info.get(colon + 1..)?;
    let scheme_length = view.run_before(view.at, SCHEME, 24);
    let scheme = view.slice(view.at - scheme_length..view.at).to_ascii_lowercase();
    if !is_host(host) || !is_password(password) {
        return None;
    }
    let driver = scheme.iter().position(|b| *b == b'+').unwrap_or(scheme.len());
    let base = scheme.get(..driver)?;
    let is_database = DATABASES.iter().any(|name| base == name.as_bytes());
    let is_scheme = base.first().is_some_and(u8::is_ascii_alphabetic);
    // Only databases know users without a name.
    (is_scheme && (colon > 0 || is_database)).then_some(Hit {
        kind: if is_database {
            "database-url"
        } else {
            "basic-auth-url"
        },
        value: start + colon + 1..start + at,
    })
}

/// A host that could be one; those of examples (RFC 2606) are none.
fn is_host(host: &[u8]) -> bool {
    let name = host.split(|b| *b == b':').next().unwrap_or_default();
    let shape = host
        .first()
        .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'[')
        && host.iter().all(|b| {
            Class::URL_SAFE_DOT
                .with(b':')
                .with(b'[')
                .with(b']')
                .with(b',')
                .has(*b)
        });
    let example = holds(name, "example") || name.ends_with(b".test") || name.ends_with(b".invalid");
    shape && !example
}

fn is_password(password: &[u8]) -> bool {
    let has = |class: Class| password.iter().any(|b| class.has(*b));
    let template = password
        .iter()
        .any(|b| matches!(b, b'{' | b'}' | b'(' | b')' | b'[' | b']' | b'|' | b'*'))
        || password.starts_with(b"$")
        || password.starts_with(b"%s");
    let kinds = [Class::LOWER, Class::UPPER, Class::DIGIT].map(has);
    let symbols = password.iter().any(|b| !Class::ALNUM.has(*b));
    let mixed = kinds.iter().filter(|k| **k).count() + usize::from(symbols);
    password.len() >= 6
        && !template
        && mixed >= 2
        && !is_placeholder(password)
        && !WORDS.iter().any(|word| holds(password, word))
        && entropy(password) >= 2.5
}
