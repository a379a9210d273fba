//! What a request calls for a server that believes everything in it.

use std::collections::BTreeSet;

use percent_encoding::percent_decode;

use super::{
    Message, Table, message,
    names::{self, Name},
};

/// Names of headers, parameters and fields of forms by which some server takes the verb.
const VERBS: &[&str] = &[
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "$httpmethod",
    "httpmethod",
    "_method",
    "method_override",
];
/// Headers by which some server takes the target.
const TARGETS: &[&str] = &["x-original-url", "x-rewrite-url", "x-original-uri", ":path"];
/// Headers by which some server takes the host.
const HOSTS: &[&str] = &[
    "host",
    "x-forwarded-host",
    "x-host",
    "x-forwarded-server",
    "x-original-host",
    ":authority",
];
/// Prefixes of paths that do not belong to the method.
const PREFIXES: &[&str] = &["upload/", "resumable/upload/", "download/", "batch/", "$rpc/"];
/// How deep batches in batches are looked into.
const DEPTH: usize = 3;

/// One thing that a server could do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Execution {
    /// The method's id.
    pub id: String,
    /// The path that it was found by.
    pub path: String,
    /// What it could act on: what the path names, and what any other part of the request does.
    pub names: BTreeSet<Name>,
}

/// All that any server could do on this message.
#[must_use]
pub fn executions(table: &Table, message: &Message) -> BTreeSet<Execution> {
    let mut found = BTreeSet::new();
    gather(table, message, "", DEPTH, &mut found);
    found
}

fn gather(table: &Table, message: &Message, outer: &str, depth: usize, found: &mut BTreeSet<Execution>) {
    let mut targets: BTreeSet<String> = BTreeSet::from([message.target.clone()]);
    let mut hosts: BTreeSet<String> = BTreeSet::from([host(outer)]);
    for name in TARGETS {
        targets.extend(message.values(name).map(str::to_owned));
    }
    for name in HOSTS {
        for value in message.values(name) {
            hosts.extend(value.split([',', ' ', '/', '@']).map(host));
        }
    }
    let mut paths = BTreeSet::new();
    let mut verbs = BTreeSet::from([message.verb.to_ascii_uppercase()]);
    for target in &targets {
        let broken = decode(target.as_bytes());
        if depth > 0 && broken.contains(&b'\n') {
            // Decoded, it is more than a target.
            let lines = [message.verb.as_bytes(), b" ", &broken, b"\r\n\r\n"].concat();
            for inner in message::torn(&lines) {
                let outer = hosts.iter().next().cloned().unwrap_or_default();
                let outer = message.values("host").next().map_or(outer, host);
                gather(table, &inner, &outer, depth - 1, found);
            }
        }
        let (authority, rest) = absolute(target);
        hosts.extend(authority.map(host));
        for target in [target, rest] {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            verbs.extend(overrides(query.as_bytes()));
            paths.extend(spellings(path));
        }
    }
    for name in VERBS {
        verbs.extend(message.values(name).map(|v| v.trim().to_ascii_uppercase()));
    }
    verbs.extend(overrides(&message.body));
    for forwarded in message.values("forwarded") {
        hosts.extend(
            forwarded
                .split(';')
                .filter_map(|pair| pair.trim().strip_prefix("host=").map(host)),
        );
    }
    if verbs.contains("HEAD") {
        verbs.insert("GET".to_owned());
    }
    // Who names no host is at the right one.
    if hosts.len() > 1 {
        hosts.remove("");
    }

    let besides = names::said_besides(message);
    for path in &paths {
        let mut add = |id: String, of_path: Vec<Name>| {
            let mut names = besides.clone();
            names.extend(of_path);
            let path = path.clone();
            found.insert(Execution { id, path, names });
        };
        for id in table.rpc(&format!("/{path}")) {
            add(id, Vec::new());
        }
        for host in &hosts {
            for verb in &verbs {
                for fit in table.find(verb, host, path) {
                    add(fit.id.to_owned(), fit.names);
                }
                for (id, names) in xml(verb, host, path) {
                    add(id.to_owned(), names);
                }
            }
        }
    }
    if depth == 0 {
        return;
    }
    // Anything may stand in a body; a server takes one apart only where it is said to hold requests.
    let told = message
        .values("content-type")
        .any(|kind| kind.to_ascii_lowercase().contains("multipart"));
    if !told
        && !paths
            .iter()
            .any(|path| path.to_ascii_lowercase().starts_with("batch"))
    {
        return;
    }
    for inner in parts(&message.body) {
        for host in &hosts {
            gather(table, &inner, host, depth - 1, found);
        }
    }
}

