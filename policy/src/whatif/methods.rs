//! All methods, grouped by the rules that speak of them, each with the shapes of its resources' names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use rustc_hash::FxHashMap;

use crate::{
    call::Scope,
    catalog::{Catalog, NamePart, NameShape},
    glob::MethodGlob,
};

/// A method.
#[derive(Debug, Clone)]
pub(super) struct OfMethod {
    /// Its id.
    pub(super) id: &'static str,
    /// What the names of its resources look like.
    pub(super) shapes: Arc<[NameShape]>,
}

/// The methods that are looked at, as a rule all of the catalogue. Made once for any number of comparisons.
#[derive(Debug)]
pub struct Methods {
    all: Vec<OfMethod>,
}

impl Methods {
    /// Every method of the catalogue.
    pub fn of(catalog: &Catalog) -> Self {
        Self::some(catalog, |_| true)
    }

    /// Those whose ids are wanted.
    pub fn some(catalog: &Catalog, wanted: impl Fn(&str) -> bool) -> Self {
        let mut shapes: Vec<BTreeSet<NameShape>> = vec![BTreeSet::new(); catalog.ids().len()];
        for (index, of_row) in catalog.name_shapes() {
            let Some(shapes) = shapes.get_mut(index.as_usize()) else {
                continue;
            };
            if of_row.is_empty() {
                shapes.insert(nameless());
            }
            shapes.extend(of_row);
        }
        let all = catalog
            .ids()
            .iter()
            .zip(shapes)
            .filter(|(id, _)| wanted(id))
            .map(|(id, mut shapes)| {
                if shapes.is_empty() {
                    shapes.extend(anything());
                }
                shapes.extend(besides(id));
                OfMethod {
                    id,
                    shapes: shapes.into_iter().collect(),
                }
            })
            .collect();
        Self { all }
    }

    /// What the names of a method's resources look like; none for a method that is not looked at.
    pub(super) fn shapes(&self, id: &str) -> &[NameShape] {
        let found = self.all.binary_search_by(|method| method.id.cmp(id));
        found
            .ok()
            .and_then(|at| self.all.get(at))
            .map_or(&[], |method| &method.shapes)
    }
}

/// Methods by the globs that match them.
#[derive(Debug)]
pub(super) struct Matcher<'m> {
    methods: &'m Methods,
    matched: FxHashMap<Box<str>, Arc<[u32]>>,
}

impl<'m> Matcher<'m> {
    pub(super) fn new(methods: &'m Methods) -> Self {
        Self {
            methods,
            matched: FxHashMap::default(),
        }
    }

    /// The methods that some rule speaks of, by the rules that do. Rules come as their method globs, and go as their
    /// places.
    pub(super) fn grouped<'g>(
        &mut self,
        rules: impl Iterator<Item = &'g [MethodGlob]>,
    ) -> BTreeMap<Vec<u16>, Vec<OfMethod>> {
        let mut by_method: Vec<Vec<u16>> = vec![Vec::new(); self.methods.all.len()];
        for (at, globs) in (0..u16::MAX).zip(rules) {
            for glob in globs {
                for method in self.matched(glob).iter() {
                    if let Some(rules) = by_method.get_mut(*method as usize)
                        && rules.last() != Some(&at)
                    {
                        rules.push(at);
                    }
                }
            }
        }
        let mut groups: BTreeMap<Vec<u16>, Vec<OfMethod>> = BTreeMap::new();
        for (rules, method) in by_method.into_iter().zip(&self.methods.all) {
            if !rules.is_empty() {
                groups.entry(rules).or_default().push(method.clone());
            }
        }
        groups
    }

    fn matched(&mut self, glob: &MethodGlob) -> Arc<[u32]> {
        if let Some(known) = self.matched.get(glob.as_str()) {
            return known.clone();
        }
        let found: Arc<[u32]> = (0..)
            .zip(&self.methods.all)
            .filter(|(_, method)| glob.matches(method.id))
            .map(|(at, _)| at)
            .collect();
        self.matched.insert(glob.as_str().into(), found.clone());
        found
    }
}

/// A method that names no resource acts on the empty name.
fn nameless() -> NameShape {
    NameShape {
        parts: Vec::new(),
        scope: Scope::Exact,
    }
}

/// What has no REST form can have any name.
fn anything() -> [NameShape; 2] {
    [Scope::Exact, Scope::Below].map(|scope| NameShape {
        parts: vec![NamePart::Run { may_be_empty: true }],
        scope,
    })
}

/// Names that other forms of a method have than its REST path: a bucket's own in the XML API.
fn besides(id: &str) -> Option<NameShape> {
    (id == "storage.buckets.insert").then(|| NameShape {
        parts: vec![
            NamePart::Literal("projects"),
            NamePart::Literal("_"),
            NamePart::Literal("buckets"),
            NamePart::One,
        ],
        scope: Scope::Exact,
    })
}
