//! Methods with the same resources, put into rules.
//!
//! Methods share a rule if that gives none of them a name that it was not used on: where they have the very same
//! resources, or where those of one are no names that the other can have, as with objects and their bucket.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    patterns::{Pattern, patterns},
    usage::{Named, OfMethod, Seen, Usage},
};
use crate::{
    call::Traits,
    definition::Effect,
    glob::ResourceGlob,
    whatif::{
        cells::{Cutter, GlobId, Mark},
        methods::Methods,
    },
};

/// As many methods, and as many resources, a rule may have.
const MOST: usize = 64;
/// Rules with more resources are put together only where all are the same.
const MOST_COMPARED: usize = 16;

/// A rule, with the calls behind it.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Its name.
    pub(super) name: String,
    /// What it does: Allow or RequireApproval.
    pub(super) effect: Effect,
    /// What kind of methods these are.
    pub(super) kind: Kind,
    /// The methods, each with its calls.
    pub(super) methods: Vec<(&'static str, Seen)>,
    /// The resources.
    pub(super) resources: Vec<Pattern>,
    /// Refused calls that it would let pass, because no glob keeps them out.
    pub(super) refused_too: BTreeSet<String>,
}

/// Methods that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// They read.
    Read,
    /// They change something.
    Change,
    /// They were held.
    Held,
    /// Some of them were let pass, and some refused.
    Restricted,
    /// They hand out credentials.
    Credentials,
    /// They destroy.
    Destructive,
    /// They are about who may do what.
    Iam,
}

impl Kind {
    /// The kind of a method that wants care, whatever was decided.
    fn sensitive(traits: Traits) -> Option<Self> {
        [
            (Traits::RETURNS_CREDENTIALS, Self::Credentials),
            (Traits::DESTRUCTIVE, Self::Destructive),
            (Traits::IAM, Self::Iam),
        ]
        .into_iter()
        .find(|(of, _)| traits.contains(*of))
        .map(|(_, kind)| kind)
    }

    /// As a part of the names of rules.
    fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "change",
            Self::Held => "ask",
            Self::Restricted => "ask-some",
            Self::Credentials => "credentials",
            Self::Destructive => "destroy",
            Self::Iam => "iam",
        }
    }
}

