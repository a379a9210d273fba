//! The differential test: whatever form the URL of a method takes, over the whole catalogue, it is that method on
//! that resource, or refused; never something that a policy restricts less.

mod alias;
#[path = "../common/mod.rs"]
mod common;
mod forms;
mod judge;
mod lax;
mod mutate;
mod plain;

use std::{collections::BTreeMap, thread};

use percent_encoding::percent_decode_str;
use turnpike_policy::{
    PolicySet,
    catalog::{Classified, Method},
    definition::Effect,
    grpc::GrpcCatalog,
};

use crate::plain::{Plain, Reader, Url, plain_of, strict};

/// What came out for some methods.
#[derive(Debug, Default)]
struct Outcome {
    methods: usize,
    aliases: usize,
    mutations: usize,
    refused: usize,
    /// Mutations that some lax server takes for the plain URL.
    lax: usize,
    /// Those of them that are not refused.
    lax_taken: usize,
    /// Requests with several readings, all of which were denied and held one by one.
    several: usize,
    /// What should not be: kind, and the first examples of it.
    faults: BTreeMap<&'static str, (usize, Vec<String>)>,
}

impl Outcome {
    fn fault(&mut self, kind: &'static str, url: &Url, plain: &Plain<'_>, found: Option<&Classified>) {
        let (count, examples) = self.faults.entry(kind).or_default();
        *count += 1;
        if examples.len() < 4 {
            let calls = found.map(judge::readings).unwrap_or_default();
            let calls: Vec<_> = calls
                .iter()
                .map(|c| {
                    (
                        c.method,
                        c.resources.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
                    )
                })
                .collect();
            examples.push(format!(
                "{url} reads as {calls:?}, plain is {} {}",
                plain.method.id, plain.url
            ));
        }
    }

    fn add(mut self, other: Self) -> Self {
        self.methods += other.methods;
        self.aliases += other.aliases;
        self.mutations += other.mutations;
        self.refused += other.refused;
        self.lax += other.lax;
        self.lax_taken += other.lax_taken;
        self.several += other.several;
        for (kind, (count, examples)) in other.faults {
            let all = self.faults.entry(kind).or_default();
            all.0 += count;
            all.1.extend(examples);
            all.1.truncate(4);
        }
        self
    }

    fn fault_count(&self) -> usize {
        self.faults.values().map(|(count, _)| count).sum()
    }
}

type Work = (Method<'static>, Vec<&'static str>);

