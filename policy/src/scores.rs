//! The risk of a call by the policies that select its agent: each scores it with weights and factors of its own.

use smallvec::SmallVec;

use crate::{
    condition::Scene,
    decide::{Denial, Facts, Ground, Outcome},
    definition::Mode,
    request::Body,
    risk::{Inputs, Score, body_matters, score},
    set::{PolicyId, PolicySet},
};

/// Scores of one call, made when they are asked for.
#[derive(Debug)]
pub(crate) struct Scores<'a> {
    set: &'a PolicySet,
    facts: &'a Facts<'a>,
    /// By the policies that score risks.
    by_policy: SmallVec<[(PolicyId, Mode, Score); 2]>,
    /// By the usual weights, where no policy in force scores.
    usual: Option<Score>,
}

impl<'a> Scores<'a> {
    pub(crate) fn new(set: &'a PolicySet, facts: &'a Facts<'a>) -> Self {
        let mut by_policy: SmallVec<[(PolicyId, Mode, Score); 2]> = SmallVec::new();
        set.for_risk(facts.caller, |id, policy| {
            if let Some(says) = &policy.risk
                && by_policy.iter().all(|(known, ..)| *known != id)
            {
                let mut holds = |i| factor_holds(set, facts, id, i);
                let score = score(&says.weights, &mut holds, &says.factors, &inputs(facts));
                by_policy.push((id, policy.mode, score));
            }
        });
        Self {
            set,
            facts,
            by_policy,
            usual: None,
        }
    }

    /// The score that a rule of a policy in this mode sees: the highest, where rules that decide don't see what
    /// policies in DryRun say. There is none where the body would say more than is known: a rule may ask for a low
    /// one too.
    pub(crate) fn highest(&mut self, mode: Mode) -> Option<u8> {
        let facts = self.facts;
        let unknown = |call| matches!(facts.request.of_call(call).body, Body::Unread | Body::Unreadable);
        if (0..)
            .zip(facts.calls)
            .any(|(c, call)| unknown(c) && body_matters(call))
        {
            return None;
        }
        let counts = |of: &Mode| mode == Mode::DryRun || *of == Mode::Enforce;
        let highest = self
            .by_policy
            .iter()
            .filter(|(_, of, _)| counts(of))
            .map(|(.., s)| s.total)
            .max();
        highest.or_else(|| Some(self.usual().total))
    }

    fn usual(&mut self) -> &Score {
        let facts = self.facts;
        self.usual.get_or_insert_with(|| {
            // Without factors, nobody asks whether one holds.
            score(&Default::default(), &mut |_| true, &[], &inputs(facts))
        })
    }

    /// What each policy makes of its score.
    pub(crate) fn judge(&self, mut visit: impl FnMut(Mode, Outcome)) {
        for (id, mode, score) in &self.by_policy {
            let Some(says) = &self.set.policy(*id).risk else {
                continue;
            };
            match (says.deny_above, says.approve_above) {
                (Some(most), _) if score.total > most => {
                    let score = score.total;
                    visit(
                        *mode,
                        Outcome::Deny(Denial::Risk {
                            policy: *id,
                            score,
                            most,
                        }),
                    );
                }
                (_, Some(most)) if score.total > most => {
                    visit(*mode, Outcome::Needs(Ground::Risk(*id)));
                }
                _ => {}
            }
        }
    }

    /// The score for the record: of the policy that scores highest. Where none scores, it is told when somebody has
    /// looked at it or a person will.
    pub(crate) fn told(mut self, held: bool) -> Option<Score> {
        if held {
            self.usual();
        }
        let decides = |mode: &Mode| *mode == Mode::Enforce;
        let Self { by_policy, usual, .. } = self;
        let enforced = by_policy.iter().any(|(_, mode, _)| decides(mode));
        by_policy
            .into_iter()
            .filter(|(_, mode, _)| decides(mode) || !enforced)
            .map(|(.., score)| score)
            .reduce(|a, b| if b.total > a.total { b } else { a })
            .or(usual)
    }
}

fn inputs<'a>(facts: &'a Facts<'a>) -> Inputs<'a> {
    Inputs {
        calls: facts.calls,
        request: &facts.request,
        pace: facts.pace,
        now: facts.now,
    }
}

/// Whether a policy's own factor holds for anything that the request calls; where that can't be found out, it does.
fn factor_holds(set: &PolicySet, facts: &Facts<'_>, policy: PolicyId, factor: usize) -> bool {
    let Some(condition) = set.factor(policy, factor) else {
        return true;
    };
    let mut units = (0..).zip(facts.calls).flat_map(|(c, call)| {
        let resources = call.resources.iter().map(Some);
        let none = call.resources.is_empty().then_some(None);
        let request = facts.request.of_call(c);
        resources
            .chain(none)
            .map(move |resource| (request, call, resource))
    });
    units.any(|(request, call, resource)| {
        let scene = Scene {
            caller: facts.caller,
            call,
            resource,
            request,
            now: facts.now,
            risk: None,
        };
        !matches!(condition.holds(&scene), Ok(false))
    })
}
