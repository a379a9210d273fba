//! Bindings: how fields of a message make a request target, or a name; the notation is described in the module
//! above.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use smallvec::SmallVec;

use super::wire::{Field, MOST_FIELDS, Value, Values};
use crate::call::Traits;

/// Everything but RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The bindings of one method, and the fields that they read.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) fields: SmallVec<[Field; 4]>,
    /// Fields that stand in a path or a name, as bits; the others are parameters that may be missing.
    pub(super) naming: u64,
    pub(super) bindings: SmallVec<[Binding; 2]>,
}

/// One way to read a message.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) kind: Kind,
    parts: Vec<Part>,
    query: SmallVec<[(&'static str, Variable); 1]>,
    /// Fields of the path, as bits.
    pub(super) fields: u64,
}

/// What a binding makes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A request target, for the catalogue.
    Rest(&'static str),
    /// The name itself.
    Direct(Direct),
}

/// A call that no REST method stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Direct {
    /// The collection; empty where the name ends in none.
    pub(super) collection: &'static str,
    /// The name is that of the parent: what is listed or made has none.
    pub(super) of_parent: bool,
    /// Something below the name that the message does not name.
    pub(super) below: bool,
    /// The field tells which call it is, but no name.
    pub(super) unnamed: bool,
    pub(super) traits: Traits,
    pub(super) version: &'static str,
    /// The REST method it counts as; otherwise the id is the RPC's own name.
    pub(super) id: Option<&'static str>,
}

#[derive(Debug)]
enum Part {
    Text(&'static str),
    Variable(Variable),
}

#[derive(Debug)]
struct Variable {
    /// The place in the plan's fields.
    field: usize,
    pattern: Vec<Piece>,
}

/// A segment of a pattern, and whether it alone is what the variable stands for.
#[derive(Debug, Clone, Copy)]
struct Piece {
    segment: Segment,
    captured: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    /// `*`
    One,
    /// `**`
    Run,
    /// `@`
    Text,
}

impl Plan {
    /// Reads the bindings of a line; `None` where they are none.
    pub(super) fn parse(text: &'static str) -> Option<Self> {
        let mut plan = Self {
            fields: SmallVec::new(),
            naming: 0,
            bindings: SmallVec::new(),
        };
        for binding in text.split(' ').filter(|b| !b.is_empty()) {
            let binding = plan.binding(binding)?;
            plan.naming |= binding.fields;
            plan.bindings.push(binding);
        }
        (!plan.bindings.is_empty() && plan.fields.len() <= MOST_FIELDS).then_some(plan)
    }

    fn binding(&mut self, text: &'static str) -> Option<Binding> {
        let (kind, template) = match text.split_at_checked(1)? {
            ("N", rest) => direct(rest)?,
            (verb, template) => (Kind::Rest(verb_name(verb)?), template),
        };
        let (path, query) = match template.split_once('?') {
            Some((path, query)) => (path, query),
            None => (template, ""),
        };
        let mut binding = Binding {
            kind,
            parts: Vec::new(),
            query: SmallVec::new(),
            fields: 0,
        };
        let mut left = path;
        while let Some((before, rest)) = left.split_once('{') {
            let (variable, behind) = rest.split_once('}')?;
            if !before.is_empty() {
                binding.parts.push(Part::Text(before));
            }
            let variable = self.variable(variable)?;
            binding.fields |= 1 << variable.field;
            binding.parts.push(Part::Variable(variable));
            left = behind;
        }
        if !left.is_empty() {
            binding.parts.push(Part::Text(left));
        }
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = parameter.split_once('=')?;
            let variable = value.strip_prefix('{')?.strip_suffix('}')?;
            binding.query.push((name, self.variable(variable)?));
        }
        Some(binding)
    }

    fn variable(&mut self, text: &'static str) -> Option<Variable> {
        let (field, pattern) = text.split_once('=').unwrap_or((text, "@"));
        let field = Field::parse(field)?;
        let known = self.fields.iter().position(|f| *f == field);
        let at = known.unwrap_or(self.fields.len());
        if known.is_none() {
            self.fields.push(field);
        }
        let pattern = pattern.split('/').map(Piece::parse).collect::<Option<_>>()?;
        (at < MOST_FIELDS).then_some(Variable { field: at, pattern })
    }
}

