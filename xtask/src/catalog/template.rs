//! Templates: paths with every variable spelled out to segments.
//!
//! `v1/{+name}:cancel` with the pattern `^projects/[^/]+/operations/.*$` is
//! `v1/projects/*/operations/**:cancel`. Patterns come before `flatPath`, because `flatPath` hides where a
//! variable spans several segments; it serves where a pattern is not a list of segments.

use anyhow::{Context as _, bail, ensure};

use super::document::{Document, Method};

/// A segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) text: Text,
    /// The variable of the path that it stems from, and whether this is a multi-segment one (`{+name}`).
    pub(super) variable: Option<(String, bool)>,
    /// `:verb` behind it.
    pub(super) verb: Option<String>,
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    Literal(String),
    Any,
    Rest,
}

impl Segment {
    /// The literal, where it is one.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.text {
            Text::Literal(text) => Some(text),
            _ => None,
        }
    }
}

/// A method's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) segments: Vec<Segment>,
    /// Segments at the start that come from the document's `servicePath`.
    pub(super) service_segments: usize,
}

impl Template {
    /// The template of a method.
    pub(super) fn of(document: &Document, method: &Method) -> anyhow::Result<Self> {
        let mut segments = Vec::new();
        for literal in document.service_path.split('/').filter(|s| !s.is_empty()) {
            segments.push(Segment {
                text: Text::Literal(literal.to_owned()),
                variable: None,
                verb: None,
            });
        }
        let service_segments = segments.len();
        let body = match expand(method, &method.path) {
            Some(body) => body,
            None => {
                let flat = method
                    .flat_path
                    .as_deref()
                    .with_context(|| format!("{}: no flatPath", method.id))?;
                let body = expand(method, flat).with_context(|| format!("{}: {flat}", method.id))?;
                // Whatever stems from a `{+name}` of the path keeps its encoded slashes.
                body.into_iter().map(|s| mark_multi(s, method)).collect()
            }
        };
        segments.extend(body);
        ensure!(segments.len() < 32, "{}: too many segments", method.id);
        let rests = segments.iter().filter(|s| s.text == Text::Rest).count();
        if rests > 1 {
            bail!("{}: two variables of many segments", method.id);
        }
        Ok(Self {
            segments,
            service_segments,
        })
    }

    /// The template as the catalogue writes it.
    pub(super) fn text(&self) -> String {
        let segments = self.segments.iter().map(|s| {
            let text = match &s.text {
                Text::Literal(text) => text.as_str(),
                Text::Any => "*",
                Text::Rest => "**",
            };
            match &s.verb {
                Some(verb) => format!("{text}:{verb}"),
                None => text.to_owned(),
            }
        });
        segments.collect::<Vec<_>>().join("/")
    }
}

/// Names in `flatPath` are derived (`{reservationsId}`): those that are no parameters stem from a multi-segment
/// variable.
fn mark_multi(mut segment: Segment, method: &Method) -> Segment {
    if let Some((name, multi)) = &mut segment.variable {
        *multi = !method.parameters.contains_key(name);
    }
    segment
}

/// `None` where a pattern is no list of segments.
fn expand(method: &Method, path: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    for part in path.split('/') {
        let (body, verb) = match (part.strip_prefix('{'), part.rsplit_once(':')) {
            // `{name}:verb`
            (Some(_), Some((body, verb))) if body.ends_with('}') => (body, Some(verb.to_owned())),
            (Some(_), _) => (part, None),
            (None, Some((body, verb))) => (body, Some(verb.to_owned())),
            (None, None) => (part, None),
        };
        let Some(variable) = body.strip_prefix('{').and_then(|b| b.strip_suffix('}')) else {
            if body.contains(['{', '}', '*']) || body.is_empty() {
                return None;
            }
            segments.push(Segment {
                text: Text::Literal(body.to_owned()),
                variable: None,
                verb,
            });
            continue;
        };
        let start = segments.len();
        match variable.strip_prefix('+') {
            None => segments.push(Segment {
                text: Text::Any,
                variable: Some((variable.to_owned(), false)),
                verb: None,
            }),
            Some(name) => {
                let pattern = method.parameters.get(name).and_then(|p| p.pattern.as_deref());
                for text in pattern_segments(pattern)? {
                    segments.push(Segment {
                        text,
                        variable: Some((name.to_owned(), true)),
                        verb: None,
                    });
                }
            }
        }
        if segments.len() > start {
            segments.last_mut()?.verb = verb;
        }
    }
    Some(segments)
}

