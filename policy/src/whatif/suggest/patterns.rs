//! Names of one method's resources, put into globs.
//!
//! Names are compared by the shape that they have in the catalogue, so that it is known which of their segments are
//! ids. A `*` takes the place of an id, or `**` that of an object's name, where three names or more are alike in all
//! else; what says whose they are, a project or a bucket, is never taken for an id.

use std::collections::{BTreeMap, BTreeSet};

use super::usage::Named;
use crate::{
    call::Scope,
    catalog::{NamePart, NameShape},
    glob::ResourceGlob,
};

/// So many names at least stand behind a glob.
const ENOUGH: usize = 3;
/// The longest glob that a policy may hold, in characters.
const LONGEST: usize = 1_024;
/// Collections whose ids say whose something is.
const OWNERS: &[&str] = &[
    "accounts",
    "billingAccounts",
    "buckets",
    "customers",
    "folders",
    "organizations",
    "projects",
];

/// A glob, and the names that it stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    /// The glob.
    pub(super) glob: String,
    /// The names, where it was made for several.
    pub(super) names: BTreeSet<String>,
    /// Whether it stands for children of one name, whose own names a create does not tell.
    pub(super) below: bool,
}

/// Globs that match some names and none of those that are kept out, as few as are safe. With `literal`, each name
/// stays as it is.
pub(super) fn patterns(
    names: &[&Named],
    shapes: &[NameShape],
    kept_out: &[&Named],
    literal: bool,
) -> Vec<Pattern> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut parents: BTreeSet<String> = BTreeSet::new();
    let mut groups: BTreeMap<(usize, Vec<Option<&str>>), Vec<Aligned<'_>>> = BTreeMap::new();
    for named in names {
        let aligned = shapes
            .iter()
            .enumerate()
            .filter(|(_, shape)| shape.scope == Scope::Exact && !literal && !named.below)
            .find_map(|(at, shape)| Some((at, align(shape, &named.name)?)));
        match aligned {
            Some((at, aligned)) => groups.entry((at, aligned.fixed())).or_default().push(aligned),
            None => {
                let glob = alone(named);
                if named.below {
                    parents.insert(glob.clone());
                }
                found.insert(glob, BTreeSet::new());
            }
        }
    }
    for group in groups.into_values() {
        match together(&group).filter(|glob| !matches_any(glob, kept_out)) {
            Some(glob) => {
                let names = group.iter().map(|aligned| aligned.name.to_owned());
                found.entry(glob).or_default().extend(names);
            }
            None => found.extend(group.iter().map(|aligned| {
                let glob = exact(aligned.name);
                (glob, BTreeSet::new())
            })),
        }
    }
    // A name of which a wider glob stands already.
    let globs: Vec<String> = found.keys().cloned().collect();
    let covered = |glob: &String| {
        let others = globs.iter().filter(|other| *other != glob && other.contains('*'));
        !glob.contains('*')
            && others
                .filter_map(|other| ResourceGlob::parse(other).ok())
                .any(|other| other.matches(glob))
    };
    found
        .into_iter()
        .filter(|(glob, _)| !covered(glob))
        .map(|(glob, names)| Pattern {
            below: names.is_empty() && parents.contains(&glob),
            glob,
            names,
        })
        .collect()
}

fn matches_any(glob: &str, names: &[&Named]) -> bool {
    let Ok(glob) = ResourceGlob::parse(glob) else {
        return true;
    };
    names
        .iter()
        .any(|named| glob.may_match(&named.name) || (named.below && glob.may_match_below(&named.name)))
}

/// A name beside its shape.
struct Aligned<'n> {
    name: &'n str,
    parts: Vec<Part<'n>>,
}

/// What stands in the place of a part of the shape.
enum Part<'n> {
    /// What makes the resource another one of another owner.
    Fixed(&'n str),
    /// An id.
    Id(&'n str),
    /// A name of several segments.
    Path(&'n str),
}

impl<'n> Aligned<'n> {
    /// What names have to share to be put together.
    fn fixed(&self) -> Vec<Option<&'n str>> {
        let fixed = |part: &Part<'n>| match part {
            Part::Fixed(text) => Some(*text),
            Part::Id(_) | Part::Path(_) => None,
        };
        self.parts.iter().map(fixed).collect()
    }
}

