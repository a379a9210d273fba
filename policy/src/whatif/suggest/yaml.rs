//! A suggested policy as YAML, with comments that say what is behind it.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{
    rules::{Kind, Rule},
    usage::{Seen, Usage},
};
use crate::{definition::Effect, whatif::recorded::RecordedAgent};

/// As many rules a policy may have.
const MOST_RULES: usize = 256;
/// As many names a comment tells.
const MOST_NAMES: usize = 5;
/// As many refusals are told.
const MOST_REFUSED: usize = 50;
/// Characters of a comment's line.
const WIDTH: usize = 118;

/// The policy of one agent; several documents where there are more rules than a policy holds.
pub(super) fn document(usage: &Usage, rules: &[Rule]) -> String {
    let mut text = String::new();
    let agent = usage.agent.name();
    let Seen { calls, first, last } = usage.all;
    let calls = match calls {
        1 => "1 call".to_owned(),
        n => format!("{n} calls"),
    };
    let words = format!(
        "Suggested from {calls} of {agent}, from {} to {}. It lets pass what was let pass, and holds what was held.",
        second(first),
        second(last)
    );
    comment(&mut text, 0, &words);
    comment(
        &mut text,
        0,
        "Methods that destroy, hand out credentials or are about who may do what want an approval here even where they \
         were allowed; so does what was let pass at some times and refused by policies at others, because a trail does \
         not tell which condition made the difference. A glob stands for three names or more, or for what is created \
         below a name, because creates do not tell the names of children. Take away what the agent should not do; then put it in the place of the policies that select \
         the agent now.",
    );
    credentials(&mut text, usage);
    if rules.is_empty() {
        comment(
            &mut text,
            0,
            "Nothing was let pass, so there is nothing to allow.",
        );
    }
    let mut documents = rules.chunks(MOST_RULES).enumerate().peekable();
    while let Some((at, rules)) = documents.next() {
        policy(&mut text, usage, at, rules);
        if documents.peek().is_some() {
            text.push_str("---\n");
        }
    }
    refused(&mut text, usage);
    text
}

fn policy(text: &mut String, usage: &Usage, at: usize, rules: &[Rule]) {
    let (namespace, name) = names(usage);
    let name = match at {
        0 => name,
        at => format!("{name}-{}", at + 1),
    };
    line(text, 0, "apiVersion: turnpike.dev/v1alpha1");
    line(text, 0, "kind: AgentPolicy");
    line(text, 0, "metadata:");
    line(text, 1, &format!("name: {}", quoted(&name)));
    line(text, 1, &format!("namespace: {}", quoted(&namespace)));
    line(text, 0, "spec:");
    line(text, 1, "agents:");
    match &usage.agent {
        RecordedAgent::ServiceAccount { name, .. } => {
            line(text, 2, "- serviceAccount:");
            line(text, 4, &format!("name: {}", quoted(name)));
        }
        RecordedAgent::Oidc { issuer, subject } => {
            line(text, 2, "- oidc:");
            line(text, 4, &format!("issuer: {}", quoted(issuer)));
            line(text, 4, &format!("subject: {}", quoted(subject)));
        }
    }
    if let Some(account) = account(usage) {
        line(text, 1, "credential:");
        line(text, 2, "impersonate:");
        line(text, 3, &format!("serviceAccount: {}", quoted(account)));
    }
    line(text, 1, "rules:");
    for rule in rules {
        self::rule(text, rule);
    }
}

/// Namespace and name of the policy.
fn names(usage: &Usage) -> (String, String) {
    match &usage.agent {
        RecordedAgent::ServiceAccount { namespace, name } => (namespace.clone(), name.clone()),
        RecordedAgent::Oidc { subject, .. } => {
            let plain: String = subject
                .chars()
                .map(|c| match c.to_ascii_lowercase() {
                    c if c.is_ascii_alphanumeric() => c,
                    _ => '-',
                })
                .take(200)
                .collect();
            let name = Some(plain.trim_matches('-')).filter(|name| !name.is_empty());
            let namespace = usage.namespaces.first();
            (
                namespace.map_or("default", |ns| ns).to_owned(),
                name.unwrap_or("agent").to_owned(),
            )
        }
    }
}

/// The one service account that all calls were made as.
fn account(usage: &Usage) -> Option<&str> {
    match usage.credentials.iter().collect::<Vec<_>>().as_slice() {
        [one] if one.contains('@') => Some(one),
        _ => None,
    }
}

fn credentials(text: &mut String, usage: &Usage) {
    let named: Vec<&str> = usage.credentials.iter().map(String::as_str).collect();
    match named.as_slice() {
        [] | ["ambient"] => {}
        [one] if one.contains('@') => {}
        many => {
            let words = format!(
                "Calls were made with these credentials: {}. Say in spec.credential which one it should be.",
                many.join(", ")
            );
            comment(text, 0, &words);
        }
    }
}