/// The host in an authority: without user, port and dots at its end, in lower case.
fn host(authority: &str) -> String {
    let bare = authority.rsplit('@').next().unwrap_or(authority);
    let bare = bare.split([':', ',', '/']).next().unwrap_or(bare);
    bare.trim().trim_end_matches('.').to_ascii_lowercase()
}

/// The authority and the rest of a target.
fn absolute(target: &str) -> (Option<&str>, &str) {
    let schemed = target.split_once("//");
    let Some((_, rest)) = schemed.filter(|(scheme, _)| scheme.is_empty() || scheme.ends_with(':')) else {
        return (None, target);
    };
    let at = rest.find('/').unwrap_or(rest.len());
    (Some(&rest[..at]), &rest[at..])
}

/// Verbs that parameters of a query or of a form ask for, wherever they stand.
fn overrides(form: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for pair in form.split(|b| matches!(b, b'&' | b';' | b'\r' | b'\n')) {
        let pair = decode(&decode(pair));
        let text = String::from_utf8_lossy(&pair);
        if let Some((name, value)) = text.split_once('=')
            && VERBS.contains(&name.trim().to_ascii_lowercase().as_str())
        {
            found.push(value.trim().to_ascii_uppercase());
        }
    }
    found
}

/// Every path that a server could take a path for, without the first slash: undecoded, decoded up to three times, and
/// after each step with and without the rest of what servers do to paths.
fn spellings(path: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut bytes = path.as_bytes().to_vec();
    // The name of an object is all that follows, whatever it decodes to: so it is documented.
    let object = opaque(path);
    for _ in 0..4 {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let plain = text.trim_start_matches('/').to_owned();
        found.insert(plain.clone());
        if !object {
            for cut in [text.as_str(), text.split(['#', '?', '\0']).next().unwrap_or("")] {
                found.insert(walked(cut, false));
                found.insert(walked(cut, true));
            }
        }
        let next = decode(&bytes);
        if next == bytes || object {
            break;
        }
        bytes = next;
    }
    let mut whole: Vec<String> = found.iter().cloned().collect();
    while let Some(path) = whole.pop() {
        let lower = path.to_ascii_lowercase();
        let behind = PREFIXES
            .iter()
            .filter(|p| lower.starts_with(**p))
            .map(|p| path[p.len()..].to_owned());
        for rest in behind {
            if found.insert(rest.clone()) {
                whole.push(rest);
            }
        }
    }
    found
}

fn opaque(path: &str) -> bool {
    let mut segments = path.trim_start_matches('/').split('/');
    // Steps that are not encoded are taken before anything is looked at.
    if segments.clone().any(|s| matches!(s, "." | "..")) {
        return false;
    }
    let fixed = ["storage", "v1", "b"].iter().all(|s| segments.next() == Some(*s));
    fixed && segments.next().is_some() && segments.next() == Some("o")
}

