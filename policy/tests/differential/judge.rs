//! Policies made for one method, and what they say of a reading of a mutated URL.

use jiff::Timestamp;
use turnpike_policy::{
    Facts, PolicyDef, PolicySet,
    call::{Call, Traits},
    caller::{Caller, Identity},
    catalog::Classified,
    decide,
    definition::{AgentMatch, ApprovalDef, Effect, LimitsDef, Mode, RuleDef},
    glob::{MethodGlob, ResourceGlob},
};

use crate::common::catalog;

/// A policy for everybody.
pub(crate) fn policy(rules: Vec<RuleDef>) -> PolicySet {
    PolicySet::new(vec![PolicyDef {
        namespace: "agents".into(),
        name: "differential".into(),
        uid: String::new(),
        generation: 1,
        mode: Mode::Enforce,
        suspend: false,
        agents: vec![AgentMatch::ServiceAccount {
            namespace: None,
            name: None,
        }],
        credential: None,
        rules,
        risk: None,
        limits: LimitsDef::default(),
        outbound: None,
        masks: vec![],
        record_bodies: None,
    }])
}

pub(crate) fn rule(effect: Effect, methods: &[&str], resources: &[String]) -> RuleDef {
    RuleDef {
        name: format!("{effect:?}").to_lowercase(),
        effect,
        methods: methods
            .iter()
            .map(|m| MethodGlob::parse(m).expect("an id is a glob"))
            .collect(),
        resources: resources
            .iter()
            .map(|r| ResourceGlob::parse(r).unwrap_or_else(|e| panic!("{r}: {e}")))
            .collect(),
        when: None,
        message: None,
        approval: ApprovalDef::default(),
    }
}

/// Puts an effect on exactly what a call does, and allows everything else. A name that no glob can name, because it has
/// an empty step, is restricted with all of the method.
pub(crate) fn all_but(effect: Effect, call: &Call) -> PolicySet {
    let mut names: Vec<_> = call.resources.iter().map(|r| r.name.clone()).collect();
    if names.iter().any(|name| ResourceGlob::parse(name).is_err()) {
        names.clear();
    }
    policy(vec![
        rule(effect, &[call.method], &names),
        rule(Effect::Allow, &["**"], &[]),
    ])
}

/// Allows the methods that read and return no credentials, in a project that no plain URL names.
pub(crate) fn reading_elsewhere() -> PolicySet {
    let reading: Vec<_> = catalog()
        .methods()
        .filter(|m| m.traits.contains(Traits::READ) && !m.traits.contains(Traits::RETURNS_CREDENTIALS))
        .map(|m| m.id)
        .collect();
    let mut reading = reading;
    reading.sort_unstable();
    reading.dedup();
    let elsewhere = ["projects/other-prod/**", "projects/_/buckets/other-prod/**"].map(str::to_owned);
    policy(vec![rule(Effect::Allow, &reading, &elsewhere)])
}

/// All readings of a request, as they are decided.
pub(crate) fn readings(classified: &Classified) -> Vec<Call> {
    std::iter::once(&classified.call)
        .chain(&classified.also)
        .cloned()
        .collect()
}

/// What a policy does with a request.
pub(crate) fn effect(set: &PolicySet, calls: &[Call]) -> Effect {
    let caller = Caller {
        identity: Identity::ServiceAccount {
            namespace: "agents".into(),
            name: "coder".into(),
        },
        issuer: String::new(),
        session: String::new(),
        pod: None,
    };
    let facts = Facts::of(&caller, calls, Timestamp::UNIX_EPOCH);
    decide(set, &facts).verdict.effect()
}