fn rule(text: &mut String, rule: &Rule) {
    let all = rule.methods.iter().map(|(_, seen)| *seen).reduce(Seen::and);
    if let Some(all) = all {
        let of_methods: Vec<String> = rule
            .methods
            .iter()
            .map(|(method, seen)| format!("{} {method}", seen.calls))
            .collect();
        comment(text, 2, &format!("{}: {}.", told(all), of_methods.join(", ")));
    }
    let why = match rule.kind {
        Kind::Read | Kind::Change => None,
        Kind::Held => Some("These were held."),
        Kind::Restricted => Some(
            "Some of these were let pass and some refused by policies. Write the conditions that made the difference \
             again, and allow what they let pass.",
        ),
        Kind::Credentials => Some("Their answers hold credentials."),
        Kind::Destructive => Some("They destroy."),
        Kind::Iam => Some("They are about who may do what."),
    };
    if let Some(why) = why {
        comment(text, 2, why);
    }
    for pattern in rule.resources.iter().filter(|p| !p.names.is_empty()) {
        // What all share stands in the glob.
        let prefix = pattern.glob.find('*').map_or("", |at| &pattern.glob[..at]);
        let mut told: Vec<&str> = pattern
            .names
            .iter()
            .take(MOST_NAMES)
            .map(|name| name.strip_prefix(prefix).unwrap_or(name))
            .collect();
        let more = pattern.names.len() - told.len();
        let more = format!("{more} more");
        if more != "0 more" {
            told.push(&more);
        }
        let words = format!(
            "{} stands for {} names: {}.",
            pattern.glob,
            pattern.names.len(),
            told.join(", ")
        );
        comment(text, 2, &words);
    }
    for pattern in rule.resources.iter().filter(|p| p.below) {
        let words = match pattern.glob.strip_suffix("/**") {
            Some(parent) => format!(
                "{} stands for children of {parent}: a create does not tell their names.",
                pattern.glob
            ),
            None => format!(
                "{} stands for every name: a create does not tell its own.",
                pattern.glob
            ),
        };
        comment(text, 2, &words);
    }
    if !rule.refused_too.is_empty() {
        let names: Vec<&str> = rule
            .refused_too
            .iter()
            .map(String::as_str)
            .take(MOST_NAMES)
            .collect();
        let words = format!("It also covers what was refused: {}.", names.join(", "));
        comment(text, 2, &words);
    }
    line(text, 2, &format!("- name: {}", quoted(&rule.name)));
    let effect = match rule.effect {
        Effect::Allow => "Allow",
        Effect::RequireApproval => "RequireApproval",
        Effect::Deny => "Deny",
    };
    line(text, 3, &format!("effect: {effect}"));
    line(text, 3, "methods:");
    for (method, _) in &rule.methods {
        line(text, 4, &format!("- {}", quoted(method)));
    }
    line(text, 3, "resources:");
    for pattern in &rule.resources {
        line(text, 4, &format!("- {}", quoted(&pattern.glob)));
    }
}

/// What was refused, and stays so.
fn refused(text: &mut String, usage: &Usage) {
    if usage.refused.is_empty() {
        return;
    }
    comment(text, 0, "Refused, and not allowed here:");
    for ((operation, resource, reason), seen) in usage.refused.iter().take(MOST_REFUSED) {
        let on = match resource.is_empty() {
            true => String::new(),
            false => format!(" on {resource}"),
        };
        comment(text, 0, &format!("- {}: {operation}{on}: {reason}.", told(*seen)));
    }
    if let Some(more) = usage.refused.len().checked_sub(MOST_REFUSED).filter(|n| *n > 0) {
        comment(text, 0, &format!("- and {more} more."));
    }
}

/// `3 calls, the last at 2026-07-01T10:00:00Z`
fn told(seen: Seen) -> String {
    match seen.calls {
        1 => format!("1 call, at {}", second(seen.last)),
        calls => format!("{calls} calls, the last at {}", second(seen.last)),
    }
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn line(text: &mut String, depth: usize, words: &str) {
    let blank = "  ".repeat(depth);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{blank}{words}");
}

/// A comment, broken between words. Names come from agents: nothing in them ends the comment, or hides.
fn comment(text: &mut String, depth: usize, words: &str) {
    let blank = "  ".repeat(depth);
    let mut row = String::new();
    for word in words.split(' ') {
        let word: String = word.chars().flat_map(shown).collect();
        let full = blank.len() + 2 + row.chars().count() + 1 + word.chars().count() > WIDTH;
        if full && !row.is_empty() {
            let _ = writeln!(text, "{blank}# {row}");
            row = "  ".to_owned();
        } else if !row.is_empty() {
            row.push(' ');
        }
        row.push_str(&word);
    }
    let _ = writeln!(text, "{blank}# {row}");
}

fn shown(c: char) -> Vec<char> {
    match c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() {
        true => vec![c],
        false => c.escape_unicode().collect(),
    }
}

/// A scalar: as it is where nobody could take it for something else, or in double quotes (YAML 1.2, section 7.3.1)
/// with escapes for what does not show.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '@' | '-');
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text));
    if !reserved && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\U{:08x}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}
