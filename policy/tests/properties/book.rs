//! The rules of combination, said in the plainest way.

use turnpike_policy::{
    PolicyDef,
    call::{Call, Scope},
    definition::{Effect, Mode},
    glob::ResourceGlob,
};

use crate::making::policy;

/// What rules without conditions come down to.
pub(crate) fn by_the_book(policies: &[PolicyDef], agent: &str, call: &Call) -> Effect {
    let matching = policies
        .iter()
        .filter(|p| p.mode == Mode::Enforce && p.agents == policy("agents", "", agent, vec![]).agents)
        .flat_map(|p| &p.rules)
        .filter(|r| r.methods.iter().any(|m| m.matches(call.method)))
        .filter(|r| {
            let (name, scope) = (&call.resources[0].name, call.resources[0].scope);
            let is_under = |g: &ResourceGlob| names_resource(g.as_str(), name, scope, r.effect);
            r.resources.is_empty() || r.resources.iter().any(is_under)
        })
        .map(|r| r.effect);
    matching.max().unwrap_or(Effect::Deny)
}

/// Whether a rule with such a glob is about a resource. Of names that stand for many, a rule that allows has
/// to cover all and one that restricts has to cover any.
fn names_resource(glob: &str, name: &str, scope: Scope, effect: Effect) -> bool {
    let glob: Vec<_> = glob.split('/').collect();
    let mut name: Vec<_> = name.split('/').collect();
    let all = effect == Effect::Allow;
    match scope {
        Scope::Exact => segments_fit(&glob, "", &name, all),
        Scope::Below if all => glob.last() == Some(&"**") && segments_fit(&glob, "", &name, all),
        // Below it are names with any further segments, and no glob here has more than these.
        Scope::Below => (0..8).any(|_| {
            let fits = segments_fit(&glob, "", &name, all);
            name.push("-");
            fits
        }),
    }
}

fn segments_fit(glob: &[&str], before: &str, name: &[&str], all: bool) -> bool {
    match (glob, name) {
        ([], []) => true,
        (["**", rest @ ..], _) => {
            segments_fit(rest, before, name, all)
                || name
                    .split_first()
                    .is_some_and(|(first, others)| segments_fit(glob, first, others, all))
        }
        ([pattern, rest @ ..], [segment, others @ ..]) => {
            let many = *segment == "-" || (before == "projects" && segment.parse::<u64>().is_ok());
            let fits = match pattern.split_once('*') {
                _ if many && !all => true,
                None => pattern == segment,
                Some(("", "")) => true,
                Some(_) if many => false,
                Some((start, end)) => segment.strip_prefix(start).is_some_and(|s| s.ends_with(end)),
            };
            fits && segments_fit(rest, segment, others, all)
        }
        _ => false,
    }
}
