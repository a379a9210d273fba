//! The comparison of two policy sets, over every agent, method and resource that their rules can tell apart.

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::{
    agents::{classes, selecting},
    assume::{Answer, Difference},
    cells::marks,
    explore::{Explored, Explorer},
    methods::Methods,
    regions::Region,
    settings::{self, Setting},
};
use crate::{call::Scope, caller::Caller, set::PolicySet};

/// What is different, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// Calls that are decided otherwise.
    pub changes: Vec<Change>,
    /// What policies say otherwise besides rules.
    pub settings: Vec<Setting>,
    /// What could not be looked at, and why; nothing, as a rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unexplored: Vec<String>,
}

impl Diff {
    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.settings.is_empty() && self.unexplored.is_empty()
    }
}

/// Calls that are decided in another way, all in the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Whose calls.
    pub agents: Vec<String>,
    /// What the old side does.
    pub from: Answer,
    /// What the new side does.
    pub to: Answer,
    /// Under which conditions that is so; always, where there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The globs of the deciding rules that the methods are of.
    pub method_globs: Vec<String>,
    /// The methods.
    pub methods: Vec<&'static str>,
    /// The resources.
    pub resources: Vec<Region>,
    /// One of the calls.
    pub example: Example,
}

/// A call, as an example.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Example {
    /// The method.
    pub method: &'static str,
    /// Name of its resource; empty where it names none.
    pub resource: String,
    /// Whether it is about something below that resource, whose name is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub below: bool,
}

/// Compares two sets.
pub fn diff(methods: &Methods, old: &PolicySet, new: &PolicySet) -> Diff {
    Comparison::new(methods, old, new).diff
}

/// A comparison, of which single calls can be asked.
#[derive(Debug)]
pub struct Comparison<'a> {
    old: &'a PolicySet,
    new: &'a PolicySet,
    diff: Diff,
    agents: FxHashMap<(Vec<usize>, Vec<usize>), Explored<'a>>,
}

/// What the comparison says of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Both sides do the same, whatever conditions come to.
    Same,
    /// They differ: what each does, and when.
    Changed(Vec<Difference>),
    /// The call was not looked at.
    Unexplored,
}

impl<'a> Comparison<'a> {
    /// Compares two sets.
    pub fn new(methods: &Methods, old: &'a PolicySet, new: &'a PolicySet) -> Self {
        let mut explorer = Explorer::new(methods);
        let mut agents = FxHashMap::default();
        for class in classes(old, new) {
            let explored = explorer.explore(&class, old, new);
            agents.insert((class.old, class.new), explored);
        }
        let (changes, unexplored) = explorer.finish();
        let diff = Diff {
            changes,
            settings: settings::differences(old, new),
            unexplored,
        };
        Self {
            old,
            new,
            diff,
            agents,
        }
    }

    /// What is different.
    pub fn diff(&self) -> &Diff {
        &self.diff
    }

    /// What the class of a caller is called in [`Change::agents`]; `None` where no policy selects him.
    pub fn class_of(&self, caller: &Caller) -> Option<&[String]> {
        let explored = self.agents.get(&selecting(self.old, self.new, caller))?;
        Some(&explored.names)
    }

    /// What the comparison says of one call on one resource; `None` for a method that names none.
    pub fn of(&self, caller: &Caller, method: &str, resource: Option<(&str, Scope)>) -> Found {
        let (name, scope) = resource.unwrap_or(("", Scope::Exact));
        let selected = selecting(self.old, self.new, caller);
        if selected.0.is_empty() && selected.1.is_empty() {
            return Found::Same;
        }
        let Some(explored) = self.agents.get(&selected) else {
            return Found::Unexplored;
        };
        let Some(group) = explored.groups.get(method) else {
            return Found::Same;
        };
        let marks = marks(group.globs.iter().copied(), name, scope);
        match group.found.get(&(scope, marks)) {
            Some(found) if found.is_empty() => Found::Same,
            Some(found) => Found::Changed(found.to_vec()),
            None => Found::Unexplored,
        }
    }
}