/// A path with backslashes as slashes, `//` as one, dot steps taken, and all from a semicolon on cut off each
/// segment, or not.
fn walked(path: &str, parameters: bool) -> String {
    let path = path.replace('\\', "/");
    let mut steps: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        let segment = segment.trim();
        let segment = match parameters {
            true => segment.split(';').next().unwrap_or(segment),
            false => segment,
        };
        match segment {
            "" | "." => {}
            ".." => drop(steps.pop()),
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// Decodes once: escapes, those of some servers for characters of 16 bits, and overlong forms of a slash and a dot.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let decoded: Vec<u8> = percent_decode(bytes).collect();
    let mut text = Vec::with_capacity(decoded.len());
    let mut at = 0;
    while at < decoded.len() {
        let (byte, length) = match &decoded[at..] {
            [0xc0, 0xaf, ..] => (b'/', 2),
            [0xc0, 0xae, ..] => (b'.', 2),
            [b'%', b'u' | b'U', b'0', b'0', high, low, ..] => {
                let digits = [*high, *low];
                let value = std::str::from_utf8(&digits).ok();
                match value.and_then(|d| u8::from_str_radix(d, 16).ok()) {
                    Some(value) => (value, 6),
                    None => (b'%', 1),
                }
            }
            [byte, ..] => (*byte, 1),
            [] => break,
        };
        text.push(byte);
        at += length;
    }
    text
}

/// Requests that stand in a body, as those of a batch do: a line with a verb and a target, and what follows, whatever
/// the boundary is.
fn parts(body: &[u8]) -> Vec<Message> {
    let text = String::from_utf8_lossy(body);
    let lines: Vec<&str> = text.split(['\r', '\n']).collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let mut words = line.split_whitespace();
        let (Some(verb), Some(target)) = (words.next(), words.next()) else {
            continue;
        };
        let like = verb.len() > 2 && verb.bytes().all(|b| b.is_ascii_alphabetic());
        if !like || !(target.starts_with('/') || target.contains("://")) {
            continue;
        }
        let mut message = Message {
            verb: verb.to_owned(),
            target: target.to_owned(),
            ..Message::default()
        };
        for line in lines[at + 1..].iter().take_while(|l| !l.starts_with("--")) {
            if let Some((name, value)) = line.split_once(':') {
                let field = (name.trim().to_ascii_lowercase(), value.trim().to_owned());
                message.fields.push(field);
            }
        }
        found.push(message);
    }
    found
}

/// Methods of Cloud Storage that the XML API would execute, and bucket and object.
fn xml(verb: &str, host: &str, path: &str) -> Vec<(&'static str, Vec<Name>)> {
    let path = match host.strip_suffix("storage.googleapis.com") {
        Some("") => path.to_owned(),
        Some(bucket) => format!("{}/{path}", bucket.trim_end_matches('.')),
        None => return Vec::new(),
    };
    if ["storage/", "upload/", "resumable/", "download/", "batch"]
        .iter()
        .any(|json| path.starts_with(json))
    {
        return Vec::new();
    }
    // Steps may lead out of the host's bucket.
    let both = [walked(&path, false), path];
    both.iter().flat_map(|path| xml_at(verb, path)).collect()
}

fn xml_at(verb: &str, path: &str) -> Vec<(&'static str, Vec<Name>)> {
    let (bucket, object) = path.split_once('/').unwrap_or((path, ""));
    if bucket.is_empty() {
        return Vec::new();
    }
    let ids: &[&'static str] = match (verb, object.is_empty()) {
        ("DELETE", false) => &["storage.objects.delete"],
        ("DELETE", true) => &["storage.buckets.delete"],
        ("PUT", false) => &["storage.objects.insert"],
        ("PUT", true) => &["storage.buckets.insert", "storage.buckets.update"],
        ("GET", false) => &["storage.objects.get"],
        ("GET", true) => &["storage.objects.list"],
        ("POST", _) => &["storage.objects.compose"],
        _ => &[],
    };
    let names = [("b", bucket), ("o", object)].map(|(kind, name)| (kind.to_owned(), name.to_owned()));
    ids.iter().map(|id| (*id, names.to_vec())).collect()
}
