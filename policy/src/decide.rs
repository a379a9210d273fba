//! The decision: one function for every transport and every part of a batch.
//!
//! Deny beats RequireApproval beats Allow; what nothing matches is denied. Where one request can be taken
//! for several methods, or acts on several resources, each is decided by itself and the strictest answer
//! stands. Policies in DryRun are evaluated beside the others and change nothing.
//!
//! [`Permit`] can be made only here. It is the proof that a call may go upstream, and with which
//! credential; the proxy's egress takes nothing else.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::{
    call::Call,
    caller::Caller,
    definition::{ApprovalTimes, CredentialDef, Effect},
    digest::CallDigest,
    set::{Hit, HitMode, Hits, PolicySet, RuleId},
};

/// What a decision is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// What is called: the methods that the request can be taken for, each with its resources. Never empty.
    pub calls: &'a [Call],
    /// When.
    pub now: Timestamp,
}

/// A decision, with all that led to it.
#[derive(Debug)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// Every rule that matched, DryRun policies included.
    pub hits: Hits,
    /// What the verdict would be were the DryRun policies enforced; `None` where none of them matched.
    pub would: Option<Effect>,
}

/// What happens to a call.
#[derive(Debug)]
pub enum Verdict {
    /// It goes upstream.
    Allow(Permit),
    /// It waits for a person.
    Hold(Hold),
    /// It is refused.
    Deny(Denial),
}

impl Verdict {
    /// The effect that the verdict comes down to.
    pub fn effect(&self) -> Effect {
        match self {
            Self::Allow(_) => Effect::Allow,
            Self::Hold(_) => Effect::RequireApproval,
            Self::Deny(_) => Effect::Deny,
        }
    }
}

/// Proof that a call may go upstream. Only [`decide`] and [`resume`] make one.
#[derive(Debug)]
pub struct Permit {
    credential: Arc<CredentialDef>,
    basis: Basis,
}

/// What a permit rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Rules allow the call.
    Rules,
    /// A person approved it.
    Approval,
}

impl Permit {
    /// The credential that the call is made with.
    pub fn credential(&self) -> &Arc<CredentialDef> {
        &self.credential
    }

    /// What the permit rests on.
    pub fn basis(&self) -> Basis {
        self.basis
    }
}

/// A call that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The rules that want an approval.
    pub rules: SmallVec<[RuleId; 4]>,
    /// The shortest of their times.
    pub times: ApprovalTimes,
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// A rule denies it.
    Rule(RuleId),
    /// No rule allows it. The number is that of the call's first resource without a rule.
    NothingMatched {
        /// Number of the call.
        call: u16,
        /// Number of the resource within it.
        resource: u16,
    },
    /// The policies that let it pass name different credentials: these two rules.
    CredentialConflict(RuleId, RuleId),
}

/// Decides a call. See the module's text for the rules.
pub fn decide(set: &PolicySet, facts: &Facts<'_>) -> Decision {
    let mut hits = Hits::new();
    let mut enforced = Combined::default();
    let mut with_dry_run = Combined::default();
    let countable = |n: usize| u16::try_from(n).is_ok();
    if facts.calls.is_empty()
        || !countable(facts.calls.len())
        || !facts.calls.iter().all(|c| countable(c.resources.len()))
    {
        // Nothing to decide on can't be allowed, and no more than can be counted.
        enforced.nothing(0, 0);
        with_dry_run.nothing(0, 0);
    }
    for (c, call) in (0..u16::MAX).zip(facts.calls) {
        for (r, _) in (0..u16::MAX).zip(0..call.resources.len().max(1)) {
            let start = hits.len();
            set.collect(facts.caller, call, (c, r), &mut hits);
            enforced.unit(c, r, hits[start..].iter().filter(|h| h.mode == HitMode::Enforce));
            with_dry_run.unit(c, r, hits[start..].iter());
        }
    }
    let would = hits
        .iter()
        .any(|h| h.mode == HitMode::DryRun)
        .then(|| with_dry_run.strictest());
    let verdict = match enforced.outcome {
        Some(Outcome::Deny(denial)) => Verdict::Deny(denial),
        Some(Outcome::Allow | Outcome::Hold) => match credential(set, &hits) {
            Err(conflict) => Verdict::Deny(conflict),
            Ok(_) if enforced.outcome == Some(Outcome::Hold) => Verdict::Hold(hold(set, &hits)),
            Ok(credential) => Verdict::Allow(Permit {
                credential,
                basis: Basis::Rules,
            }),
        },
        None => Verdict::Deny(Denial::NothingMatched { call: 0, resource: 0 }),
    };
    Decision { verdict, hits, would }
}

#[derive(Debug, Default)]
struct Combined {
    outcome: Option<Outcome>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Allow,
    Hold,
    Deny(Denial),
}

