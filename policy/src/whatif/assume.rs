//! What two sides decide, under every assumption about conditions that nobody knows.
//!
//! Only rules, credentials and suspension count here. Risk, limits and secrets in requests depend on more than the
//! call; they are compared as [settings](super::Setting).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::{
    logic::{Question, Truth, assumptions, when},
    settings::credential_text,
};
use crate::{
    call::Call,
    caller::Caller,
    decide::{Decision, Denial, Facts, Verdict, decide},
    definition::{Effect, LimitsDef, PolicyDef, RuleDef},
    request::RequestFacts,
    set::{HitMode, PolicySet},
};

/// A rule by its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RuleName {
    /// `NAMESPACE/NAME` of the policy.
    pub policy: String,
    /// Name of the rule.
    pub rule: String,
}

/// Why a call is denied that rules let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Because {
    /// The policies that let it pass name different credentials.
    CredentialConflict,
    /// A policy suspends the agent.
    Suspended,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CredentialConflict => "its rules name different credentials",
            Self::Suspended => "the agent is suspended",
        })
    }
}

/// What one side does with a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Answer {
    /// What happens.
    pub effect: Effect,
    /// The rules that decide; none where nothing allows the call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleName>,
    /// What decides besides rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<Because>,
    /// The credential of an allowed call, where it is not the gateway's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl Answer {
    /// Whether an agent notices a difference.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.effect == other.effect && self.credential == other.credential
    }

    /// The same, whichever rules decide.
    pub(super) fn without_rules(&self) -> Self {
        Self {
            rules: Vec::new(),
            credential: self.credential.clone(),
            ..*self
        }
    }

    /// The same, by these rules.
    pub(super) fn by(self, rules: BTreeSet<RuleName>) -> Self {
        Self {
            rules: rules.into_iter().collect(),
            ..self
        }
    }

    /// What was decided, in short.
    pub(super) fn of(set: &PolicySet, decision: &Decision) -> Self {
        let effect = decision.verdict.effect();
        let mut rules: Vec<RuleName> = decision
            .hits
            .iter()
            .filter(|hit| hit.mode == HitMode::Enforce && hit.effect == effect)
            .map(|hit| {
                let found = set.rule(hit.rule);
                RuleName {
                    policy: format!("{}/{}", found.policy.namespace, found.policy.name),
                    rule: found.rule.name.clone(),
                }
            })
            .collect();
        rules.sort_unstable();
        rules.dedup();
        let credential = match &decision.verdict {
            Verdict::Allow(permit) => credential_text(permit.credential()),
            Verdict::Hold(_) | Verdict::Deny(_) => None,
        };
        let because = match &decision.verdict {
            Verdict::Deny(Denial::CredentialConflict(..)) => Some(Because::CredentialConflict),
            Verdict::Deny(Denial::Suspended(_)) => Some(Because::Suspended),
            Verdict::Allow(_) | Verdict::Hold(_) | Verdict::Deny(_) => None,
        };
        Self {
            effect,
            rules,
            because,
            credential,
        }
    }
}

/// Conditions and what they come to.
type Assumption<'q> = Vec<(&'q str, Truth)>;

/// Bound on the assumptions about the conditions that decide one request.
const MAX_ASSUMPTIONS: usize = 1_024;

/// A request, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) caller: &'a Caller,
    pub(super) calls: &'a [Call],
    pub(super) request: RequestFacts<'a>,
    pub(super) now: Timestamp,
}

/// A difference in what two sides do with a request. Rules are those that decide in some case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Difference {
    /// What the old side does.
    pub from: Answer,
    /// What the new side does.
    pub to: Answer,
    /// Under which conditions that is so; always, where there are none.
    pub when: Option<String>,
}

/// More conditions decide a request together than can be looked at in all cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyConditions(pub(super) usize);

/// What two sides do otherwise, in each case of the conditions that nobody knows.
pub(super) fn compare(
    old: &mut Side,
    new: &mut Side,
    asked: &Asked<'_>,
) -> Result<Vec<Difference>, TooManyConditions> {
    let mut conditions = BTreeMap::new();
    old.conditions(asked, &mut conditions);
    new.conditions(asked, &mut conditions);
    let questions: Vec<Question> = conditions
        .into_iter()
        .map(|(text, (allows, restricts))| Question {
            text,
            may_fail: allows && restricts,
        })
        .collect();
    let all = assumptions(&questions, MAX_ASSUMPTIONS).ok_or(TooManyConditions(questions.len()))?;
    let mut found: BTreeMap<(Answer, Answer), Case> = BTreeMap::new();
    for truths in all {
        let assumed: Assumption<'_> = questions
            .iter()
            .zip(&truths)
            .map(|(question, truth)| (question.text.as_str(), *truth))
            .collect();
        let from = old.answer(asked, &assumed);
        let to = new.answer(asked, &assumed);
        if !from.same_as(&to) {
            let key = (from.without_rules(), to.without_rules());
            let case = found.entry(key).or_default();
            case.truths.insert(truths);
            case.from.extend(from.rules);
            case.to.extend(to.rules);
        }
    }
    Ok(found
        .into_iter()
        .map(|((from, to), case)| Difference {
            from: from.by(case.from),
            to: to.by(case.to),
            when: when(&questions, &case.truths),
        })
        .collect())
}