impl Binding {
    /// The target's path and query, percent-encoded, or the name as it is. `None` where the message does not
    /// fit.
    pub(super) fn expand(&self, values: &Values<'_>) -> Option<String> {
        let encoded = matches!(self.kind, Kind::Rest(_));
        let mut out = String::with_capacity(96);
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => {
                    let value = given(values, variable)?;
                    variable.push(&value, encoded, &mut out)?;
                }
            }
        }
        let mut separator = '?';
        for (name, variable) in &self.query {
            let Some(value) = given(values, variable) else {
                continue;
            };
            out.push(separator);
            out.push_str(name);
            out.push('=');
            variable.push(&value, encoded, &mut out)?;
            separator = '&';
        }
        Some(out)
    }
}

fn given<'m>(values: &Values<'m>, variable: &Variable) -> Option<std::borrow::Cow<'m, str>> {
    match values.get(variable.field).copied().flatten()? {
        Value::Text(text) => Some(text.into()),
        Value::Number(number) => Some(number.to_string().into()),
    }
}

impl Variable {
    /// Adds what the value stands for; `None` where it does not fit the pattern.
    fn push(&self, value: &str, encoded: bool, out: &mut String) -> Option<()> {
        let whole = !self.pattern.iter().any(|p| p.captured);
        let mut left = Some(value);
        let mut first = true;
        let mut add = |text: &str, slash: bool| {
            if slash {
                out.push('/');
            }
            if encoded {
                out.extend(percent_encode(text.as_bytes(), ESCAPED));
            } else {
                out.push_str(text);
            }
        };
        for (at, piece) in self.pattern.iter().enumerate() {
            let rest = left?;
            let (taken, behind) = match piece.segment {
                Segment::Text => (rest, None),
                Segment::Run => split_run(rest, self.pattern.len() - at - 1)?,
                Segment::Literal(_) | Segment::One => match rest.split_once('/') {
                    Some((segment, behind)) => (segment, Some(behind)),
                    None => (rest, None),
                },
            };
            let fits = match piece.segment {
                Segment::Literal(literal) => taken == literal,
                Segment::Run => taken.split('/').all(|s| !s.is_empty()),
                Segment::One | Segment::Text => !taken.is_empty(),
            };
            if !fits {
                return None;
            }
            if piece.captured {
                add(taken, false);
            } else if whole && piece.segment == Segment::Run {
                for segment in taken.split('/') {
                    add(segment, !first);
                    first = false;
                }
            } else if whole {
                add(taken, !first);
            }
            first = false;
            left = behind;
        }
        left.is_none().then_some(())
    }
}

/// Leaves the last `behind` segments.
fn split_run(text: &str, behind: usize) -> Option<(&str, Option<&str>)> {
    if behind == 0 {
        return Some((text, None));
    }
    let (at, _) = text.rmatch_indices('/').nth(behind - 1)?;
    Some((text.get(..at)?, text.get(at + 1..)))
}

impl Piece {
    fn parse(text: &'static str) -> Option<Self> {
        let (text, captured) = match text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
            Some(inner) => (inner, true),
            None => (text, false),
        };
        let segment = match text {
            "" => return None,
            "*" => Segment::One,
            "**" => Segment::Run,
            "@" => Segment::Text,
            literal => Segment::Literal(literal),
        };
        Some(Self { segment, captured })
    }
}

/// The id and the traits of a binding that stands for no REST request; the id is empty where it is the RPC's own name.
pub(super) fn id_and_traits(text: &'static str) -> Option<(&'static str, Traits)> {
    match direct(text.strip_prefix('N')?)? {
        (Kind::Direct(direct), _) => Some((direct.id.unwrap_or_default(), direct.traits)),
        (Kind::Rest(_), _) => None,
    }
}

fn verb_name(letter: &str) -> Option<&'static str> {
    Some(match letter {
        "G" => "GET",
        "P" => "POST",
        "U" => "PUT",
        "A" => "PATCH",
        "D" => "DELETE",
        _ => return None,
    })
}

/// `:COLLECTION:FLAGS:TRAITS:VERSION:ID:TEMPLATE`
fn direct(text: &'static str) -> Option<(Kind, &'static str)> {
    let mut fields = text.strip_prefix(':')?.splitn(6, ':');
    let (collection, flags) = (fields.next()?, fields.next()?);
    let (traits, version) = (fields.next()?, fields.next()?);
    let (id, template) = (fields.next()?, fields.next()?);
    if !flags.bytes().all(|b| b"pbu".contains(&b)) {
        return None;
    }
    let direct = Direct {
        collection,
        of_parent: flags.contains('p'),
        below: flags.contains('b'),
        unnamed: flags.contains('u'),
        traits: Traits::from_bits(u8::from_str_radix(traits, 16).ok()?)?,
        version,
        id: (!id.is_empty()).then_some(id),
    };
    Some((Kind::Direct(direct), template))
}
