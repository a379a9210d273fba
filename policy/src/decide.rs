//! The decision: one function for every transport and every part of a batch.
//!
//! Deny beats RequireApproval beats Allow; what nothing matches is denied. Where one request can be taken
//! for several methods, or acts on several resources, each is decided by itself and the strictest answer
//! stands. What rules let pass can still be held or refused for its risk, or for secrets in its body; nothing makes
//! an answer looser than the rules'. Policies in DryRun are evaluated beside the others and change nothing, but an
//! agent that any policy suspends is refused everything.
//!
//! [`Permit`] can be made only here. It is the proof that a call may go upstream, and with which
//! credential; the proxy's egress takes nothing else.

use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::{
    call::Call,
    caller::Caller,
    condition::Scene,
    definition::{ApprovalDef, CredentialDef, Effect, Mode},
    digest::CallDigest,
    request::RequestFacts,
    risk::{Pace, Score},
    scores::Scores,
    set::{Hit, HitCondition, HitMode, Hits, PolicyId, PolicySet, RuleId},
    terms::Terms,
};

/// What a decision is made of.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Who calls.
    pub caller: &'a Caller,
    /// What is called: the methods that the request can be taken for, each with its resources. Never empty.
    pub calls: &'a [Call],
    /// What else is known of the request. What [`PolicySet::needs`] asks for must be there, or it counts as what is
    /// stricter.
    pub request: RequestFacts<'a>,
    /// What was found in its body.
    pub searched: Searched<'a>,
    /// What the agent did before.
    pub pace: Pace,
    /// When.
    pub now: Timestamp,
}

impl<'a> Facts<'a> {
    /// Facts of a call of which nothing but the call itself is known.
    pub fn of(caller: &'a Caller, calls: &'a [Call], now: Timestamp) -> Self {
        Self {
            caller,
            calls,
            request: RequestFacts::default(),
            searched: Searched::Not,
            pace: Pace::default(),
            now,
        }
    }
}

/// What came of the search for secrets in a request's body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Searched<'a> {
    /// It was not searched.
    #[default]
    Not,
    /// It was, or there is none.
    Through {
        /// The kinds of what was found.
        kinds: &'a [String],
        /// Whether some of it could not be searched.
        unscannable: bool,
    },
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
    /// How risky the call is, where a policy asks or a person will: by the weights of the policy that scores it
    /// highest.
    pub risk: Option<Score>,
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
    /// What wants an approval.
    pub grounds: SmallVec<[Ground; 4]>,
    /// What an approval takes.
    pub terms: Terms,
}

/// The part of a policy that wants an approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ground {
    /// A rule.
    Rule(RuleId),
    /// The threshold of its risk.
    Risk(PolicyId),
    /// What it says of secrets in requests.
    Secrets(PolicyId),
}

impl Ground {
    /// The name of [`Ground::Risk`] in approval requests, which is no name of a rule.
    pub const RISK: &'static str = "spec.risk";
    /// The name of [`Ground::Secrets`].
    pub const SECRETS: &'static str = "spec.secrets";

    /// The policy.
    pub fn policy(self, set: &PolicySet) -> PolicyId {
        match self {
            Self::Rule(id) => set.policy_of(id),
            Self::Risk(id) | Self::Secrets(id) => id,
        }
    }

    /// The name within the policy: the rule's, or [`Self::RISK`] or [`Self::SECRETS`].
    pub fn name(self, set: &PolicySet) -> &str {
        match self {
            Self::Rule(id) => &set.rule(id).rule.name,
            Self::Risk(_) => Self::RISK,
            Self::Secrets(_) => Self::SECRETS,
        }
    }

    /// What its approval takes; `None` where the policy does not say.
    fn approval(self, set: &PolicySet) -> Option<&ApprovalDef> {
        match self {
            Self::Rule(id) => Some(&set.rule(id).rule.approval),
            Self::Risk(id) => set.policy(id).risk.as_ref().map(|r| &r.approval),
            Self::Secrets(id) => set.policy(id).outbound.as_ref().map(|o| &o.approval),
        }
    }
}

