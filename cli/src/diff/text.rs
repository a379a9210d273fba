//! A comparison as text: a line for each way in which calls are decided otherwise.

use std::fmt::Write as _;

use turnpike_policy::{
    definition::Effect,
    whatif::{Change, Diff, Replay, Setting},
};

use crate::{
    replayed::{answer, calls_of, sections},
    text::visible,
};

/// As many methods are named one by one.
const MOST_NAMED: usize = 3;

/// What is different, for people.
pub(super) fn describe(diff: &Diff) -> String {
    let mut text = String::new();
    let allowed = |c: &&Change| c.to.effect == Effect::Allow && c.from.effect != Effect::Allow;
    let held = |c: &&Change| c.to.effect == Effect::RequireApproval;
    let denied = |c: &&Change| c.to.effect == Effect::Deny;
    let otherwise = |c: &&Change| c.to.effect == Effect::Allow && c.from.effect == Effect::Allow;
    let sections: [(&str, Vec<&Change>); 4] = [
        ("Becomes allowed", diff.changes.iter().filter(allowed).collect()),
        ("Becomes held", diff.changes.iter().filter(held).collect()),
        ("Becomes denied", diff.changes.iter().filter(denied).collect()),
        (
            "Stays allowed, with another credential",
            diff.changes.iter().filter(otherwise).collect(),
        ),
    ];
    for (title, changes) in &sections {
        section(&mut text, title, changes.iter().map(|change| line(change)));
    }
    section(&mut text, "Said otherwise", diff.settings.iter().map(setting));
    section(&mut text, "Not compared", diff.unexplored.iter().cloned());
    if text.is_empty() {
        text.push_str("No difference: every call is decided in the same way.\n");
    }
    text
}

/// What would become of recorded calls, for people.
pub(super) fn recorded(replay: &Replay) -> String {
    let changed: u64 = replay.changes.iter().map(|c| c.calls).sum();
    let mut text = format!("\nOf {} on record, ", calls_of(replay.calls));
    text.push_str(&match changed {
        0 => "none is decided otherwise.\n".to_owned(),
        1 => "1 is decided otherwise.\n".to_owned(),
        n => format!("{n} are decided otherwise.\n"),
    });
    sections(&mut text, &replay.changes);
    let mut note = |calls: u64, what: &str| {
        if calls > 0 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\n{} {what}", calls_of(calls));
        }
    };
    note(
        replay.left_out,
        "left out: of nobody known, or no method that is known.",
    );
    note(
        replay.undecided,
        "not decided: too many conditions decide them together.",
    );
    text
}

fn section(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(title);
    text.push_str(":\n");
    for line in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}", visible(&line));
    }
}

/// `agents/coder: storage.objects.delete on projects/_/buckets/b/**: Deny -> Allow (rule clean of agents/coder)`
fn line(change: &Change) -> String {
    let regions: Vec<String> = change.resources.iter().map(ToString::to_string).collect();
    let mut line = format!(
        "{}: {} on {}: {} -> {}",
        agents(&change.agents),
        methods(change),
        regions.join("; "),
        answer(&change.from),
        answer(&change.to)
    );
    if let Some(when) = &change.when {
        line.push_str(&format!(", when {when}"));
    }
    line
}

fn agents(names: &[String]) -> String {
    match names.split_at_checked(MOST_NAMED) {
        Some((first, rest)) if !rest.is_empty() => {
            format!("{} and {} more", first.join(", "), rest.len())
        }
        _ => names.join(", "),
    }
}

fn methods(change: &Change) -> String {
    match change.methods.as_slice() {
        named if named.len() <= MOST_NAMED => named.join(", "),
        many => {
            let globs = change.method_globs.join(", ");
            format!(
                "{} methods of {globs} (such as {})",
                many.len(),
                change.example.method
            )
        }
    }
}

fn setting(setting: &Setting) -> String {
    let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
    format!(
        "{}: {}: {} -> {}",
        setting.policy,
        setting.field,
        side(&setting.from),
        side(&setting.to)
    )
}
