//! The record of one call: gathered while the call is decided, written as events when it is refused, held,
//! about to go upstream, and over.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use smallvec::SmallVec;
use turnpike_audit::{
    Actor, ApiCall, ApprovalRef, DecisionRecord, EncodeError, Event, FindingRef, Reading, ResourceRef,
    RiskFactorRef, RiskRef, RuleHit, Stage, Verdict,
};
use turnpike_policy::{
    PolicySet,
    call::{Call, Scope, Traits, Transport},
    caller::{Caller, Identity},
    definition::{CredentialDef, CredentialSource, Effect, Mode},
    risk::Score,
    set::{Hit, HitCondition, Hits},
};
use uuid::Uuid;

use crate::scan::{Finding, Findings};
use crate::spool::{Receipt, Spool, SpoolError};

/// Writes events of this replica.
#[derive(Debug)]
pub struct Recorder {
    spool: Arc<Spool>,
    source: String,
}

/// Why an event was not written. The call is refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It could not be serialised.
    #[error("the record cannot be written: {0}")]
    Encode(#[from] EncodeError),
    /// The spool does not take it.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Recorder {
    /// A recorder for the replica of this name.
    pub fn new(spool: Arc<Spool>, replica: &str) -> Self {
        Self {
            spool,
            source: format!("//turnpike.dev/proxies/{replica}"),
        }
    }

    /// The spool behind it.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }
}

/// An approval request, as a record names it.
#[derive(Debug, Clone)]
pub struct ApprovalNote {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Who decided.
    pub decided_by: Vec<String>,
    /// In whose words.
    pub reason: Option<String>,
}

/// What is known of a call.
#[derive(Debug, Clone)]
pub struct CallRecord {
    /// Writes it.
    pub recorder: Arc<Recorder>,
    /// Id of the call.
    pub id: Uuid,
    /// When it arrived.
    pub started: Timestamp,
    /// The same, for durations.
    pub clock: Instant,
    /// From where.
    pub peer: SocketAddr,
    /// From whom, once that is proved.
    pub caller: Option<Arc<Caller>>,
    /// HTTP verb.
    pub verb: String,
    /// Host.
    pub host: String,
    /// Canonical path, without the query.
    pub path: String,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// What the request was taken for.
    pub calls: SmallVec<[Call; 1]>,
    /// The policies that decided.
    pub set: Option<Arc<PolicySet>>,
    /// Digest of all of them.
    pub policy_digest: Option<Arc<str>>,
    /// The rules that matched.
    pub hits: Hits,
    /// What DryRun policies would have done, where that differs.
    pub would: Option<Effect>,
    /// How risky the call is, where that was asked for.
    pub risk: Option<Box<Score>>,
    /// Secrets that were found in the request's body.
    pub findings: Vec<Finding>,
    /// Why some of the body could not be searched for them.
    pub unscannable: Option<String>,
    /// What was decided.
    pub verdict: Verdict,
    /// Reason code.
    pub reason: &'static str,
    /// What the agent is told.
    pub message: Option<String>,
    /// The approval request.
    pub approval: Option<ApprovalNote>,
    /// The credential that is used.
    pub credential: Option<Arc<CredentialDef>>,
    /// Bytes of the request's body so far.
    pub request_bytes: Arc<AtomicU64>,
}

impl CallRecord {
    /// Takes what the search of the body found.
    pub fn found(&mut self, found: &Findings) {
        self.findings.clone_from(&found.hits);
        self.unscannable = found.unscannable.as_ref().map(ToString::to_string);
    }

    /// Writes an event that must be durable before anything else happens.
    ///
    /// # Errors
    /// [`RecordError`]; then the call must be refused.
    pub async fn write(&self, stage: Stage<'_>) -> Result<Receipt, RecordError> {
        let line = self.line(stage)?;
        Ok(self.recorder.spool.append(line).await?)
    }

