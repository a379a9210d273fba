//! Callers, calls, rules and policies for tests of decisions.

// Each test uses what it needs.
#![allow(dead_code)]

use turnpike_policy::{
    PolicyDef,
    call::{Call, MethodIndex, Resource, Scope, Traits, Transport},
    caller::{Caller, Identity},
    definition::{AgentMatch, ApprovalDef, Effect, LimitsDef, Mode, RuleDef},
    glob::{MethodGlob, ResourceGlob},
};

pub(crate) fn caller(namespace: &str, name: &str) -> Caller {
    Caller {
        identity: Identity::ServiceAccount {
            namespace: namespace.into(),
            name: name.into(),
        },
        issuer: "https://issuer.test".into(),
        session: "s".into(),
        pod: None,
    }
}

pub(crate) fn call(method: &'static str, resources: &[(&str, Scope)]) -> Call {
    Call {
        method,
        index: MethodIndex(0),
        api: "storage",
        version: "v1",
        traits: Traits::READ,
        transport: Transport::Rest,
        resources: resources
            .iter()
            .map(|(name, scope)| Resource {
                name: (*name).to_owned(),
                project: None,
                location: None,
                kind: "objects",
                id: None,
                scope: *scope,
            })
            .collect(),
    }
}

pub(crate) fn rule(name: &str, effect: Effect, methods: &[&str], resources: &[&str]) -> RuleDef {
    RuleDef {
        name: name.into(),
        effect,
        methods: methods.iter().map(|m| MethodGlob::parse(m).unwrap()).collect(),
        resources: resources
            .iter()
            .map(|r| ResourceGlob::parse(r).unwrap())
            .collect(),
        when: None,
        message: None,
        approval: ApprovalDef::default(),
    }
}

pub(crate) fn policy(namespace: &str, name: &str, agent: &str, rules: Vec<RuleDef>) -> PolicyDef {
    PolicyDef {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-{namespace}-{name}"),
        generation: 1,
        mode: Mode::Enforce,
        suspend: false,
        agents: vec![AgentMatch::ServiceAccount {
            namespace: Some(namespace.into()),
            name: Some(agent.into()),
        }],
        credential: None,
        rules,
        risk: None,
        limits: LimitsDef::default(),
        outbound: None,
        masks: vec![],
        record_bodies: None,
    }
}
