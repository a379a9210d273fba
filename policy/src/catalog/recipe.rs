//! Recipes: how a template's segments make the name of a resource.
//!
//! `cargo xtask catalog` works them out from ids, templates and parameters; here they are read and followed.
//! A recipe is a list of fields with commas between, a method with two resources has two recipes with a
//! semicolon between, and `-` is a method that names none. Positions count the template's segments from 0;
//! ranges leave their end out.
//!
//! ```text
//! n1-7     the name is segments 1 to 6         n2-4.7-9  and then 7 and 8
//! kWORD    the collection                      i6, i5-7  the id
//! p2 l4    project, location                   e5        a service account's address, which tells the project
//! v        project and location, where not told, are looked for in the name (`{+name}` of any shape)
//! mHEX     bits of the segments that stem from a multi-segment variable: their %2F stays
//! qNAME    query parameter with the id of what is created        j  the collection stands between name and id
//! b        the scope is Below                  P         the query's `project` is the name
//! s        Cloud Storage: b is projects/_/buckets, o is objects
//! r        Cloud Run's namespaces/P are projects/P/locations/LOCATION of the host
//! ```

mod shape;

use smallvec::SmallVec;

pub use shape::{NamePart, NameShape};

use super::{
    Unlisted, email,
    names::{decodes_again, is_ambiguous, loosely, snake_case},
    trie::{Element, Trie},
};
use crate::{
    call::{Resource, Scope},
    canonical::{Target, decode_segment},
};

/// How names are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
enum Style {
    #[default]
    Plain,
    Storage,
    Run,
}

/// A range of template segments.
type Range = (u8, u8);

/// One resource's recipe.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Recipe {
    name: SmallVec<[Range; 1]>,
    kind: &'static str,
    id: Option<Range>,
    project: Option<u8>,
    location: Option<u8>,
    email: Option<u8>,
    keep_slash: u32,
    pub(super) query_id: Option<&'static str>,
    kind_before_id: bool,
    below: bool,
    query_project: bool,
    pairs_in_name: bool,
    style: Style,
}

/// Reads the recipes of one method; `None` where the text is no recipe.
pub(super) fn parse(text: &'static str) -> Option<SmallVec<[Recipe; 1]>> {
    if text == "-" {
        return Some(SmallVec::new());
    }
    text.split(';').map(Recipe::parse).collect()
}

impl Recipe {
    /// The collection that the resource is of; empty where it is of none.
    pub(super) fn collection(&self) -> &'static str {
        self.kind
    }

    fn parse(text: &'static str) -> Option<Self> {
        let mut recipe = Self::default();
        for field in text.split(',') {
            let (letter, value) = (field.get(..1)?, field.get(1..)?);
            match letter {
                "n" => recipe.name = value.split('.').map(range).collect::<Option<_>>()?,
                "k" => recipe.kind = value,
                "i" => recipe.id = Some(range(value)?),
                "p" => recipe.project = Some(value.parse().ok()?),
                "l" => recipe.location = Some(value.parse().ok()?),
                "e" => recipe.email = Some(value.parse().ok()?),
                "m" => recipe.keep_slash = u32::from_str_radix(value, 16).ok()?,
                "q" => recipe.query_id = Some(value),
                "j" => recipe.kind_before_id = true,
                "b" => recipe.below = true,
                "P" => recipe.query_project = true,
                "v" => recipe.pairs_in_name = true,
                "s" => recipe.style = Style::Storage,
                "r" => recipe.style = Style::Run,
                _ => return None,
            }
        }
        Some(recipe)
    }
}

fn range(text: &str) -> Option<Range> {
    match text.split_once('-') {
        Some((start, end)) => Some((start.parse().ok()?, end.parse().ok()?)),
        None => {
            let start: u8 = text.parse().ok()?;
            Some((start, start.checked_add(1)?))
        }
    }
}

/// A path that fits a template.
pub(super) struct Match<'a> {
    pub(super) target: &'a Target,
    pub(super) trie: &'a Trie,
    pub(super) elements: &'a [Element],
    /// Path segments before the template's first, such as `upload`.
    pub(super) skipped: usize,
    /// Segments that `**` took.
    pub(super) rest: usize,
    /// The method, for messages.
    pub(super) method: &'static str,
    /// The location that the host names.
    pub(super) host_location: Option<&'a str>,
}

