//! The least policy for the calls of a trail: what was allowed is allowed and what was held is held, and little else.
//!
//! - [`usage`]: the trail, counted by agent, method and resource;
//! - [`patterns`]: names of one method, put into globs where there are enough of them;
//! - [`rules`]: methods with the same resources, put into rules;
//! - [`yaml`]: rules as a document, with comments that count the calls behind each.
//!
//! A glob stands only for names of one collection in one project or bucket of which three were seen, and for none
//! that was refused, or for the children of one name, which creates do not tell. What was let pass at times and at
//! others refused by a policy wants an approval: conditions are not on a trail, and would be lost. Methods that destroy, that hand out credentials or that are about who may do what are named one
//! by one, on the very resources, and want an approval.

mod patterns;
mod rules;
mod usage;
mod yaml;

use super::{cells::Cutter, methods::Methods, recorded::Recorded};

/// A policy that is suggested for one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// Who it is for.
    pub agent: String,
    /// The policy, as YAML with comments; several documents where one would be too large.
    pub yaml: String,
}

/// Suggests a policy for each agent, in the order of their names. `wanted` tells which agents to look at.
pub fn suggest(methods: &Methods, calls: &[Recorded], wanted: impl Fn(&str) -> bool) -> Vec<Suggestion> {
    let mut cutter = Cutter::default();
    usage::by_agent(calls)
        .into_iter()
        .filter(|usage| wanted(&usage.agent.name()))
        .map(|usage| {
            let rules = rules::rules(&usage, methods, &mut cutter);
            Suggestion {
                agent: usage.agent.name(),
                yaml: yaml::document(&usage, &rules),
            }
        })
        .collect()
}
