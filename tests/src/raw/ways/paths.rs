//! Spellings of the path.

use super::{super::Attempt, Case, Speaker, request};

pub(super) fn ways(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let path = case.path.as_str();
    let host = case.host.as_str();
    let sibling = case.sibling.as_str();
    // Behind the last slash.
    let last = path.rfind('/').map_or(0, |at| at + 1);
    let (parent, name) = path.split_at(last);
    let up = parent.trim_end_matches('/');
    let encoded: String = name.bytes().map(|b| format!("%{b:02X}")).collect();
    let twice = encoded.replace('%', "%25");
    let letter = |text: &str| {
        let first = text.bytes().next().unwrap_or(b'x');
        format!("%{first:02x}{}", text.get(1..).unwrap_or_default())
    };
    let spellings: Vec<(&'static str, String)> = vec![
        ("a letter encoded", format!("{parent}{}", letter(name))),
        (
            "a letter of the version encoded",
            format!("/{}", letter(&path[1..])),
        ),
        ("the last segment encoded", format!("{parent}{encoded}")),
        ("the last segment encoded twice", format!("{parent}{twice}")),
        ("%2F for a slash", format!("{up}%2F{name}")),
        ("%2f for a slash", format!("{up}%2f{name}")),
        ("%252F for a slash", format!("{up}%252F{name}")),
        ("%5C for a slash", format!("{up}%5C{name}")),
        ("%c0%af for a slash", format!("{up}%c0%af{name}")),
        ("%u002f for a slash", format!("{up}%u002f{name}")),
        ("a backslash for a slash", format!("{up}\\{name}")),
        ("two slashes", format!("{up}//{name}")),
        ("two slashes at the beginning", format!("/{path}")),
        ("a dot step", format!("{up}/./{name}")),
        ("an encoded dot step", format!("{up}/%2e/{name}")),
        ("a dot-dot step", format!("{up}/x/../{name}")),
        ("an encoded dot-dot step", format!("{up}/x/%2e%2E/{name}")),
        (
            "a dot-dot step encoded twice",
            format!("{up}/x/%252e%252e/{name}"),
        ),
        ("a dot-dot step in an escape", format!("{up}/x%2F..%2F{name}")),
        ("a dot-dot step with a parameter", format!("{up}/x/..;/{name}")),
        ("an overlong dot-dot step", format!("{up}/x/%c0%ae%c0%ae/{name}")),
        (
            "a neighbour and dot-dot steps",
            format!("{sibling}{}{path}", "/..".repeat(sibling.matches('/').count())),
        ),
        (
            "a neighbour and encoded dot-dot steps",
            format!(
                "{sibling}{}{path}",
                "%2F.."
                    .repeat(sibling.matches('/').count())
                    .replace("%2F..", "/%2e%2e")
            ),
        ),
        (
            "a neighbour and steps in one segment",
            format!(
                "{sibling}{}{}",
                "%2F..".repeat(sibling.matches('/').count()),
                path.replace('/', "%2F")
            ),
        ),
        ("a slash at the end", format!("{path}/")),
        ("an encoded slash at the end", format!("{path}%2F")),
        ("a parameter of the path", format!("{path};a=b")),
        ("a parameter of a segment", format!("{up};a=b/{name}")),
        ("an encoded parameter", format!("{path}%3Ba=b")),
        ("upper case", path.to_ascii_uppercase()),
        (
            "the last segment in upper case",
            format!("{parent}{}", name.to_ascii_uppercase()),
        ),
        ("%3A for a colon", path.replace(':', "%3A")),
        ("%253A for a colon", path.replace(':', "%253A")),
        ("two colons", path.replace(':', "::")),
        ("NUL at the end", format!("{path}%00")),
        ("NUL and more at the end", format!("{path}%00.txt")),
        ("a line end", format!("{path}%0d%0a")),
        ("a tab", format!("{path}%09")),
        ("a space", format!("{path}%20")),
        ("a plus", format!("{path}+")),
        ("a fragment", format!("{path}#x")),
        ("an encoded fragment", format!("{path}%23x")),
        ("an encoded question mark", format!("{path}%3Fx=y")),
        ("a full stop at the end", format!("{path}.")),
        (".json at the end", format!("{path}.json")),
        ("below upload", format!("/upload{path}")),
        ("below resumable upload", format!("/resumable/upload{path}")),
        ("below download", format!("/download{path}")),
        ("below batch", format!("/batch{path}")),
        ("below $rpc", format!("/$rpc{path}")),
        ("an authority in the path", format!("//{host}{path}")),
        ("without its first slash", path[1..].to_owned()),
        ("any project", path.replace("acme-dev", "-")),
        ("a bad escape", format!("{parent}%zz{name}")),
        ("half an escape", format!("{path}%")),
        ("bytes that are no text", format!("{path}\u{e9}")),
        ("many steps", format!("/{}{}", "x/../".repeat(300), &path[1..])),
    ];
    let verbs = [
        ("lower case verb", case.verb.to_ascii_lowercase()),
        ("a verb with a space", format!("{} ", case.verb)),
        ("a verb behind a line end", format!("\r\n{}", case.verb)),
        ("a verb with more", format!("{}X", case.verb)),
        ("TRACE", "TRACE".to_owned()),
        ("TRACK", "TRACK".to_owned()),
        ("HEAD", "HEAD".to_owned()),
        ("OPTIONS", "OPTIONS".to_owned()),
        ("PROPFIND", "PROPFIND".to_owned()),
    ];
    let spelled = spellings
        .into_iter()
        .map(|(way, target)| request(way, case, speaker.request(case.verb, &target, host, "", "")));
    let said = verbs
        .into_iter()
        .map(|(way, verb)| request(way, case, speaker.request(&verb, path, host, "", "")));
    spelled.chain(said).collect()
}