/// Why a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// A policy suspends the agent.
    Suspended(PolicyId),
    /// A rule denies it.
    Rule(RuleId),
    /// It is riskier than a policy lets pass.
    Risk {
        /// The policy.
        policy: PolicyId,
        /// The call's score.
        score: u8,
        /// The score that the policy lets pass.
        most: u8,
    },
    /// Its body holds secrets.
    Secrets(PolicyId),
    /// Its body cannot be searched for secrets.
    Unscannable(PolicyId),
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
    let mut scores = Scores::new(set, facts);
    for (c, call) in (0..u16::MAX).zip(facts.calls) {
        for (r, _) in (0..u16::MAX).zip(0..call.resources.len().max(1)) {
            let start = hits.len();
            let scene = Scene {
                caller: facts.caller,
                call,
                resource: call.resources.get(usize::from(r)),
                request: facts.request.of_call(usize::from(c)),
                now: facts.now,
                risk: None,
            };
            set.collect(&scene, (c, r), &mut |mode| scores.highest(mode), &mut hits);
            enforced.unit(c, r, hits[start..].iter().filter(|h| h.mode == HitMode::Enforce));
            with_dry_run.unit(c, r, hits[start..].iter());
        }
    }
    let mut dry_runs = hits.iter().any(|h| h.mode == HitMode::DryRun);
    let mut stricter = |mode, outcome| {
        match mode {
            Mode::Enforce => enforced.stricter(outcome),
            Mode::DryRun => dry_runs = true,
        }
        with_dry_run.stricter(outcome);
    };
    scores.judge(&mut stricter);
    secrets(set, facts, &mut stricter);
    if let Some(policy) = set.suspender(facts.caller) {
        let suspended = Outcome::Deny(Denial::Suspended(policy));
        enforced.raise(suspended);
        with_dry_run.raise(suspended);
    }
    let would = dry_runs.then(|| with_dry_run.strictest());
    let verdict = match enforced.outcome {
        Some(Outcome::Deny(denial)) => Verdict::Deny(denial),
        Some(passes) => match credential(set, &hits) {
            Err(conflict) => Verdict::Deny(conflict),
            Ok(credential) if passes == Outcome::Allow => Verdict::Allow(Permit {
                credential,
                basis: Basis::Rules,
            }),
            Ok(_) => Verdict::Hold(hold(set, &hits, &enforced.grounds)),
        },
        None => Verdict::Deny(Denial::NothingMatched { call: 0, resource: 0 }),
    };
    let risk = scores.told(matches!(verdict, Verdict::Hold(_)));
    Decision {
        verdict,
        hits,
        would,
        risk,
    }
}

/// What the policies say of what was found in the body. A body that nobody searched counts as one that cannot be.
fn secrets(set: &PolicySet, facts: &Facts<'_>, mut visit: impl FnMut(Mode, Outcome)) {
    let (kinds, unscannable) = match facts.searched {
        Searched::Not => (&[][..], true),
        Searched::Through { kinds, unscannable } => (kinds, unscannable),
    };
    if kinds.is_empty() && !unscannable {
        return;
    }
    set.for_outbound(facts.caller, |id, policy| {
        let Some(says) = &policy.outbound else { return };
        let mut found = |effect, denial| match effect {
            Effect::Allow => {}
            Effect::RequireApproval => visit(policy.mode, Outcome::Needs(Ground::Secrets(id))),
            Effect::Deny => visit(policy.mode, Outcome::Deny(denial)),
        };
        if !kinds.is_empty() {
            found(says.requests, Denial::Secrets(id));
        }
        if unscannable {
            found(says.unscannable, Denial::Unscannable(id));
        }
    });
}

#[derive(Debug, Default)]
struct Combined {
    outcome: Option<Outcome>,
    /// What wants an approval besides rules.
    grounds: SmallVec<[Ground; 2]>,
}

