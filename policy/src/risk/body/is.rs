//! What a value must be for a row of the table to count.

use serde_json::Value;

use super::roles;

/// A test of a value. What it answers says what was found, in words of the table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Is {
    /// Everybody, or everybody with a Google account.
    Everybody,
    /// A basic role that changes everything.
    BasicRole,
    /// A role from which more can be had.
    EscalatingRole,
    /// A permission from which more can be had.
    EscalatingPermission,
    /// Ranges of addresses that together span a large part of the internet: see [`super::range`].
    OpenRange,
    /// One of these texts or numbers, whatever their case and whatever stands between their words.
    OneOf(&'static [&'static str], &'static str),
    /// A switch that is off, or is reset.
    Off,
    /// A switch that is on.
    On,
    /// Something.
    Given,
    /// Anything but null.
    Present,
    /// Nothing, or what is reset.
    Empty,
    /// A number of at most this, or what is reset.
    AtMost(u64),
}

impl Is {
    /// For the table in the documents.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Everybody => "`allUsers` or `allAuthenticatedUsers`".to_owned(),
            Self::BasicRole => listed(roles::BASIC.iter().copied()),
            Self::EscalatingRole => listed(roles::ESCALATING.all()),
            Self::EscalatingPermission => listed(roles::PERMISSIONS.all()),
            Self::OpenRange => "ranges that span the internet".to_owned(),
            Self::OneOf(names, _) => listed(names.iter().copied()),
            Self::Off => "off".to_owned(),
            Self::On => "on".to_owned(),
            Self::Given => "not empty".to_owned(),
            Self::Present => "given".to_owned(),
            Self::Empty => "empty or removed".to_owned(),
            Self::AtMost(limit) => format!("{limit} or less"),
        }
    }

    /// Whether the field counts when an update mask names it and it is not given.
    pub(super) fn counts_when_reset(self) -> bool {
        matches!(self, Self::Off | Self::Empty | Self::AtMost(_))
    }

    /// Whether a list is looked at as a whole and not one by one.
    pub(super) fn is_of_lists(self) -> bool {
        matches!(self, Self::Given | Self::Present | Self::Empty)
    }

    /// What was found in a value of JSON that is no list, or for the tests of lists in any.
    pub(super) fn value(self, value: &Value) -> Option<&'static str> {
        match value {
            Value::String(text) => self.text(text),
            Value::Bool(true) => self.text("true"),
            Value::Bool(false) => self.text("false"),
            Value::Number(number) => self.text(&number.to_string()),
            Value::Null if matches!(self, Self::Present) => None,
            Value::Null => self.nothing(true),
            Value::Array(items) => self.nothing(items.is_empty()),
            Value::Object(fields) => self.nothing(fields.is_empty()),
        }
    }

    fn nothing(self, empty: bool) -> Option<&'static str> {
        match self {
            Self::Off | Self::AtMost(_) if empty => Some("reset"),
            Self::Empty if empty => Some("removed"),
            Self::Given if !empty => Some("given"),
            Self::Present => Some("given"),
            _ => None,
        }
    }

    /// What was found in a text, as in a query.
    pub(super) fn text(self, text: &str) -> Option<&'static str> {
        let text = text.trim();
        let is = |other: &str| text.eq_ignore_ascii_case(other);
        match self {
            Self::Everybody => roles::EVERYBODY.iter().find(|name| is(name)).copied(),
            Self::BasicRole => roles::BASIC.iter().find(|name| is(name)).copied(),
            Self::EscalatingRole => roles::ESCALATING.of(text),
            Self::EscalatingPermission => roles::PERMISSIONS.of(text),
            Self::OneOf(names, label) => names.iter().any(|name| is_spelt(text, name)).then_some(label),
            // Parsers differ in what they take for a switch's value.
            Self::Off => (!is("true") && !is("1")).then_some("off"),
            Self::On => (!is("false") && !is("0") && !text.is_empty()).then_some("on"),
            Self::Present => Some("given"),
            Self::Given => (!text.is_empty()).then_some("given"),
            Self::Empty => text.is_empty().then_some("removed"),
            // Durations are texts of seconds.
            Self::AtMost(limit) => {
                let number = text.strip_suffix('s').unwrap_or(text).parse::<f64>();
                let enough = number.is_ok_and(|number| number > limit as f64);
                (!enough).then_some("too little")
            }
            Self::OpenRange => None,
        }
    }
}

/// Whether a text is a name, in any of the spellings that parsers of enums take.
fn is_spelt(text: &str, name: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = u8> {
        let kept = text.bytes().filter(|b| !matches!(b, b'_' | b'-'));
        kept.map(|b| b.to_ascii_lowercase())
    }
    letters(text).eq(letters(name))
}

fn listed(names: impl Iterator<Item = &'static str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