/// Goes over the methods on all cores.
fn over(methods: &[Work], each: impl Fn(&mut Outcome, &Work) + Sync) -> Outcome {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    // Every core takes methods from all over, so that none gets only the large ones.
    thread::scope(|scope| {
        let running: Vec<_> = (0..cores)
            .map(|core| {
                let each = &each;
                scope.spawn(move || {
                    let mut outcome = Outcome::default();
                    methods
                        .iter()
                        .skip(core)
                        .step_by(cores)
                        .for_each(|work| each(&mut outcome, work));
                    outcome
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .fold(Outcome::default(), Outcome::add)
    })
}

/// Reads a URL in all its mutations.
fn mutations(outcome: &mut Outcome, plain: &Plain<'_>, elsewhere: &PolicySet, read: Reader) {
    let all_but = judge::all_but(Effect::Deny, &plain.classified.call);
    let own = judge::readings(&plain.classified);
    assert_eq!(
        (judge::effect(&all_but, &own), judge::effect(elsewhere, &own)),
        (Effect::Deny, Effect::Deny),
        "both policies deny {}",
        plain.url
    );
    for mutation in mutate::all(plain) {
        outcome.mutations += 1;
        let found = read(&mutation.url);
        outcome.refused += usize::from(found.is_none());
        if !mutation.same_to_google && !lax::means(&mutation.url, plain) {
            if let Some(found) = found {
                several(outcome, &mutation.url, plain, &found);
            }
            continue;
        }
        outcome.lax += 1;
        let Some(found) = found else { continue };
        outcome.lax_taken += 1;
        let calls = judge::readings(&found);
        let passes = |set| judge::effect(set, &calls) == Effect::Allow;
        if passes(&all_but) || passes(elsewhere) {
            outcome.fault(mutation.kind, &mutation.url, plain, Some(&found));
        }
        several(outcome, &mutation.url, plain, &found);
    }
}

/// Where a request has several readings, what is said of any one of them holds for the request.
fn several(outcome: &mut Outcome, url: &Url, plain: &Plain<'_>, found: &Classified) {
    if found.also.is_empty() {
        return;
    }
    outcome.several += 1;
    let calls = judge::readings(found);
    let everything = judge::policy(vec![judge::rule(Effect::Allow, &["**"], &[])]);
    let mut right = judge::effect(&everything, &calls) == Effect::Allow;
    for call in &calls {
        for effect in [Effect::Deny, Effect::RequireApproval] {
            right &= judge::effect(&judge::all_but(effect, call), &calls) == effect;
        }
        let only = judge::policy(vec![judge::rule(Effect::Allow, &[call.method], &[])]);
        let others = calls.iter().any(|c| c.method != call.method);
        right &= (judge::effect(&only, &calls) == Effect::Deny) == others;
    }
    if !right {
        outcome.fault(
            "the stricter of several readings does not win",
            url,
            plain,
            Some(found),
        );
    }
}

fn aliases(outcome: &mut Outcome, plain: &Plain<'_>) {
    if !alias::finds(&plain.classified, &plain.method) {
        outcome.fault(
            "not found by the plain URL",
            &plain.url,
            plain,
            Some(&plain.classified),
        );
    }
    for alias in alias::all(plain) {
        outcome.aliases += 1;
        let found = strict(&alias.url);
        if !found
            .as_ref()
            .is_some_and(|found| alias::same(&plain.classified, found, alias.location))
        {
            outcome.fault("an alias is another call", &alias.url, plain, found.as_ref());
        }
    }
}

/// The method on a thing whose name has a percent sign, which is written `%25`: for those who decode twice, it is
/// another thing.
fn percent_name<'a>(method: Method<'a>, naming: &[&'static str]) -> Option<Plain<'a>> {
    let path = common::path_of(&method);
    let (before, last) = path.rsplit_once('/')?;
    let (name, verb) = last.split_at(last.find(':').unwrap_or(last.len()));
    let literal = method.template.ends_with(last);
    (!literal && !name.is_empty()).then_some(())?;
    Plain::new(method, format!("{before}/a%2520b{verb}"), naming)
}

/// Five hundred methods, always the same, spread over all services.
fn sample(methods: &[Work]) -> Vec<Work> {
    methods
        .iter()
        .step_by(methods.len() / 500)
        .take(500)
        .cloned()
        .collect()
}

#[test]
fn no_form_of_a_url_is_less_restricted_than_the_plain_one() {
    let methods = plain::methods();
    let elsewhere = judge::reading_elsewhere();
    let outcome = over(&methods, |outcome, (method, naming)| {
        let plain = plain_of(*method, naming);
        outcome.methods += 1;
        aliases(outcome, &plain);
        several(outcome, &plain.url, &plain, &plain.classified);
        mutations(outcome, &plain, &elsewhere, strict);
        let tenth = method.index.as_usize() % 10 == 0;
        if let Some(percent) = percent_name(*method, naming).filter(|_| tenth) {
            mutations(outcome, &percent, &elsewhere, strict);
        }
    });
    for (kind, (count, examples)) in &outcome.faults {
        println!("{count} times: {kind:?}\n    {}", examples.join("\n    "));
    }
    let rpcs = GrpcCatalog::embedded()
        .expect("the embedded table loads")
        .methods();
    println!(
        "{} RPCs are read as REST methods: tests/grpc checks them",
        rpcs.filter(|rpc| !rpc.has_own_id).count()
    );
    println!(
        "differential: {} methods, {} aliases, {} mutations, {} refused, {} of {} that a lax server takes for the \
         plain URL refused, {} with several readings, {} less restricted",
        outcome.methods,
        outcome.aliases,
        outcome.mutations,
        outcome.refused,
        outcome.lax - outcome.lax_taken,
        outcome.lax,
        outcome.several,
        outcome.fault_count()
    );
    assert_eq!(outcome.methods, 26_958);
    assert_eq!(outcome.fault_count(), 0);
}

/// A reader that decodes twice before it reads.
fn decodes_twice(url: &Url) -> Option<Classified> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (path, query) = url.target.split_once('?').unwrap_or((&url.target, ""));
    let path = decoded(&decoded(path)).replace(' ', "%20");
    strict(&Url {
        target: plain::with_query(&path, query),
        ..url.clone()
    })
}

/// A reader for whom the last of a parameter's values counts.
fn takes_the_last(url: &Url) -> Option<Classified> {
    let (path, query) = url.target.split_once('?').unwrap_or((&url.target, ""));
    let name = |pair: &str| pair.split('=').next().unwrap_or(pair).to_owned();
    let mut kept: BTreeMap<String, &str> = BTreeMap::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        kept.insert(name(pair), pair);
    }
    let query: Vec<_> = kept.into_values().collect();
    strict(&Url {
        target: plain::with_query(path, &query.join("&")),
        ..url.clone()
    })
}

/// A reader that takes path parameters for part of a name.
fn keeps_parameters(url: &Url) -> Option<Classified> {
    strict(&Url {
        target: url.target.replace(';', "%3B"),
        ..url.clone()
    })
}

/// The same check finds fault with readers that are more lenient than they may be.
#[test]
fn lenient_readers_are_caught() {
    let methods = plain::methods();
    let elsewhere = judge::reading_elsewhere();
    let faults = |methods: &[Work], read: Reader| {
        let outcome = over(methods, |outcome, (method, naming)| {
            mutations(outcome, &plain_of(*method, naming), &elsewhere, read);
            if let Some(percent) = percent_name(*method, naming) {
                mutations(outcome, &percent, &elsewhere, read);
            }
        });
        outcome.fault_count()
    };
    let sampled = sample(&methods);
    let named: Vec<_> = methods
        .iter()
        .filter(|(_, naming)| !naming.is_empty())
        .step_by(10)
        .cloned()
        .collect();
    let caught = [
        faults(&sampled, strict),
        faults(&sampled, decodes_twice),
        faults(&named, takes_the_last),
        faults(&sampled, keeps_parameters),
    ];
    println!("faults of a strict reader and of three lenient ones: {caught:?}");
    assert_eq!(caught[0], 0);
    assert!(caught[1..].iter().all(|faults| *faults > 0), "{caught:?}");
}
