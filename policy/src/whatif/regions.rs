//! Cells, put into words: the globs that a group of names lies under, and those it does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

use super::cells::{Cell, Mark};
use crate::call::Scope;

/// Some of a method's resources, by globs of the policies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Region {
    /// All of these match; none stand for every resource.
    pub on: Vec<String>,
    /// None of these match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Whether it is about children of these, whose own names are not known when the call is decided.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub below: bool,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.on.as_slice() {
            [] => f.write_str("every resource")?,
            on => f.write_str(&on.join(" and "))?,
        }
        if !self.except.is_empty() {
            write!(f, " except {}", self.except.join(", "))?;
        }
        if self.below {
            f.write_str(" (a child without a name)")?;
        }
        Ok(())
    }
}

type Set = BTreeSet<usize>;

/// What can be named: a glob, or everything.
struct Named<'g> {
    text: Option<&'g str>,
    cells: Set,
}

/// Regions that hold the group's cells of a shape, and no other of its closed cells. Names with a segment that stands
/// for more than its text are told one by one, where no glob speaks of them anyway.
pub(super) fn regions(cells: &[Cell], group: &Set, globs: &[&str], scope: Scope) -> Vec<Region> {
    let below = scope == Scope::Below;
    let closed: Set = (0..cells.len()).filter(|at| !cells[*at].open).collect();
    let wanted: Set = group.intersection(&closed).copied().collect();
    let named = named(cells, &closed, globs);
    let mut regions = Vec::new();
    let mut left = wanted.clone();
    while let Some(first) = left.first().copied() {
        let best = named
            .iter()
            .filter(|n| n.cells.intersection(&left).next().is_some())
            .filter_map(|n| {
                let except = cut_off(&named, &n.cells, &wanted)?;
                Some((n, except))
            })
            .min_by_key(|(n, except)| {
                (
                    except.len(),
                    std::cmp::Reverse(n.cells.intersection(&left).count()),
                )
            });
        match best {
            Some((n, except)) => {
                left.retain(|at| !n.cells.contains(at));
                regions.push(Region {
                    on: n.text.iter().map(|t| (*t).to_owned()).collect(),
                    except,
                    below,
                });
            }
            None => {
                left.remove(&first);
                regions.push(Region {
                    below,
                    ..alone(&named, first, &closed)
                });
            }
        }
    }
    let open = group.iter().filter_map(|at| cells.get(*at).filter(|c| c.open));
    for cell in open {
        let spoken_of = |region: &Region| {
            region.on.iter().all(|on| {
                let at = globs.iter().position(|g| g == on);
                at.and_then(|at| cell.marks.get(at)).is_some_and(|m| m.may)
            })
        };
        if !regions.iter().any(spoken_of) {
            regions.push(Region {
                on: vec![cell.name.clone()],
                except: Vec::new(),
                below,
            });
        }
    }
    regions.sort();
    regions.dedup();
    regions
}

/// Everything, then each glob by what it surely matches, and by what it may match where that is more.
fn named<'g>(cells: &[Cell], closed: &Set, globs: &[&'g str]) -> Vec<Named<'g>> {
    let mut named = vec![Named {
        text: None,
        cells: closed.clone(),
    }];
    let which = |at: usize, test: fn(&Mark) -> bool| -> Set {
        let tested = |cell: &usize| cells[*cell].marks.get(at).is_some_and(test);
        closed.iter().copied().filter(tested).collect()
    };
    for (at, text) in globs.iter().enumerate() {
        let (sure, may) = (which(at, |m| m.sure), which(at, |m| m.may));
        let more = may != sure;
        for cells in [Some(sure), more.then_some(may)].into_iter().flatten() {
            if !cells.is_empty() {
                named.push(Named {
                    text: Some(*text),
                    cells,
                });
            }
        }
    }
    named
}

/// The fewest globs found that cut off of `all` what is not wanted, and nothing that is; `None` where none do.
fn cut_off(named: &[Named<'_>], all: &Set, wanted: &Set) -> Option<Vec<String>> {
    let mut extra: Set = all.difference(wanted).copied().collect();
    let mut except = BTreeMap::new();
    while !extra.is_empty() {
        let harmless = |n: &&Named<'_>| {
            n.text.is_some() && !n.cells.iter().any(|at| all.contains(at) && wanted.contains(at))
        };
        let best = named
            .iter()
            .filter(harmless)
            .max_by_key(|n| n.cells.intersection(&extra).count())?;
        let before = extra.len();
        extra.retain(|at| !best.cells.contains(at));
        if extra.len() == before {
            return None;
        }
        except.extend(best.text.map(|text| (text, ())));
    }
    Some(except.into_keys().map(str::to_owned).collect())
}

/// One cell, by all globs that it takes.
fn alone(named: &[Named<'_>], cell: usize, closed: &Set) -> Region {
    let inside = named
        .iter()
        .filter(|n| n.cells.contains(&cell) && n.text.is_some());
    let outside = named.iter().filter(|n| !n.cells.contains(&cell));
    let mut left = closed.clone();
    let mut take = |n: &&Named<'_>, keep: bool| {
        let before = left.len();
        left.retain(|at| n.cells.contains(at) == keep);
        left.len() < before
    };
    let text = |n: &Named<'_>| n.text.map(str::to_owned);
    let on: BTreeSet<String> = inside.filter(|n| take(n, true)).filter_map(text).collect();
    let except: BTreeSet<String> = outside.filter(|n| take(n, false)).filter_map(text).collect();
    Region {
        on: on.into_iter().collect(),
        except: except.into_iter().collect(),
        below: false,
    }
}
