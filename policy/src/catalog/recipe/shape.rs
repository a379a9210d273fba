//! The names that a recipe can make: what is done with one path elsewhere, here for all paths at once.
//!
//! A name whose id holds an encoded slash where none belongs has no shape here; those of objects have.

use smallvec::SmallVec;

use super::{Element, Recipe, Style, Trie};
use crate::call::Scope;

/// A part of the name of a method's resource.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamePart {
    /// This segment.
    Literal(&'static str),
    /// Any segment.
    One,
    /// Any number of segments.
    Run {
        /// Whether none will do.
        may_be_empty: bool,
    },
}

/// What the names of a method's resource look like.
///
/// ```text
/// projects * locations * functions *       Exact
/// projects _ buckets * objects **          Exact
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameShape {
    /// The parts, in order.
    pub parts: Vec<NamePart>,
    /// Whether the name is the resource or only an ancestor of it.
    pub scope: Scope,
}

impl Recipe {
    /// The shapes of the names that the recipe makes for a template: two where the query decides.
    pub(in crate::catalog) fn shapes(&self, trie: &Trie, elements: &[Element]) -> SmallVec<[NameShape; 2]> {
        let mut parts = Vec::new();
        for at in self.name.iter().flat_map(|(start, end)| *start..*end) {
            self.push_shape(&mut parts, trie, elements, at);
        }
        let scope = if self.below { Scope::Below } else { Scope::Exact };
        let mut shapes = SmallVec::new();
        if self.query_project {
            for project in [NamePart::One, NamePart::Literal("_")] {
                let mut parts = parts.clone();
                parts.extend([NamePart::Literal("projects"), project]);
                self.add(parts, scope, &mut shapes);
            }
        } else {
            self.add(parts, scope, &mut shapes);
        }
        shapes
    }

    /// Adds a shape, and the one with the id from the query.
    fn add(&self, parts: Vec<NamePart>, scope: Scope, shapes: &mut SmallVec<[NameShape; 2]>) {
        if self.query_id.is_some() {
            let mut parts = parts.clone();
            if self.kind_before_id {
                parts.push(NamePart::Literal(self.kind));
            }
            parts.push(match self.style {
                Style::Storage => NamePart::Run { may_be_empty: false },
                Style::Plain | Style::Run => NamePart::One,
            });
            shapes.push(NameShape {
                parts,
                scope: Scope::Exact,
            });
        }
        let parts = match parts.as_slice() {
            [] if !self.kind.is_empty() => vec![NamePart::Literal(self.kind)],
            _ => parts,
        };
        shapes.push(NameShape { parts, scope });
    }

    fn push_shape(&self, parts: &mut Vec<NamePart>, trie: &Trie, elements: &[Element], at: u8) {
        let element = |at: u8| elements.get(usize::from(at)).copied();
        let literals = |parts: &mut Vec<NamePart>, text: &'static str| {
            parts.extend(text.split('/').map(NamePart::Literal));
        };
        match element(at) {
            Some(Element::Literal(symbol)) => {
                let text = trie.text(symbol);
                let text = text.split_once(':').map_or(text, |(text, _)| text);
                match (self.style, text) {
                    (Style::Storage, "b") => literals(parts, "projects/_/buckets"),
                    (Style::Storage, "o") => literals(parts, "objects"),
                    (Style::Run, "namespaces") => literals(parts, "projects"),
                    (_, "") => {}
                    _ => literals(parts, text),
                }
            }
            Some(Element::Rest | Element::RestVerb(_)) => parts.push(NamePart::Run {
                may_be_empty: usize::from(at) + 1 < elements.len(),
            }),
            Some(Element::Variable | Element::VariableVerb(_)) => {
                let before = at.checked_sub(1).and_then(element);
                let of_objects = match before {
                    Some(Element::Literal(symbol)) => {
                        matches!(trie.text(symbol), "o" | "folders" | "managedFolders")
                    }
                    _ => false,
                };
                parts.push(match self.style == Style::Storage && of_objects {
                    true => NamePart::Run { may_be_empty: false },
                    false => NamePart::One,
                });
                if self.style == Style::Run && self.project == Some(at) {
                    parts.extend([NamePart::Literal("locations"), NamePart::One]);
                }
            }
            None => {}
        }
    }
}
