//! The same method for another resource than the policy allows it for: names that some server reads as the forbidden
//! one and some gate does not, in the path and beside it.

use super::{
    super::{
        Attempt, How,
        case::resources::{ALLOWED, FORBIDDEN, ResourceCase},
    },
    Speaker, request,
};

pub(super) fn ways(given: &ResourceCase, speaker: Speaker<'_>) -> Vec<Attempt> {
    let case = &given.case;
    let (host, verb) = (case.host.as_str(), case.verb);
    let mut found = Vec::new();
    for (way, name) in spellings() {
        let path = given.open.replacen(ALLOWED, &name, 1);
        found.push(request(way, case, speaker.request(verb, &path, host, "", "")));
    }
    // Where to look for it, told in another way.
    let place = |from: &str, to: &str| case.path.replace(from, to);
    for (way, path) in [
        (
            "a forbidden name in any project",
            place("projects/acme-dev", "projects/-"),
        ),
        (
            "a forbidden name in a project by its number",
            place("projects/acme-dev", "projects/123456789012"),
        ),
        (
            "a forbidden name in a project in upper case",
            place("projects/acme-dev", "projects/ACME-DEV"),
        ),
        (
            "a forbidden name in any location",
            place("us-central1-a", "-").replace("us-central1", "-"),
        ),
        (
            "a forbidden name in any place",
            place("projects/acme-dev", "projects/-")
                .replace("us-central1-a", "-")
                .replace("us-central1", "-"),
        ),
        ("a forbidden name in no project", place("projects/acme-dev/", "")),
        (
            "steps from an allowed name to a forbidden one",
            format!("{}/../{FORBIDDEN}", upto(&given.open)),
        ),
    ] {
        found.push(request(way, case, speaker.request(verb, &path, host, "", "")));
    }
    let encoded = given.name.replace('/', "%2F");
    let storage = case.service == "storage";
    for parameter in [
        "name",
        "%6Eame",
        "NAME",
        "secret.name",
        "parent",
        "resource",
        "resource_name",
    ] {
        // Cloud Storage has no such fields, and calls what is uploaded by one of them.
        let known = matches!(parameter, "name" | "%6Eame" | "NAME");
        if storage && (!known || case.id == "storage.objects.insert") {
            continue;
        }
        for value in [encoded.clone(), format!("%2F%2F{host}%2F{encoded}")] {
            let target = format!("{}?{parameter}={value}", given.open);
            found.push(request(
                "a parameter that names another",
                case,
                speaker.request(verb, &target, host, "", ""),
            ));
        }
    }
    for parameter in parts_of(&given.name) {
        let target = format!("{}?{parameter}={FORBIDDEN}", given.open);
        found.push(request(
            "a parameter with another part of a name",
            case,
            speaker.request(verb, &target, host, "", ""),
        ));
    }
    for (way, line) in [
        (
            "a routing header",
            format!("X-Goog-Request-Params: name={encoded}\r\n"),
        ),
        (
            "a routing header with more",
            format!("X-Goog-Request-Params: a=b&parent={}\r\n", given.name),
        ),
        (
            "the source of a copy",
            format!("X-Goog-Copy-Source: {FORBIDDEN}/item-1\r\n"),
        ),
        (
            "the URL in a header",
            format!("X-Original-URL: {}\r\n", case.path),
        ),
        (
            "the path in a header",
            format!("X-Rewrite-URL: {}\r\n", case.path),
        ),
    ] {
        found.push(request(
            way,
            case,
            speaker.request(verb, &given.open, host, &line, ""),
        ));
    }
    let stream = |way, path: &str, more: &[(&str, &str)]| {
        let mut fields = speaker.fields(verb, path, host);
        fields.extend(more.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        Attempt {
            way,
            how: How::Stream {
                host: host.to_owned(),
                fields,
                body: None,
                trailers: Vec::new(),
            },
        }
    };
    found.push(stream(
        "another :path behind it",
        &given.open,
        &[(":path", &case.path)],
    ));
    found.push(stream(
        "a routing header by HTTP/2",
        &given.open,
        &[("x-goog-request-params", &format!("name={encoded}"))],
    ));
    found
}

/// Parameters that some server could fill the forbidden part of a name from.
fn parts_of(name: &str) -> Vec<String> {
    let before = name.split(FORBIDDEN).next().unwrap_or(name);
    let collection = before
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let one = collection.trim_end_matches('s');
    match collection {
        // Whatever is called like a bucket's object is one.
        "objects" => Vec::new(),
        _ => vec![one.to_owned(), format!("{one}Id"), format!("{one}_id")],
    }
}

/// A path up to the allowed name.
fn upto(path: &str) -> &str {
    path.find(ALLOWED).map_or(path, |at| &path[..at + ALLOWED.len()])
}

/// What stands in the place of the allowed name.
fn spellings() -> Vec<(&'static str, String)> {
    let letters: String = FORBIDDEN.bytes().map(|b| format!("%{b:02X}")).collect();
    let mut found = vec![
        ("the forbidden name in upper case", FORBIDDEN.to_ascii_uppercase()),
        (
            "the forbidden name with a capital",
            FORBIDDEN.replacen('v', "V", 1),
        ),
        ("the forbidden name encoded", letters.clone()),
        ("the forbidden name encoded twice", letters.replace('%', "%25")),
        (
            "the forbidden name with a letter encoded",
            FORBIDDEN.replacen('v', "%76", 1),
        ),
        (
            "the forbidden name with its hyphen encoded",
            FORBIDDEN.replace('-', "%2D"),
        ),
        ("any name", "-".to_owned()),
        ("any name encoded", "%2D".to_owned()),
        ("any name by an asterisk", "*".to_owned()),
        ("any name by an encoded asterisk", "%2A".to_owned()),
        ("any name by two asterisks", "**".to_owned()),
    ];
    for (way, behind) in [
        ("an encoded question mark behind the name", "%3Fx"),
        ("an encoded parameter behind the name", "%3Falt=json"),
        ("an encoded fragment behind the name", "%23x"),
        ("an encoded parameter of the path", "%3Bx=y"),
        ("a parameter of the path", ";x=y"),
        ("an encoded slash behind the name", "%2F"),
        ("an encoded slash and more behind the name", "%2Fx"),
        ("an encoded backslash behind the name", "%5Cx"),
        ("a space behind the name", "%20"),
        ("a tab behind the name", "%09"),
        ("a line end behind the name", "%0D%0A"),
        ("NUL behind the name", "%00"),
        ("a fragment behind the name", "#x"),
    ] {
        found.push((way, format!("{FORBIDDEN}{behind}")));
    }
    for (way, before) in [
        ("a space before the name", "%20"),
        ("a tab before the name", "%09"),
        ("an encoded slash before the name", "%2F"),
        ("an allowed name and an encoded step", "open-1%2F..%2F"),
        (
            "an allowed name and a step that is all encoded",
            "open-1%2F%2E%2E%2F",
        ),
        ("an allowed name and a step encoded twice", "open-1%252F..%252F"),
        ("an allowed name and a step by backslashes", "open-1%5C..%5C"),
        ("an allowed name and a step", "open-1/../"),
        ("an allowed name and a step with a parameter", "open-1/..;/"),
        ("an encoded step before the name", "..%2F"),
        ("two slashes before the name", "/"),
        ("a dot step before the name", "./"),
    ] {
        found.push((way, format!("{before}{FORBIDDEN}")));
    }
    found
}