/// What one part of the policies says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It lets the call pass.
    Allow,
    /// A rule wants an approval.
    Hold,
    /// Something else wants one.
    Needs(Ground),
    /// It refuses the call.
    Deny(Denial),
}

impl Combined {
    fn unit<'h>(&mut self, call: u16, resource: u16, hits: impl Iterator<Item = &'h Hit>) {
        let mut strictest: Option<&Hit> = None;
        let mut opens = false;
        for hit in hits {
            let rank = |h: &Hit| (h.effect, std::cmp::Reverse(h.rule));
            if strictest.is_none_or(|s| rank(hit) > rank(s)) {
                strictest = Some(hit);
            }
            // A rule whose condition failed restricts, but what only it would let pass stays refused.
            opens |= hit.condition != HitCondition::Failed;
        }
        match strictest.map(|hit| (hit.effect, hit.rule)) {
            Some((Effect::Deny, rule)) => self.raise(Outcome::Deny(Denial::Rule(rule))),
            Some((Effect::RequireApproval, _)) if opens => self.raise(Outcome::Hold),
            Some((Effect::Allow, _)) => self.raise(Outcome::Allow),
            Some((Effect::RequireApproval, _)) | None => self.nothing(call, resource),
        }
    }

    fn nothing(&mut self, call: u16, resource: u16) {
        self.raise(Outcome::Deny(Denial::NothingMatched { call, resource }));
    }

    /// Raises what rules let pass.
    fn stricter(&mut self, to: Outcome) {
        match to {
            Outcome::Needs(ground) => {
                if !self.grounds.contains(&ground) {
                    self.grounds.push(ground);
                }
                self.raise(Outcome::Hold);
            }
            to => self.raise(to),
        }
    }

    fn raise(&mut self, to: Outcome) {
        let rank = |o: &Outcome| match o {
            Outcome::Allow => 0,
            Outcome::Hold | Outcome::Needs(_) => 1,
            Outcome::Deny(Denial::Risk { .. } | Denial::Secrets(_) | Denial::Unscannable(_)) => 2,
            Outcome::Deny(Denial::NothingMatched { .. }) => 3,
            // A rule that denies says more than the lack of one that allows.
            Outcome::Deny(Denial::Rule(_) | Denial::CredentialConflict(..)) => 4,
            Outcome::Deny(Denial::Suspended(_)) => 5,
        };
        if self.outcome.is_none_or(|now| rank(&now) < rank(&to)) {
            self.outcome = Some(to);
        }
    }

    fn strictest(&self) -> Effect {
        match self.outcome {
            Some(Outcome::Allow) => Effect::Allow,
            Some(Outcome::Hold | Outcome::Needs(_)) => Effect::RequireApproval,
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

fn hold(set: &PolicySet, hits: &Hits, others: &[Ground]) -> Hold {
    let mut grounds: SmallVec<[Ground; 4]> = hits
        .iter()
        .filter(|h| h.mode == HitMode::Enforce && h.effect == Effect::RequireApproval)
        .map(|h| Ground::Rule(h.rule))
        .chain(others.iter().copied())
        .collect();
    grounds.sort_unstable();
    grounds.dedup();
    let terms = Terms::combined(grounds.iter().filter_map(|ground| ground.approval(set)));
    Hold { grounds, terms }
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
    /// Name of the rule, or of the ground that is none ([`Ground::name`]).
    pub rule: String,
}

/// Why an approval no longer lets its call pass.
#[derive(Debug)]
pub enum Stale {
    /// It is for another call.
    OtherCall,
    /// Its time is over.
    Expired,
    /// The policies changed since, and this ground's approval was not asked for.
    PolicyChanged(Ground),
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
    for ground in hold.grounds {
        let wanted = set.policy(ground.policy(set));
        let name = ground.name(set);
        let asked = approval.rules.iter().any(|a| {
            a.uid == wanted.uid
                && a.namespace == wanted.namespace
                && a.policy == wanted.name
                && a.generation == wanted.generation
                && a.rule == name
        });
        if !asked {
            return Err(Stale::PolicyChanged(ground));
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