/// Methods that share their resources.
struct Cluster {
    methods: Vec<(&'static str, Seen)>,
    patterns: Vec<Pattern>,
    refused_too: BTreeSet<String>,
}

/// The rules for all that an agent did, in order.
pub(super) fn rules(usage: &Usage, methods: &Methods, cutter: &mut Cutter) -> Vec<Rule> {
    let mut clusters: BTreeMap<(Effect, &'static str, Kind), Vec<Cluster>> = BTreeMap::new();
    for (method, used) in &usage.methods {
        for (effect, kind, cluster) in of_method(method, used, methods) {
            clusters
                .entry((effect, used.api, kind))
                .or_default()
                .push(cluster);
        }
    }
    let mut rules = Vec::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for ((effect, api, kind), clusters) in clusters {
        for cluster in joined(clusters, effect, methods, cutter) {
            for methods in cluster.methods.chunks(MOST) {
                for resources in cluster.patterns.chunks(MOST) {
                    rules.push(Rule {
                        name: name(api, kind, &mut names),
                        effect,
                        kind,
                        methods: methods.to_vec(),
                        resources: resources.to_vec(),
                        refused_too: cluster.refused_too.clone(),
                    });
                }
            }
        }
    }
    rules
}

/// What was allowed of a method, and what is to be held.
fn of_method(id: &'static str, used: &OfMethod, methods: &Methods) -> Vec<(Effect, Kind, Cluster)> {
    let shapes = methods.shapes(id);
    let sensitive = Kind::sensitive(used.traits);
    let plain = match used.traits.contains(Traits::READ) && !used.traits.contains(Traits::CHANGE) {
        true => Kind::Read,
        false => Kind::Change,
    };
    // A trail does not say which condition made the difference, so a person does.
    let restricted = |named: &Named| lets_any_pass(named, &used.restricted);
    let kind_of = |named: &Named, held: bool| match sensitive {
        Some(kind) => kind,
        None if restricted(named) => Kind::Restricted,
        None if held => Kind::Held,
        None => plain,
    };
    let of = |effect: Effect, kind: Kind| {
        let (mut names, mut kept_out, mut seen) = (Vec::new(), Vec::new(), None::<Seen>);
        for (named, its) in &used.used {
            if kind_of(named, its.held) == kind {
                names.push(named);
                seen = Some(seen.map_or(its.seen, |before| before.and(its.seen)));
            } else {
                kept_out.push(named);
            }
        }
        let refused = used.refused.iter().filter(|named| !used.used.contains_key(named));
        kept_out.extend(refused.clone());
        let patterns = patterns(&names, shapes, &kept_out, sensitive.is_some());
        let cluster = Cluster {
            methods: vec![(id, seen?)],
            refused_too: refused
                .filter(|named| let_pass(&patterns, named))
                .map(|n| n.name.clone())
                .collect(),
            patterns,
        };
        Some((effect, kind, cluster))
    };
    let held = |kind| of(Effect::RequireApproval, kind);
    match sensitive {
        Some(kind) => held(kind).into_iter().collect(),
        None => [of(Effect::Allow, plain), held(Kind::Held), held(Kind::Restricted)]
            .into_iter()
            .flatten()
            .collect(),
    }
}

/// Whether a rule for one name lets some of the others pass.
fn lets_any_pass(named: &Named, others: &BTreeSet<Named>) -> bool {
    let own = patterns(&[named], &[], &[], true);
    let more = own.iter().any(|pattern| pattern.glob.contains('*'));
    others.contains(named) || (more && others.iter().any(|other| let_pass(&own, other)))
}

/// Whether some pattern covers what was refused.
fn let_pass(patterns: &[Pattern], named: &Named) -> bool {
    patterns
        .iter()
        .filter_map(|pattern| ResourceGlob::parse(&pattern.glob).ok())
        .any(|glob| match named.below {
            true => glob.covers_below(&named.name),
            false => glob.matches(&named.name),
        })
}

/// Puts clusters together as far as nothing is given away by it.
fn joined(clusters: Vec<Cluster>, effect: Effect, methods: &Methods, cutter: &mut Cutter) -> Vec<Cluster> {
    let mut joined: Vec<Cluster> = Vec::new();
    for cluster in clusters {
        match joined
            .iter_mut()
            .find(|other| fit(other, &cluster, effect, methods, cutter))
        {
            None => joined.push(cluster),
            Some(other) => {
                other.methods.extend(cluster.methods);
                for pattern in cluster.patterns {
                    match other.patterns.iter_mut().find(|p| p.glob == pattern.glob) {
                        Some(same) => same.names.extend(pattern.names),
                        None => other.patterns.push(pattern),
                    }
                }
                other.patterns.sort();
                other.refused_too.extend(cluster.refused_too);
            }
        }
    }
    joined
}

fn fit(one: &Cluster, other: &Cluster, effect: Effect, methods: &Methods, cutter: &mut Cutter) -> bool {
    let globs =
        |cluster: &Cluster| -> BTreeSet<String> { cluster.patterns.iter().map(|p| p.glob.clone()).collect() };
    let (ones, others) = (globs(one), globs(other));
    if ones == others {
        return true;
    }
    let few = ones.len() <= MOST_COMPARED && others.len() <= MOST_COMPARED;
    let mut gains_nothing = |cluster: &Cluster, own: &BTreeSet<String>, more: &BTreeSet<String>| {
        cluster
            .methods
            .iter()
            .all(|(method, _)| !gains(method, own, more, effect, methods, cutter))
    };
    few && gains_nothing(one, &ones, &others) && gains_nothing(other, &others, &ones)
}

/// Whether a method can have a name that globs match and its own do not; if in doubt, it can.
fn gains(
    method: &str,
    own: &BTreeSet<String>,
    more: &BTreeSet<String>,
    effect: Effect,
    methods: &Methods,
    cutter: &mut Cutter,
) -> bool {
    let mut number = |text: &String| cutter.glob(&ResourceGlob::parse(text).ok()?);
    let Some(own) = own.iter().map(&mut number).collect::<Option<BTreeSet<GlobId>>>() else {
        return true;
    };
    let Some(more) = more.iter().map(&mut number).collect::<Option<BTreeSet<GlobId>>>() else {
        return true;
    };
    let all: Vec<GlobId> = own.union(&more).copied().collect();
    let shapes = methods.shapes(method);
    shapes.is_empty()
        || shapes.iter().any(|shape| match &*cutter.cells(&all, shape) {
            Err(_) => true,
            Ok(cells) => cells.iter().any(|cell| {
                let matched = |(_, mark): &(&GlobId, &Mark)| match effect {
                    Effect::Allow => mark.sure,
                    Effect::RequireApproval | Effect::Deny => mark.may,
                };
                let matching = || all.iter().zip(&cell.marks).filter(matched);
                matching().any(|(glob, _)| more.contains(glob))
                    && !matching().any(|(glob, _)| own.contains(glob))
            }),
        })
}

/// A name that no other rule has.
fn name(api: &str, kind: Kind, names: &mut BTreeMap<String, usize>) -> String {
    let plain: String = api
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        })
        .take(40)
        .collect();
    let base = format!("{}-{}", plain.trim_matches('-'), kind.word());
    let base = base.trim_start_matches('-').to_owned();
    let number = names.entry(base.clone()).or_insert(0);
    *number += 1;
    match *number {
        1 => base,
        n => format!("{base}-{n}"),
    }
}
