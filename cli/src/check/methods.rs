//! Doubts about what rules name: globs that match no method (a rule with one does nothing, which for a Deny rule is
//! a hole), and groups for rules of the other kind.
//!
//! It is a doubt, not a problem: a policy may be written for a newer catalogue than this build's.

use std::collections::BTreeSet;

use turnpike_compiler::similar::nearest;
use turnpike_policy::{
    catalog::Catalog,
    definition::{Effect, RuleDef},
    glob::MethodGlob,
    groups::Purpose,
};

/// Why a glob looks wrong, or `None` where it matches a method.
pub(super) fn doubt(catalog: &Catalog, glob: &MethodGlob) -> Option<String> {
    if glob.group().is_some() || leads_somewhere(catalog, glob) {
        return None;
    }
    let what = format!("{} matches no method that is known", glob.as_str());
    Some(match meant(catalog, glob.as_str()) {
        Some(meant) => format!("{what}; did you mean {meant}?"),
        None => format!("{what}; `kubectl turnpike explain VERB URL` says what a request's method is called"),
    })
}

/// Why a rule that allows should not name a group, or `None` where it may.
pub(super) fn too_wide(rule: &RuleDef, glob: &MethodGlob) -> Option<String> {
    let row = glob.group()?.row();
    (rule.effect == Effect::Allow && row.purpose == Purpose::Restrict).then(|| {
        format!(
            "{glob} holds everything that could be meant, for rules that deny or want an approval; an Allow rule \
             should name its methods"
        )
    })
}

fn leads_somewhere(catalog: &Catalog, glob: &MethodGlob) -> bool {
    catalog.ids().iter().any(|id| glob.matches(id))
}

/// A glob that is like this one and matches something.
fn meant(catalog: &Catalog, glob: &str) -> Option<String> {
    let mut segments: Vec<String> = glob.split('.').map(str::to_owned).collect();
    // Each round mends one segment, and never the same twice.
    for _ in 0..segments.len() {
        let Some(at) = dead_end(catalog, &segments) else {
            return deeper(catalog, &segments);
        };
        let Some(segment) = likely(catalog, &segments, at) else {
            return shorter(catalog, &segments, at).or_else(|| longer(catalog, &segments, at));
        };
        segments[at] = segment;
        if matches(catalog, &segments) {
            return Some(segments.join("."));
        }
    }
    None
}

/// The first segment that no method goes on with.
fn dead_end(catalog: &Catalog, segments: &[String]) -> Option<usize> {
    (0..segments.len()).find(|at| !matches(catalog, &below(&segments[..=*at])))
}

/// The name ends where methods only begin.
fn deeper(catalog: &Catalog, segments: &[String]) -> Option<String> {
    let (last, before) = segments.split_last()?;
    let stem = if last == "*" { before } else { segments };
    [&["*".to_owned()][..], &["**".to_owned()][..]]
        .into_iter()
        .map(|tail| [stem, tail].concat())
        .find(|glob| matches(catalog, glob))
        .map(|glob| glob.join("."))
}

/// What stands behind a method's name is too much.
fn shorter(catalog: &Catalog, segments: &[String], at: usize) -> Option<String> {
    let before = &segments[..at];
    let named = before.last().is_some_and(|last| last != "**");
    (named && matches(catalog, before)).then(|| before.join("."))
}

/// A part of the path to the method was left out.
fn longer(catalog: &Catalog, segments: &[String], at: usize) -> Option<String> {
    let mut glob = segments.to_vec();
    glob.insert(at, "**".to_owned());
    (at > 0 && matches(catalog, &glob)).then(|| glob.join("."))
}

/// The segment that was meant at a dead end.
fn likely(catalog: &Catalog, segments: &[String], at: usize) -> Option<String> {
    let (before, wrong) = (&segments[..at], segments.get(at)?);
    if wrong.contains('*') {
        return None;
    }
    let above = MethodGlob::parse(&below(before).join(".")).ok()?;
    let ids = catalog.ids().iter().filter(|id| above.matches(id));
    // Behind a `**` there is no telling at which depth it should stand.
    let candidates: BTreeSet<&str> = if before.iter().any(|segment| segment == "**") {
        ids.flat_map(|id| id.split('.')).collect()
    } else {
        ids.filter_map(|id| id.split('.').nth(at)).collect()
    };
    nearest(wrong, candidates).map(str::to_owned)
}

fn below(segments: &[String]) -> Vec<String> {
    [segments, &["**".to_owned()]].concat()
}

fn matches(catalog: &Catalog, segments: &[String]) -> bool {
    MethodGlob::parse(&segments.join(".")).is_ok_and(|glob| leads_somewhere(catalog, &glob))
}

#[cfg(test)]
mod tests {
    use turnpike_policy::{catalog::Catalog, glob::MethodGlob};

    use super::{doubt, meant};

    #[test]
    fn a_glob_that_matches_nothing_is_told_what_was_meant() {
        let catalog = Catalog::embedded().unwrap();
        let found = [
            "storage.object.get",
            "Storage.objects.get",
            "storage.object.gte",
            "storage.objects",
            "storage.*",
            "storage.objects.get.all",
            "storge.**",
            "cloudfunctions.functions.create",
            "compute.instance.*",
            "run.**.servces.get",
            "run.**.services.gett",
            "zzzzzzzz.**",
            "storage.objects.x*",
        ]
        .map(|glob| (glob, meant(catalog, glob)));
        let wanted = [
            ("storage.object.get", Some("storage.objects.get")),
            ("Storage.objects.get", Some("storage.objects.get")),
            ("storage.object.gte", Some("storage.objects.get")),
            ("storage.objects", Some("storage.objects.*")),
            ("storage.*", Some("storage.**")),
            ("storage.objects.get.all", Some("storage.objects.get")),
            ("storge.**", Some("storage.**")),
            (
                "cloudfunctions.functions.create",
                Some("cloudfunctions.**.functions.create"),
            ),
            ("compute.instance.*", Some("compute.instances.*")),
            ("run.**.servces.get", Some("run.**.services.get")),
            ("run.**.services.gett", Some("run.**.services.get")),
            ("zzzzzzzz.**", None),
            ("storage.objects.x*", None),
        ]
        .map(|(glob, meant)| (glob, meant.map(str::to_owned)));
        assert_eq!(found, wanted);
    }

    #[test]
    fn no_doubt_about_globs_that_match() {
        let catalog = Catalog::embedded().unwrap();
        for glob in [
            "**",
            "storage.objects.get",
            "storage.*.get",
            "run.**.get",
            "*.projects.**",
        ] {
            assert_eq!(doubt(catalog, &MethodGlob::parse(glob).unwrap()), None, "{glob}");
        }
    }
}