/// The segments of a pattern such as `^projects/[^/]+/operations/.*$`; no pattern is any number of them.
fn pattern_segments(pattern: Option<&str>) -> Option<Vec<Text>> {
    let Some(pattern) = pattern else {
        return Some(vec![Text::Rest]);
    };
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let pattern = pattern.strip_suffix('$').unwrap_or(pattern);
    split_outside(pattern)
        .into_iter()
        .map(|part| match part {
            "[^/]+" => Some(Text::Any),
            ".*" | ".+" => Some(Text::Rest),
            part if is_literal(part) => Some(Text::Literal(part.to_owned())),
            // Classes and groups that hold no slash are one segment with a narrower choice of characters.
            part if !part.contains('/') && (part.starts_with('[') || part.starts_with('(')) => {
                Some(Text::Any)
            }
            _ => None,
        })
        .collect()
}

/// Splits at slashes outside of brackets and parentheses.
fn split_outside(pattern: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut class, mut start) = (0usize, false, 0);
    for (at, c) in pattern.char_indices() {
        match c {
            '[' => class = true,
            ']' => class = false,
            '(' if !class => depth += 1,
            ')' if !class => depth = depth.saturating_sub(1),
            '/' if !class && depth == 0 => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&pattern[start..]);
    parts
}

fn is_literal(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A template from a path and the patterns of its parameters.
    fn template(path: &str, flat: Option<&str>, patterns: &[(&str, &str)]) -> String {
        let parameters: serde_json::Map<_, _> = patterns
            .iter()
            .map(|(name, pattern)| {
                (
                    (*name).to_owned(),
                    serde_json::json!({"location": "path", "pattern": pattern}),
                )
            })
            .collect();
        let method = serde_json::json!({
            "id": "a.b.get", "httpMethod": "GET", "path": path, "flatPath": flat, "parameters": parameters,
        });
        let document = serde_json::json!({
            "name": "a", "version": "v1", "rootUrl": "https://a.googleapis.com/", "servicePath": "",
        });
        let document: Document = serde_json::from_value(document).expect("a document");
        let method: Method = serde_json::from_value(method).expect("a method");
        Template::of(&document, &method).expect("a template").text()
    }

    #[test]
    fn patterns_are_spelled_out() {
        let cases = [
            (
                template("v1/{+name}", None, &[("name", "^projects/[^/]+$")]),
                "v1/projects/*",
            ),
            (
                template("v1/{+name}:run", None, &[("name", "^a/[^/]+/b/.*$")]),
                "v1/a/*/b/**:run",
            ),
            (
                template("{+folder}/x", None, &[("folder", "folders/[0-9]{0,20}")]),
                "folders/*/x",
            ),
            (
                template(
                    "v1/{+p}",
                    None,
                    &[("p", "r/([a-z](?:[-a-z]{0,9})?|[1-9])/s/([0-9])")],
                ),
                "v1/r/*/s/*",
            ),
            // No list of segments: what flatPath says.
            (
                template(
                    "v1/{+p}/x",
                    Some("v1/r/{rId}/x"),
                    &[("p", "[a-z](?:[-a-z/]{0,9})?")],
                ),
                "v1/r/*/x",
            ),
            (template("v1/{+name}", None, &[]), "v1/**"),
            (template("v1/{name}/c:do", None, &[]), "v1/*/c:do"),
            (
                template("v1/{+name}/$export", None, &[("name", "^p/[^/]+$")]),
                "v1/p/*/$export",
            ),
        ];
        for (actual, expected) in cases {
            assert_eq!(actual, expected);
        }
    }
}
