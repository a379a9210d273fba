//! Method groups: `group:storage.read` stands for the methods that a person would list under that name.
//!
//! A group is a row of a table: globs that it includes and excludes, and traits that its methods must have or
//! must not have. The rows are expanded over the catalogue once, when the first policy names a group; from
//! then on, asking whether a method is in one is a look at a bit. Policies and bundles keep the text `group:NAME`,
//! so a group grows and shrinks with the catalogue of the build that decides.
//!
//! What a group means is said by its sentence, and `docs/method-groups.md` lists its methods; nothing here
//! decides, or knows resources.

mod common;
mod data;
mod platform;
mod row;
mod wide;

use std::sync::OnceLock;

pub use row::{Part, Purpose, Row};

use crate::{
    call::{MethodIndex, Traits},
    catalog::{Catalog, LoadError},
    grpc::GrpcCatalog,
};

/// What the name of a group begins with where rules name methods.
pub const PREFIX: &str = "group:";

/// A group, by its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(u8);

impl GroupId {
    /// What the table says of it.
    pub fn row(self) -> &'static Row {
        ROWS[usize::from(self.0)]
    }
}

/// The most groups that there can be: one bit each.
const MOST: usize = u128::BITS as usize;

static ROWS: [&Row; LENGTH] = {
    let mut rows = [&wide::ROWS[0]; LENGTH];
    let mut filled = 0;
    let mut table = 0;
    while table < TABLES.len() {
        let mut at = 0;
        while at < TABLES[table].len() {
            rows[filled] = &TABLES[table][at];
            filled += 1;
            at += 1;
        }
        table += 1;
    }
    rows
};

const TABLES: [&[Row]; 3] = [wide::ROWS, data::ROWS, platform::ROWS];
const LENGTH: usize = wide::ROWS.len() + data::ROWS.len() + platform::ROWS.len();
const _: () = assert!(LENGTH <= MOST, "more groups than bits");

/// The groups that a method belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Membership(u128);

impl Membership {
    /// Whether the method belongs to a group.
    pub fn has(self, group: GroupId) -> bool {
        self.0 >> group.0 & 1 == 1
    }

    /// The groups, in the order of the table.
    pub fn iter(self) -> impl Iterator<Item = GroupId> {
        ids().filter(move |id| self.has(*id))
    }
}

/// All groups, in the order of the table.
pub fn ids() -> impl Iterator<Item = GroupId> {
    (0..).map(GroupId).take(ROWS.len())
}

/// The group of a name, without its prefix.
pub fn find(name: &str) -> Option<GroupId> {
    ids().find(|id| id.row().name == name)
}

/// The table, expanded over the catalogue.
#[derive(Debug)]
pub struct Groups {
    catalog: &'static Catalog,
    /// The groups of each method, by its index.
    of: Vec<Membership>,
    /// The traits of each method, by its index.
    traits: Vec<Traits>,
}

impl Groups {
    /// The groups over the catalogue of this build. The first call expands them; later ones are free.
    ///
    /// # Errors
    /// As [`Catalog::embedded`].
    pub fn embedded() -> Result<&'static Self, LoadError> {
        static EMBEDDED: OnceLock<Result<Groups, LoadError>> = OnceLock::new();
        EMBEDDED
            .get_or_init(|| Self::expand(Catalog::embedded()?, GrpcCatalog::embedded()?))
            .as_ref()
            .map_err(Clone::clone)
    }

    fn expand(catalog: &'static Catalog, grpc: &GrpcCatalog) -> Result<Self, LoadError> {
        let traits = traits(catalog, grpc);
        let mut of = vec![Membership::default(); traits.len()];
        for id in ids() {
            id.row().expand(catalog.ids(), &traits, |method| {
                if let Some(groups) = of.get_mut(method) {
                    groups.0 |= 1 << id.0;
                }
            })?;
        }
        Ok(Self { catalog, of, traits })
    }

    /// The groups of a method. `index` is that of its call; a call of another catalogue is found by its id.
    pub fn of(&self, method: &str, index: MethodIndex) -> Membership {
        let at = if self.catalog.ids().get(index.as_usize()).copied() == Some(method) {
            Some(index)
        } else {
            self.catalog.index_of(method)
        };
        at.and_then(|at| self.of.get(at.as_usize()))
            .copied()
            .unwrap_or(Membership(0))
    }

    /// The groups of a method, by its id.
    pub fn of_id(&self, method: &str) -> Membership {
        match self.catalog.index_of(method) {
            Some(index) => self.of(method, index),
            None => Membership(0),
        }
    }

    /// The methods of a group, sorted, each with its traits.
    pub fn methods(&self, group: GroupId) -> impl Iterator<Item = (&'static str, Traits)> + '_ {
        let ids = self.catalog.ids().iter().copied();
        ids.zip(&self.of)
            .zip(&self.traits)
            .filter(move |((_, of), _)| of.has(group))
            .map(|((id, _), traits)| (id, *traits))
    }
}

/// What is known of each method, by its index. A method of several versions, or of REST and gRPC, has the traits
/// of all of them.
fn traits(catalog: &Catalog, grpc: &GrpcCatalog) -> Vec<Traits> {
    let mut traits = vec![Traits::NONE; catalog.ids().len()];
    let mut add = |index: MethodIndex, more: Traits| {
        if let Some(traits) = traits.get_mut(index.as_usize()) {
            *traits |= more;
        }
    };
    for method in catalog.methods() {
        add(method.index, method.traits);
    }
    for (id, more) in grpc.own_methods() {
        if let Some(index) = catalog.index_of(&id) {
            add(index, more);
        }
    }
    traits
}

#[cfg(test)]
mod tests;
