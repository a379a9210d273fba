//! Secrets with a beginning of their own, and a known length.

use super::{
    value::is_random,
    view::{Class, Hit, View},
};

/// What of a longer value is looked at.
const LONGEST: usize = 2048;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: &'static str,
    pub(super) prefix: &'static str,
    /// What follows the prefix.
    pub(super) class: Class,
    pub(super) length: Length,
}

/// How many characters follow the prefix.
#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    Exactly(usize),
    Between(usize, usize),
    AtLeast(usize),
}

impl Token {
    pub(super) fn check(&self, view: &View<'_>) -> Option<Hit> {
        if !view.begins(view.at, Class::WORD) {
            return None;
        }
        let start = view.at + self.prefix.len();
        let (least, most) = match self.length {
            Length::Exactly(length) => (length, length),
            Length::Between(least, most) => (least, most),
            Length::AtLeast(least) => (least, usize::MAX),
        };
        let run = view.run(start, self.class, LONGEST);
        if run < least || run > most || !is_random(view.slice(start..start + run)) {
            return None;
        }
        Some(Hit {
            kind: self.kind,
            value: view.at..start + run,
        })
    }
}

/// Slack: `xoxb-...` and its relatives, of which some have a second prefix (`xoxe.xoxp-...`).
pub(super) fn slack(view: &View<'_>) -> Option<Hit> {
    const CLASS: Class = Class::ALNUM_DASH.with(b'%');
    if !view.begins(view.at, Class::WORD) {
        return None;
    }
    let mut start = view.at + "xox".len();
    if !matches!(view.byte(start)?, b'a'..=b'e' | b'o' | b'p' | b'r' | b's') {
        return None;
    }
    start += 1;
    match view.byte(start)? {
        b'-' => start += 1,
        // The rotated token's own literal is found next, but has a dot before it, which may begin it.
        _ => return None,
    }
    let run = view.run(start, CLASS, 512);
    let value = view.slice(start..start + run);
    (run >= 20 && value.iter().any(u8::is_ascii_digit) && is_random(value)).then_some(Hit {
        kind: "slack-token",
        value: view.at..start + run,
    })
}

/// Slack: the URLs of webhooks are secrets.
pub(super) fn slack_webhook(view: &View<'_>) -> Option<Hit> {
    const PATH: Class = Class::WORD.with(b'/');
    let start = view.at + "hooks.slack.com/".len();
    let run = view.run(start, PATH, 256);
    let path = view.slice(start..start + run);
    let mut segments = path.split(|b| *b == b'/');
    let known = matches!(segments.next()?, b"services" | b"workflows" | b"triggers");
    let last = segments.rfind(|s| !s.is_empty())?;
    (known && last.len() >= 20 && is_random(last)).then_some(Hit {
        kind: "slack-webhook",
        value: view.at..start + run,
    })
}

/// OpenAI: `sk-`, and in the middle the base64 of its name.
pub(super) fn openai(view: &View<'_>) -> Option<Hit> {
    const MIDDLE: &str = "T3BlbkFJ";
    let before = view.run_before(view.at, Class::URL_SAFE, 256);
    let head = view.slice(view.at - before..view.at);
    let prefix = head.windows(3).position(|w| w == b"sk-")?;
    let start = view.at - before + prefix;
    let behind = view.at + MIDDLE.len();
    let run = view.run(behind, Class::URL_SAFE, 256);
    let (first, second) = (view.slice(start + 3..view.at), view.slice(behind..behind + run));
    let fits = view.begins(start, Class::WORD) && first.len() >= 16 && second.len() >= 16;
    (fits && is_random(first) && is_random(second)).then_some(Hit {
        kind: "openai-key",
        value: start..behind + run,
    })
}