impl Combined {
    fn unit<'h>(&mut self, call: u16, resource: u16, hits: impl Iterator<Item = &'h Hit>) {
        let strictest = hits.max_by_key(|h| (h.effect, std::cmp::Reverse(h.rule)));
        match strictest {
            None => self.nothing(call, resource),
            Some(hit) => self.raise(match hit.effect {
                Effect::Allow => Outcome::Allow,
                Effect::RequireApproval => Outcome::Hold,
                Effect::Deny => Outcome::Deny(Denial::Rule(hit.rule)),
            }),
        }
    }

    fn nothing(&mut self, call: u16, resource: u16) {
        self.raise(Outcome::Deny(Denial::NothingMatched { call, resource }));
    }

    fn raise(&mut self, to: Outcome) {
        let rank = |o: &Outcome| match o {
            Outcome::Allow => 0,
            Outcome::Hold => 1,
            Outcome::Deny(Denial::NothingMatched { .. }) => 2,
            // A rule that denies says more than the lack of one that allows.
            Outcome::Deny(_) => 3,
        };
        if self.outcome.is_none_or(|now| rank(&now) < rank(&to)) {
            self.outcome = Some(to);
        }
    }

    fn strictest(&self) -> Effect {
        match self.outcome {
            Some(Outcome::Allow) => Effect::Allow,
            Some(Outcome::Hold) => Effect::RequireApproval,
            Some(Outcome::Deny(_)) | None => Effect::Deny,
        }
    }
}

/// The one credential that the policies behind the passing rules name. Two different ones are a conflict:
/// nobody could say with which the call was meant to be made.
fn credential(set: &PolicySet, hits: &Hits) -> Result<Arc<CredentialDef>, Denial> {
    let mut found: Option<(RuleId, &Arc<CredentialDef>)> = None;
    for hit in hits
        .iter()
        .filter(|h| h.mode == HitMode::Enforce && h.effect != Effect::Deny)
    {
        if let Some(named) = &set.rule(hit.rule).policy.credential {
            match found {
                None => found = Some((hit.rule, named)),
                Some((_, before)) if before == named => {}
                Some((rule, _)) => return Err(Denial::CredentialConflict(rule, hit.rule)),
            }
        }
    }
    static AMBIENT: OnceLock<Arc<CredentialDef>> = OnceLock::new();
    Ok(match found {
        Some((_, named)) => named.clone(),
        None => AMBIENT.get_or_init(Arc::default).clone(),
    })
}

fn hold(set: &PolicySet, hits: &Hits) -> Hold {
    let mut rules: SmallVec<[RuleId; 4]> = hits
        .iter()
        .filter(|h| h.mode == HitMode::Enforce && h.effect == Effect::RequireApproval)
        .map(|h| h.rule)
        .collect();
    rules.sort_unstable();
    rules.dedup();
    let times = rules
        .iter()
        .map(|id| set.rule(*id).rule.approval)
        .reduce(|a, b| ApprovalTimes {
            hold_for_ms: a.hold_for_ms.min(b.hold_for_ms),
            expires_after_ms: a.expires_after_ms.min(b.expires_after_ms),
        });
    Hold {
        rules,
        times: times.unwrap_or_default(),
    }
}

/// A person's approval, as the approval request states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Digest of the call that was approved.
    pub digest: CallDigest,
    /// The rules that wanted it, each at the generation that was asked under.
    pub rules: Vec<ApprovedRule>,
    /// When it can no longer be used.
    pub expires_at: Timestamp,
}

/// A rule at one generation of its policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovedRule {
    /// UID of the policy.
    pub uid: String,
    /// Namespace of the policy.
    pub namespace: String,
    /// Name of the policy.
    pub policy: String,
    /// Generation of the policy.
    pub generation: i64,
    /// Name of the rule.
    pub rule: String,
}

/// Why an approval no longer lets its call pass.
#[derive(Debug)]
pub enum Stale {
    /// It is for another call.
    OtherCall,
    /// Its time is over.
    Expired,
    /// The policies changed since, and this rule's approval was not asked for.
    PolicyChanged(RuleId),
    /// The policies changed since and deny the call now.
    Denied(Denial),
}

/// Decides a held call again, with an approval in hand, under the policies of now. The approval stands for
/// exactly the rules it was asked under; a rule that denies is never approved away.
///
/// # Errors
/// [`Stale`] says why the approval does not let the call pass.
pub fn resume(
    set: &PolicySet,
    facts: &Facts<'_>,
    digest: &CallDigest,
    approval: &Approval,
) -> Result<Permit, Stale> {
    if !approval.digest.same_as(digest) {
        return Err(Stale::OtherCall);
    }
    if facts.now >= approval.expires_at {
        return Err(Stale::Expired);
    }
    let decision = decide(set, facts);
    let hold = match decision.verdict {
        Verdict::Allow(permit) => {
            return Ok(Permit {
                basis: Basis::Approval,
                ..permit
            });
        }
        Verdict::Deny(denial) => return Err(Stale::Denied(denial)),
        Verdict::Hold(hold) => hold,
    };
    for id in hold.rules {
        let wanted = set.rule(id);
        let asked = approval.rules.iter().any(|a| {
            a.uid == wanted.policy.uid
                && a.namespace == wanted.policy.namespace
                && a.policy == wanted.policy.name
                && a.generation == wanted.policy.generation
                && a.rule == wanted.rule.name
        });
        if !asked {
            return Err(Stale::PolicyChanged(id));
        }
    }
    match credential(set, &decision.hits) {
        Ok(credential) => Ok(Permit {
            credential,
            basis: Basis::Approval,
        }),
        Err(conflict) => Err(Stale::Denied(conflict)),
    }
}
