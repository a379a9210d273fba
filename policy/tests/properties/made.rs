//! Generated policies and requests.

use proptest::prelude::*;
use serde_json::{Value, json};
use turnpike_policy::{
    PolicyDef,
    call::Scope,
    definition::{ApprovalDef, CustomFactor, Effect, Mode, OutboundDef, RiskDef, RuleDef},
};

use crate::making::{policy, rule};

pub(crate) const OBJECT: (&str, Scope) = ("projects/_/buckets/acme/objects/a", Scope::Exact);

fn any_effect() -> impl Strategy<Value = Effect> {
    prop_oneof![
        Just(Effect::Allow),
        Just(Effect::RequireApproval),
        Just(Effect::Deny)
    ]
}

/// Conditions of all kinds: of the call, of the body, of the risk; some that fail for some bodies.
fn any_condition() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        8 => Just(None),
        1 => Just(Some("request.verb == 'POST'")),
        1 => Just(Some("request.body.public == true")),
        1 => Just(Some("!(request.body.public == true)")),
        1 => Just(Some("has(request.body.name) && request.body.name.startsWith('prod')")),
        1 => Just(Some("has(request.body)")),
        1 => Just(Some("request.verb == 'GET' || request.body.size > 3")),
        1 => Just(Some("request.body.items.exists(i, i == 'x')")),
        1 => Just(Some("risk > 20")),
        1 => Just(Some("risk < 20")),
        1 => Just(Some("resource.name.startsWith('projects/_/buckets/acme')")),
        1 => Just(Some("has(resource.project) && resource.project == 'acme'")),
        1 => Just(Some("resource.project == 'acme'")),
        1 => Just(Some("method.endsWith('get')")),
        1 => Just(Some("now.getHours() < 12")),
        1 => Just(Some("agent.claims.team == 'a'")),
    ]
    .prop_map(|text| text.map(str::to_owned))
}

pub(crate) fn any_rule() -> impl Strategy<Value = RuleDef> {
    let method = prop_oneof![
        Just("**"),
        Just("storage.**"),
        Just("storage.objects.*"),
        Just("**.get"),
        Just("storage.objects.get"),
        Just("*.objects.g*"),
        Just("compute.**")
    ];
    let resource = prop_oneof![
        3 => Just("**"),
        1 => Just("projects/_/**"),
        1 => Just("projects/_/buckets/acme/**"),
        1 => Just("projects/_/buckets/a*/**"),
        1 => Just("projects/*/buckets/acme/objects/a"),
        1 => Just("projects/_/buckets/other/**"),
        1 => Just("projects/acme/buckets/*"),
        1 => Just("projects/acme-*/**/a"),
        1 => Just("projects/12/**"),
        1 => Just("projects/1*/**"),
        1 => Just("*/_/**/a")
    ];
    (
        "[a-z]{3}",
        any_effect(),
        prop::collection::vec(method, 1..3),
        prop::collection::vec(resource, 0..3),
        any_condition(),
    )
        .prop_map(|(name, effect, methods, resources, when)| RuleDef {
            when,
            ..rule(&name, effect, &methods, &resources)
        })
}

fn any_risk() -> impl Strategy<Value = Option<RiskDef>> {
    let factor = prop_oneof![
        Just("request.body.public == true"),
        Just("request.verb == 'POST'"),
        Just("resource.project == 'acme'"),
    ];
    let risk = (
        prop::option::of(0..60u8),
        prop::option::of(20..90u8),
        prop::option::of((factor, 0..60u8)),
        prop::option::of((
            prop_oneof![Just("read"), Just("change"), Just("first-use")],
            0..60u8,
        )),
    )
        .prop_map(|(approve_above, deny_above, factor, weight)| RiskDef {
            approve_above,
            deny_above,
            weights: weight
                .into_iter()
                .map(|(name, points)| (name.to_owned(), points))
                .collect(),
            factors: factor
                .into_iter()
                .map(|(when, points)| CustomFactor {
                    name: "own".to_owned(),
                    when: when.to_owned(),
                    points,
                })
                .collect(),
            approval: ApprovalDef::default(),
        });
    prop_oneof![3 => Just(None), 1 => risk.prop_map(Some)]
}

fn any_outbound() -> impl Strategy<Value = Option<OutboundDef>> {
    let outbound = (any_effect(), any_effect()).prop_map(|(requests, unscannable)| OutboundDef {
        requests,
        unscannable,
        approval: ApprovalDef::default(),
        detectors: vec![],
    });
    prop_oneof![4 => Just(None), 1 => outbound.prop_map(Some)]
}

/// Policies with all that can decide. With `plain`, rules without conditions alone.
pub(crate) fn any_policies(plain: bool) -> impl Strategy<Value = Vec<PolicyDef>> {
    let one = (
        prop::collection::vec(any_rule(), 0..5),
        any::<bool>(),
        prop_oneof![3 => Just("coder"), 1 => Just("other")],
        any_risk(),
        any_outbound(),
        prop::bool::weighted(0.03),
        // What allows everything, so that the rest has something to restrict.
        prop::bool::weighted(0.4),
    );
    prop::collection::vec(one, 0..5).prop_map(move |list| {
        list.into_iter()
            .enumerate()
            .map(|(i, (mut rules, dry, agent, risk, outbound, suspend, open))| {
                if open {
                    rules.push(rule("open", Effect::Allow, &["**"], &[]));
                }
                if plain {
                    rules.iter_mut().for_each(|rule| rule.when = None);
                }
                let whole = |p: PolicyDef| match plain {
                    true => p,
                    false => PolicyDef {
                        risk,
                        outbound,
                        suspend,
                        ..p
                    },
                };
                let mut p = whole(policy("agents", &format!("p{i}"), agent, rules));
                p.mode = if dry { Mode::DryRun } else { Mode::Enforce };
                p
            })
            .collect()
    })
}

/// A body that conditions may trip over.
pub(crate) fn any_body() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"public": true})),
        Just(json!({"public": false, "size": 5, "name": "prod-1"})),
        Just(json!({"public": "yes", "size": "5", "items": ["x"]})),
        Just(json!({"items": ["a", "b"], "size": 1})),
        Just(json!({"bindings": [{"role": "roles/owner", "members": ["allUsers"]}]})),
        Just(json!({"policy": {"bindings": [{"role": "roles/viewer", "members": ["user:a@example.com"]}]}})),
    ]
}

/// Names with and without segments that stand for many.
pub(crate) fn any_resource() -> impl Strategy<Value = (&'static str, Scope)> {
    let name = prop_oneof![
        10 => Just(OBJECT.0),
        1 => Just("projects/-/buckets/acme/objects/a"),
        1 => Just("projects/_/buckets/-/objects/a"),
        1 => Just("projects/_/buckets/acme/objects/-"),
        1 => Just("projects/-/buckets/-"),
        1 => Just("projects/12/buckets/acme"),
        1 => Just("projects/13/buckets/acme/objects/a"),
        1 => Just("-/12/buckets/other"),
        1 => Just("projects/_/buckets/12"),
        1 => Just("projects/acme"),
        1 => Just("projects/-"),
    ];
    (
        name,
        prop_oneof![5 => Just(Scope::Exact), 1 => Just(Scope::Below)],
    )
}