/// Where a difference is, and the rules that decide there.
#[derive(Default)]
struct Case {
    truths: BTreeSet<Vec<Truth>>,
    from: BTreeSet<RuleName>,
    to: BTreeSet<RuleName>,
}

/// The policies of one side that concern some agents.
#[derive(Debug)]
pub(super) struct Side {
    policies: Vec<PolicyDef>,
    /// Conditions of which nobody knows what they come to. The others are evaluated.
    unknown: FxHashSet<Box<str>>,
    /// As if every unknown condition held.
    open: PolicySet,
    /// By what is assumed of unknown conditions.
    sets: FxHashMap<Vec<(Box<str>, Truth)>, PolicySet>,
}

impl Side {
    /// Policies, and which of their conditions are unknown.
    pub(super) fn new(policies: Vec<PolicyDef>, is_unknown: impl Fn(&str) -> bool) -> Self {
        let unknown: FxHashSet<Box<str>> = policies
            .iter()
            .flat_map(|policy| &policy.rules)
            .filter_map(|rule| rule.when.as_deref())
            .filter(|text| is_unknown(text))
            .map(Box::from)
            .collect();
        let open = assumed_set(&policies, &unknown, |_| true);
        Self {
            policies,
            unknown,
            open,
            sets: FxHashMap::default(),
        }
    }

    /// Adds the unknown conditions that could matter: for rules that allow, and for rules that restrict.
    fn conditions(&self, asked: &Asked<'_>, found: &mut BTreeMap<String, (bool, bool)>) {
        if self.unknown.is_empty() {
            return;
        }
        for hit in &ask(&self.open, asked).hits {
            let open = self.open.rule(hit.rule);
            let own = self
                .policies
                .iter()
                .filter(|policy| policy.namespace == open.policy.namespace && policy.name == open.policy.name)
                .flat_map(|policy| &policy.rules)
                .find(|rule| rule.name == open.rule.name);
            let text = own.and_then(|rule| rule.when.as_deref());
            if let Some(text) = text.filter(|text| self.unknown.contains(*text)) {
                let (allows, restricts) = found.entry(text.to_owned()).or_default();
                *allows |= hit.effect == Effect::Allow;
                *restricts |= hit.effect != Effect::Allow;
            }
        }
    }

    /// What happens to a request under an assumption about all unknown conditions that could matter for it.
    fn answer(&mut self, asked: &Asked<'_>, assumed: &Assumption<'_>) -> Answer {
        let set = if assumed.is_empty() {
            &self.open
        } else {
            let key: Vec<(Box<str>, Truth)> = assumed.iter().map(|(text, t)| ((*text).into(), *t)).collect();
            let (policies, unknown) = (&self.policies, &self.unknown);
            self.sets.entry(key).or_insert_with(|| {
                assumed_set(policies, unknown, |rule| {
                    let text = rule.when.as_deref();
                    match assumed.iter().find(|(other, _)| Some(*other) == text) {
                        Some((_, Truth::Yes)) => true,
                        Some((_, Truth::Failed)) => rule.effect != Effect::Allow,
                        Some((_, Truth::No)) | None => false,
                    }
                })
            })
        };
        Answer::of(set, &ask(set, asked))
    }
}

fn ask(set: &PolicySet, asked: &Asked<'_>) -> Decision {
    let facts = Facts {
        request: asked.request,
        ..Facts::of(asked.caller, asked.calls, asked.now)
    };
    decide(set, &facts)
}

/// The set without unknown conditions: their rules hold always, or are not there.
fn assumed_set(
    policies: &[PolicyDef],
    unknown: &FxHashSet<Box<str>>,
    holds: impl Fn(&RuleDef) -> bool,
) -> PolicySet {
    let rule = |rule: &RuleDef| match &rule.when {
        Some(text) if unknown.contains(text.as_str()) => holds(rule).then(|| RuleDef {
            when: None,
            ..rule.clone()
        }),
        _ => Some(rule.clone()),
    };
    let policy = |policy: &PolicyDef| PolicyDef {
        risk: None,
        limits: LimitsDef::default(),
        outbound: None,
        masks: Vec::new(),
        record_bodies: None,
        rules: policy.rules.iter().filter_map(rule).collect(),
        ..policy.clone()
    };
    PolicySet::new(policies.iter().map(policy).collect())
}
