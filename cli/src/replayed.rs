//! Recorded calls that would be decided otherwise, as text: a line for each way.

use std::fmt::Write as _;

use jiff::Timestamp;
use turnpike_policy::{
    definition::Effect,
    whatif::{Answer, ReplayChange, RuleName},
};

use crate::text::{count, visible};

/// Appends the changes, by what would become of the calls.
pub(crate) fn sections(text: &mut String, changes: &[ReplayChange]) {
    let would = [
        (Effect::Deny, "denied"),
        (Effect::RequireApproval, "held"),
        (Effect::Allow, "allowed"),
    ];
    for (effect, word) in would {
        let of_effect: Vec<&ReplayChange> = changes.iter().filter(|c| c.to.effect == effect).collect();
        if of_effect.is_empty() {
            continue;
        }
        let calls: u64 = of_effect.iter().map(|c| c.calls).sum();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nWould be {word}: {}", calls_of(calls));
        for change in of_effect {
            let _ = writeln!(text, "  {}", visible(&line(change)));
            let _ = writeln!(text, "    {}", visible(&when_and_where(change)));
        }
    }
}

/// `3 calls`
pub(crate) fn calls_of(calls: u64) -> String {
    usize::try_from(calls).map_or_else(|_| format!("{calls} calls"), |n| count(n, "call", "calls"))
}

/// `agents/coder: storage.objects.delete: Allow (rule clean of agents/coder) -> Deny, 3 calls`
fn line(change: &ReplayChange) -> String {
    let mut line = format!(
        "{}: {}: {} -> {}, {}",
        change.agent,
        change.method,
        answer(&change.from),
        answer(&change.to),
        calls_of(change.calls)
    );
    if let Some(when) = &change.when {
        line.push_str(&format!(", when {when}"));
    }
    line
}

fn when_and_where(change: &ReplayChange) -> String {
    let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut text = match change.calls {
        1 => time(change.last),
        _ => format!("{} to {}", time(change.first), time(change.last)),
    };
    let named: Vec<&str> = change
        .resources
        .iter()
        .map(String::as_str)
        .filter(|r| !r.is_empty())
        .collect();
    if !named.is_empty() {
        text.push_str(&format!("; on {}", named.join(", ")));
    }
    text
}

/// `Deny (rule no-keys of agents/coder)`
pub(crate) fn answer(answer: &Answer) -> String {
    let mut text = format!("{:?}", answer.effect);
    let mut notes = Vec::new();
    notes.extend(answer.because.map(|because| because.to_string()));
    notes.extend(answer.rules.iter().map(rule));
    if let Some(credential) = &answer.credential {
        notes.push(format!("as {credential}"));
    }
    if !notes.is_empty() {
        text.push_str(&format!(" ({})", notes.join(", ")));
    }
    text
}

fn rule(name: &RuleName) -> String {
    format!("rule {} of {}", name.rule, name.policy)
}