/// Lays a name beside a shape; `None` where it has another one.
fn align<'n>(shape: &NameShape, name: &'n str) -> Option<Aligned<'n>> {
    let mut parts = Vec::with_capacity(shape.parts.len());
    let mut rest = Some(name).filter(|name| !name.is_empty());
    let mut before = "";
    let mut owner_known = false;
    for (at, part) in shape.parts.iter().enumerate() {
        let text = rest?;
        let last = at + 1 == shape.parts.len();
        let (segment, after) = match text.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (text, None),
        };
        match part {
            NamePart::Literal(literal) => {
                if segment != *literal {
                    return None;
                }
                parts.push(Part::Fixed(segment));
                rest = after;
                before = literal;
            }
            NamePart::One => {
                let owns = !owner_known || OWNERS.contains(&before);
                owner_known = true;
                parts.push(match owns {
                    true => Part::Fixed(segment),
                    false => Part::Id(segment),
                });
                rest = after;
                before = "";
            }
            // What follows a name of several segments could be anywhere.
            NamePart::Run { .. } if !last => return None,
            NamePart::Run { .. } => {
                parts.push(match owner_known {
                    true => Part::Path(text),
                    false => Part::Fixed(text),
                });
                rest = None;
            }
        }
    }
    rest.is_none().then_some(Aligned { name, parts })
}

/// The glob for names that are alike but for ids; `None` where there are too few.
fn together(group: &[Aligned<'_>]) -> Option<String> {
    let names: BTreeSet<&str> = group.iter().map(|aligned| aligned.name).collect();
    let first = group.first()?;
    if names.len() < ENOUGH {
        return None;
    }
    let mut segments: Vec<String> = Vec::new();
    for (at, part) in first.parts.iter().enumerate() {
        let texts: BTreeSet<&str> = group
            .iter()
            .filter_map(|aligned| match aligned.parts.get(at)? {
                Part::Fixed(text) | Part::Id(text) | Part::Path(text) => Some(*text),
            })
            .collect();
        match part {
            Part::Path(_) if texts.len() > 1 => {
                segments.extend(common_folders(&texts).into_iter().map(segment));
                segments.push("**".to_owned());
            }
            Part::Fixed(text) | Part::Path(text) => segments.extend(text.split('/').map(segment)),
            Part::Id(text) if texts.len() == 1 => segments.push(segment(text)),
            Part::Id(_) => segments.push("*".to_owned()),
        }
    }
    Some(segments.join("/")).filter(|glob| glob.chars().count() <= LONGEST)
}

/// The folders that all paths begin with.
fn common_folders<'t>(paths: &BTreeSet<&'t str>) -> Vec<&'t str> {
    let folders = |path: &'t str| {
        let segments: Vec<&str> = path.split('/').collect();
        let count = segments.len().saturating_sub(1);
        segments.into_iter().take(count).collect::<Vec<_>>()
    };
    let mut common: Option<Vec<&str>> = None;
    for path in paths {
        let of_path = folders(path);
        common = Some(match common {
            None => of_path,
            Some(common) => {
                let pairs = common.iter().zip(&of_path);
                let same = pairs.take_while(|(a, b)| a == b).count();
                common.into_iter().take(same).collect()
            }
        });
    }
    common.unwrap_or_default()
}

/// The glob of one name, or of all below it.
fn alone(named: &Named) -> String {
    match (named.name.as_str(), named.below) {
        // A method that names no resource acts on the empty name.
        ("", false) => "*".to_owned(),
        ("", true) => "**".to_owned(),
        (name, false) => exact(name),
        (name, true) => {
            let below = format!("{}/**", exact(name));
            match below.chars().count() <= LONGEST {
                true => below,
                false => exact(name),
            }
        }
    }
}

/// A glob for one name: the name, as far as globs can say it.
fn exact(name: &str) -> String {
    let segments: Vec<String> = name.split('/').map(segment).collect();
    let glob = segments.join("/");
    if glob.chars().count() <= LONGEST {
        return glob;
    }
    // Too long for a policy: as many segments as there is room for, and all below them.
    let mut short = String::new();
    for segment in segments {
        if short.chars().count() + segment.chars().count() + "/**".len() + 1 > LONGEST {
            break;
        }
        if !short.is_empty() {
            short.push('/');
        }
        short.push_str(&segment);
    }
    match short.is_empty() {
        true => "**".to_owned(),
        false => short + "/**",
    }
}

/// A segment of a name as a glob says it: what a glob would read otherwise becomes a `*`.
fn segment(text: &str) -> String {
    match text.is_empty() || text.contains('*') || text.chars().any(char::is_control) {
        true => "*".to_owned(),
        false => text.to_owned(),
    }
}