impl Match<'_> {
    /// Makes a resource as the recipe says.
    pub(super) fn resource(&self, recipe: &Recipe) -> Result<Resource, Unlisted> {
        let mut project = match recipe.project {
            Some(at) => Some(self.scope_segment(at, recipe)?),
            None => None,
        };
        let mut location = match recipe.location {
            Some(at) => Some(self.scope_segment(at, recipe)?),
            None => None,
        };
        if let (Some(at), Some(project)) = (recipe.email, project.as_mut())
            && let Some(owner) = email::project_of(&self.variable(at, recipe)?)
        {
            // Whatever stands before it, the address alone tells which service account is meant.
            *project = owner;
        }
        let mut name = String::with_capacity(self.target.path().len() + 16);
        for (start, end) in &recipe.name {
            for at in *start..*end {
                self.push(&mut name, at, recipe, project.as_deref())?;
            }
        }
        if recipe.style == Style::Run {
            location = location.or_else(|| Some(self.host_location.unwrap_or("-").to_owned()));
        }
        let mut id = match recipe.id {
            Some((start, end)) => Some(self.joined(start, end, recipe)?),
            None => None,
        };
        if recipe.query_project {
            project = self.query("project")?.map(|p| self.plain(p)).transpose()?;
            push_part(&mut name, "projects");
            push_part(&mut name, project.as_deref().unwrap_or("_"));
        }
        let mut below = recipe.below;
        if let Some(parameter) = recipe.query_id
            && let Some(given) = self.query(parameter)?
        {
            let given = if recipe.style == Style::Storage {
                given
            } else {
                self.plain(given)?
            };
            if recipe.kind_before_id {
                push_part(&mut name, recipe.kind);
            }
            push_part(&mut name, &given);
            id = Some(given);
            below = false;
        }
        if name.is_empty() {
            // A collection below no parent, such as `projects`, stands for itself.
            name.push_str(recipe.kind);
        }
        if project.is_none() && recipe.pairs_in_name {
            (project, location) = pairs_in(&name, location);
        }
        if is_ambiguous(self.method, &name) {
            return Err(Unlisted::UnsafeName { method: self.method });
        }
        Ok(Resource {
            name,
            project,
            location,
            kind: recipe.kind,
            id,
            scope: if below { Scope::Below } else { Scope::Exact },
        })
    }

    /// Adds a template segment to a name.
    fn push(
        &self,
        name: &mut String,
        at: u8,
        recipe: &Recipe,
        project: Option<&str>,
    ) -> Result<(), Unlisted> {
        match self.element(at) {
            Some(Element::Literal(symbol)) => {
                let literal = self.trie.text(symbol);
                let literal = literal.split_once(':').map_or(literal, |(l, _)| l);
                match (recipe.style, literal) {
                    (Style::Storage, "b") => push_part(name, "projects/_/buckets"),
                    (Style::Storage, "o") => push_part(name, "objects"),
                    (Style::Run, "namespaces") => push_part(name, "projects"),
                    _ => push_part(name, literal),
                }
            }
            Some(Element::Rest | Element::RestVerb(_)) => push_part(name, &self.joined(at, at + 1, recipe)?),
            Some(Element::Variable | Element::VariableVerb(_)) => {
                match project.filter(|_| recipe.project == Some(at)) {
                    Some(project) => push_part(name, project),
                    None => push_part(name, &self.variable(at, recipe)?),
                }
                if recipe.style == Style::Run && recipe.project == Some(at) {
                    push_part(name, "locations");
                    push_part(name, self.host_location.unwrap_or("-"));
                }
            }
            None => {}
        }
        Ok(())
    }

    fn joined(&self, start: u8, end: u8, recipe: &Recipe) -> Result<String, Unlisted> {
        let mut joined = String::new();
        for at in start..end {
            let (from, to) = self.span(at);
            for segment in from..to {
                push_part(&mut joined, &self.decoded(segment, at, recipe)?);
            }
        }
        Ok(joined)
    }

    fn variable(&self, at: u8, recipe: &Recipe) -> Result<std::borrow::Cow<'_, str>, Unlisted> {
        self.decoded(self.span(at).0, at, recipe)
    }

    /// A project, location or bucket: a name that other names stand below, so no slash may hide in it.
    fn scope_segment(&self, at: u8, recipe: &Recipe) -> Result<String, Unlisted> {
        let raw = self.target.segment(self.span(at).0);
        if holds_slash(raw) {
            return Err(Unlisted::UnsafeName { method: self.method });
        }
        Ok(self.variable(at, recipe)?.into_owned())
    }

    fn decoded(
        &self,
        segment: usize,
        at: u8,
        recipe: &Recipe,
    ) -> Result<std::borrow::Cow<'_, str>, Unlisted> {
        let mut raw = self.target.segment(segment);
        let opaque = recipe.style == Style::Storage && self.follows(at, &["o", "folders", "managedFolders"]);
        let bucket = recipe.style == Style::Storage && self.follows(at, &["b"]);
        if (self.target.segment_hides_dots(segment) && !opaque) || (bucket && holds_slash(raw)) {
            return Err(Unlisted::UnsafeName { method: self.method });
        }
        if segment + 1 == self.span(at).1 {
            raw = self.without_verb(at, raw);
        }
        Ok(decode_segment(
            raw,
            recipe.keep_slash >> u32::from(at).min(31) & 1 == 1,
        ))
    }

    /// A segment without the verb that the template has behind its variable.
    fn without_verb<'r>(&self, at: u8, raw: &'r str) -> &'r str {
        match self.element(at) {
            Some(Element::VariableVerb(_) | Element::RestVerb(_)) => {
                let cut = raw.rfind(':').into_iter().chain(raw.rfind("%3A")).max();
                &raw[..cut.unwrap_or(raw.len())]
            }
            _ => raw,
        }
    }

    /// The variables behind a literal, each with that literal.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'static str, std::borrow::Cow<'_, str>)> {
        (1..)
            .zip(self.elements.windows(2))
            .filter_map(|(at, pair)| match pair {
                [
                    Element::Literal(symbol),
                    Element::Variable | Element::VariableVerb(_),
                ] => {
                    let raw = self.target.segment(self.span(at).0);
                    let name = decode_segment(self.without_verb(at, raw), false);
                    Some((self.trie.text(*symbol), name))
                }
                _ => None,
            })
    }

    /// Whether the segment before is one of these literals.
    fn follows(&self, at: u8, literals: &[&str]) -> bool {
        match at.checked_sub(1).and_then(|before| self.element(before)) {
            Some(Element::Literal(symbol)) => literals.contains(&self.trie.text(symbol)),
            _ => false,
        }
    }

    fn element(&self, at: u8) -> Option<Element> {
        self.elements.get(usize::from(at)).copied()
    }

    /// The path segments that a template segment takes.
    fn span(&self, at: u8) -> (usize, usize) {
        let at = usize::from(at);
        let start = self.skipped + at;
        match self.elements.iter().position(is_rest) {
            Some(run) if at == run => (start, start + self.rest),
            Some(run) if at > run => (start + self.rest - 1, start + self.rest),
            _ => (start, start + 1),
        }
    }

    /// An id from the query, which must be one part of a name.
    fn plain(&self, id: String) -> Result<String, Unlisted> {
        match id.contains('/') || id == "." || id == ".." {
            true => Err(Unlisted::UnsafeName { method: self.method }),
            false => Ok(id),
        }
    }

    /// A query parameter, by its name in discovery or, as Google takes both, in snake case. Another spelling that a
    /// lenient reader could take for it is refused, and so is a value that is encoded once more.
    fn query(&self, parameter: &'static str) -> Result<Option<String>, Unlisted> {
        let ambiguous = Unlisted::AmbiguousParameter { parameter };
        let snake = snake_case(parameter);
        let loose = loosely(parameter);
        let mut found: Option<std::borrow::Cow<'_, str>> = None;
        for (name, value) in self.target.query_pairs() {
            if name != parameter && name != snake {
                if loosely(&name) == loose {
                    return Err(ambiguous);
                }
                continue;
            }
            if found.as_ref().is_some_and(|other| *other != value) {
                return Err(ambiguous);
            }
            found = Some(value);
        }
        match found {
            Some(value) if value.is_empty() => Ok(None),
            Some(value) if decodes_again(&value) => Err(Unlisted::UnsafeName { method: self.method }),
            Some(value) => Ok(Some(value.into_owned())),
            None => Ok(None),
        }
    }
}

/// Whether a slash, or what some take for one, is encoded in a canonical segment.
pub(super) fn holds_slash(raw: &str) -> bool {
    raw.contains("%2F") || raw.contains("%5C")
}

fn is_rest(element: &Element) -> bool {
    matches!(element, Element::Rest | Element::RestVerb(_))
}

/// Adds a part; an empty run of segments is none.
fn push_part(name: &mut String, part: &str) {
    if part.is_empty() {
        return;
    }
    if !name.is_empty() {
        name.push('/');
    }
    name.push_str(part);
}

/// Project and location by their collections, for names that came as a whole (`operations/projects/p/...`).
pub(crate) fn pairs_in(name: &str, mut location: Option<String>) -> (Option<String>, Option<String>) {
    let mut project = None;
    let mut parts = name.split('/');
    while let Some(part) = parts.next() {
        let slot = match part {
            "projects" => &mut project,
            "locations" | "regions" | "zones" => &mut location,
            _ => continue,
        };
        if slot.is_none() {
            *slot = parts.next().map(str::to_owned);
        }
    }
    (project, location)
}