    /// Writes an event in the order of things, durable soon.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn write_later(&self, stage: Stage<'_>) -> Result<(), RecordError> {
        let refused = matches!(stage, Stage::Refused);
        let line = self.line(stage)?;
        let spool = &self.recorder.spool;
        match refused {
            true => spool.append_refusal(&line)?,
            false => spool.append_later(&line)?,
        }
        Ok(())
    }

    /// The event as a line.
    ///
    /// # Errors
    /// When it cannot be serialised.
    pub fn line(&self, stage: Stage<'_>) -> Result<Vec<u8>, EncodeError> {
        let resources: SmallVec<[ResourceRef<'_>; 2]> = self
            .calls
            .iter()
            .flat_map(|call| &call.resources)
            .map(|r| ResourceRef {
                name: &r.name,
                kind: r.kind,
                project: r.project.as_deref(),
                location: r.location.as_deref(),
                id: r.id.as_deref(),
                below: r.scope == Scope::Below,
            })
            .collect();
        let call = self.calls.first();
        let readings: SmallVec<[Reading<'_>; 2]> = match self.calls.as_slice() {
            [_, _, ..] => self
                .calls
                .iter()
                .map(|call| Reading {
                    method: call.method,
                    resources: call.resources.len(),
                })
                .collect(),
            _ => SmallVec::new(),
        };
        let all = self
            .calls
            .iter()
            .fold(Traits::NONE, |all, call| all | call.traits);
        let traits: SmallVec<[&str; 4]> = all.names().collect();
        let (hits, policies) = self.sorted_hits();
        let rules: SmallVec<[RuleHit<'_>; 4]> = match &self.set {
            None => SmallVec::new(),
            Some(set) => hits
                .iter()
                .zip(&policies)
                .map(|(hit, policy)| {
                    let found = set.rule(hit.rule);
                    RuleHit {
                        policy,
                        rule: &found.rule.name,
                        effect: effect_name(hit.effect),
                        mode: match found.policy.mode {
                            Mode::Enforce => "Enforce",
                            Mode::DryRun => "DryRun",
                        },
                        condition: match hit.condition {
                            HitCondition::None => None,
                            HitCondition::Holds => Some("holds"),
                            HitCondition::Failed => Some("failed"),
                        },
                    }
                })
                .collect(),
        };
        let factors: SmallVec<[RiskFactorRef<'_>; 8]> = self
            .risk
            .iter()
            .flat_map(|score| &score.shares)
            .map(|share| RiskFactorRef {
                name: &share.factor,
                points: share.points,
            })
            .collect();
        let findings: SmallVec<[FindingRef<'_>; 2]> = self
            .findings
            .iter()
            .map(|f| FindingRef {
                kind: &f.kind,
                place: &f.place,
                hash: &f.hash,
            })
            .collect();
        let decided_by: SmallVec<[&str; 2]> = self
            .approval
            .iter()
            .flat_map(|a| a.decided_by.iter().map(String::as_str))
            .collect();
        let event = Event {
            id: Uuid::now_v7(),
            call_id: self.id,
            at: Timestamp::now(),
            started: self.started,
            source: &self.recorder.source,
            product_version: env!("CARGO_PKG_VERSION"),
            actor: self.actor(),
            call: ApiCall {
                transport: match call.map(|c| c.transport) {
                    Some(Transport::Grpc) => "grpc",
                    Some(Transport::Rest) | None => "rest",
                },
                verb: &self.verb,
                host: &self.host,
                path: &self.path,
                method: call.map(|c| c.method),
                api: call.map(|c| c.api),
                version: call.map(|c| c.version),
                resources: &resources,
                readings: &readings,
                traits: &traits,
                user_agent: self.user_agent.as_deref(),
                request_bytes: Some(self.request_bytes.load(Ordering::Relaxed)).filter(|n| *n > 0),
            },
            decision: DecisionRecord {
                verdict: self.verdict,
                reason: self.reason,
                rules: &rules,
                approval: self.approval.as_ref().map(|a| ApprovalRef {
                    namespace: &a.namespace,
                    name: &a.name,
                    decided_by: &decided_by,
                    reason: a.reason.as_deref(),
                }),
                would: self.would.map(verdict_of).filter(|w| *w != self.verdict),
                risk: self.risk.as_ref().map(|score| RiskRef {
                    score: score.total,
                    factors: &factors,
                }),
                findings: &findings,
                unscannable: self.unscannable.as_deref(),
                message: self.message.as_deref(),
                credential: self.credential.as_deref().map(credential_name),
                policy_digest: self.policy_digest.as_deref(),
            },
            stage,
        };
        event.to_line()
    }

    /// The hits with the strictest first, each rule once, and the names of their policies.
    fn sorted_hits(&self) -> (SmallVec<[Hit; 8]>, SmallVec<[String; 4]>) {
        let mut hits: SmallVec<[Hit; 8]> = SmallVec::new();
        for hit in &self.hits {
            if hits.iter().all(|h| h.rule != hit.rule) {
                hits.push(*hit);
            }
        }
        hits.sort_by_key(|h| (h.mode, std::cmp::Reverse(h.effect), h.rule));
        let names = match &self.set {
            None => SmallVec::new(),
            Some(set) => hits
                .iter()
                .map(|h| {
                    let policy = set.rule(h.rule).policy;
                    format!("{}/{}", policy.namespace, policy.name)
                })
                .collect(),
        };
        (hits, names)
    }

    fn actor(&self) -> Actor<'_> {
        let Some(caller) = &self.caller else {
            return Actor {
                peer: Some(self.peer),
                ..Actor::default()
            };
        };
        let (namespace, service_account, subject) = match &caller.identity {
            Identity::ServiceAccount { namespace, name } => (namespace.as_str(), name.as_str(), ""),
            Identity::Oidc { subject, .. } => ("", subject.as_str(), subject.as_str()),
        };
        Actor {
            namespace,
            service_account,
            issuer: &caller.issuer,
            subject,
            session: &caller.session,
            pod: caller.pod.as_deref(),
            peer: Some(self.peer),
        }
    }
}

fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "Allow",
        Effect::RequireApproval => "RequireApproval",
        Effect::Deny => "Deny",
    }
}

/// The verdict that an effect comes down to.
pub fn verdict_of(effect: Effect) -> Verdict {
    match effect {
        Effect::Allow => Verdict::Allow,
        Effect::RequireApproval => Verdict::Hold,
        Effect::Deny => Verdict::Deny,
    }
}

fn credential_name(credential: &CredentialDef) -> &str {
    match (&credential.impersonate, &credential.source) {
        (Some(impersonate), _) => &impersonate.service_account,
        (None, CredentialSource::Ambient) => "ambient",
        (None, CredentialSource::Key { secret, .. }) => secret,
    }
}
