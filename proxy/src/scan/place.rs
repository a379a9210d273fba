//! Where something stands in a content, in words for people.

use turnpike_policy::detect::Detectors;

/// The longest place that is shown, in characters.
const LONGEST: usize = 256;

/// A place inside a content; it is built on the way in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Files, archives and members, or empty.
    file: String,
    /// A path in a document, or empty.
    path: String,
}

impl Place {
    /// A content with a name, or without one.
    pub(super) fn of(name: Option<&str>) -> Self {
        Self {
            file: name.unwrap_or_default().to_owned(),
            path: String::new(),
        }
    }

    /// A member of this archive.
    pub(super) fn member(&self, name: &str) -> Self {
        let archive = self.text();
        let archive = match archive.as_str() {
            "" => "content",
            archive => archive,
        };
        Self {
            file: format!("{archive}!{name}"),
            path: String::new(),
        }
    }

    /// A path in this document.
    pub(super) fn path(&self, path: &str) -> Self {
        let path = match (self.path.as_str(), path) {
            ("", path) => path.to_owned(),
            (whole, "") => whole.to_owned(),
            (above, path) if path.starts_with('[') => format!("{above}{path}"),
            (above, path) => format!("{above}.{path}"),
        };
        Self {
            file: self.file.clone(),
            path,
        }
    }

    /// The place itself.
    pub(super) fn text(&self) -> String {
        match (self.file.as_str(), self.path.as_str()) {
            (file, "") => file.to_owned(),
            ("", path) => path.to_owned(),
            (file, path) => format!("{file} {path}"),
        }
    }

    /// A line in it.
    pub(super) fn line(&self, line: u64) -> String {
        self.with("line", line)
    }

    /// A byte in it, from 0.
    pub(super) fn byte(&self, byte: u64) -> String {
        self.with("byte", byte)
    }

    fn with(&self, what: &str, number: u64) -> String {
        match self.text().as_str() {
            "" => format!("{what} {number}"),
            text => format!("{text} {what} {number}"),
        }
    }
}

/// A place as it is shown: without control characters, of bounded length, and without secrets. Agents choose names of
/// members and fields, and one of them can be the secret itself.
pub(super) fn shown(detectors: &Detectors, place: &str, value: &[u8]) -> String {
    let mut text = place.to_owned();
    if let Ok(value) = str::from_utf8(value)
        && !value.is_empty()
    {
        text = text.replace(value, "[SECRET]");
    }
    let mut secrets = Vec::new();
    detectors.scan(text.as_bytes(), &mut |hit| {
        secrets.push(String::from_utf8_lossy(hit.value).into_owned());
    });
    for secret in secrets {
        text = text.replace(&secret, "[SECRET]");
    }
    let plain = text.chars().map(|c| if c.is_control() { '?' } else { c });
    let mut short: String = plain.clone().take(LONGEST).collect();
    if plain.count() > LONGEST {
        short.push('…');
    }
    short
}
