//! What the data path hands over for one event. Everything is borrowed: an
//! event lives only as long as it takes to write its line.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{self, EncodeError};

/// One thing that happened to one call.
///
/// A call that goes upstream has two events, its intent and its outcome, which
/// share [`Event::call_id`]; each has an [`Event::id`] of its own, which stays
/// the same however often the event is published.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Identifies this event (UUIDv7); consumers remove duplicates by it.
    pub id: Uuid,
    /// Identifies the call (UUIDv7): OCSF's `metadata.correlation_uid`.
    pub call_id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// When the call arrived, which is [`Event::at`] for all but outcomes.
    pub started: Timestamp,
    /// The replica that writes, as a CloudEvents source:
    /// `//turnpike.dev/proxies/turnpike-proxy-0`.
    pub source: &'a str,
    /// Version of the proxy that writes.
    pub product_version: &'a str,
    /// Who called.
    pub actor: Actor<'a>,
    /// What was asked for.
    pub call: ApiCall<'a>,
    /// What Turnpike decided, and why.
    pub decision: DecisionRecord<'a>,
    /// How far the call has come.
    pub stage: Stage<'a>,
}

impl Event<'_> {
    /// The event as one line of JSON, without the newline: an [`Envelope`] of
    /// id, ordering key, Pub/Sub attributes and the OCSF event.
    ///
    /// [`Envelope`]: crate::Envelope
    ///
    /// # Errors
    ///
    /// When serialisation fails; the call must then be refused.
    pub fn to_line(&self) -> Result<Vec<u8>, EncodeError> {
        envelope::encode(self)
    }
}

/// How far the call has come when the event is written.
#[derive(Debug, Clone, Copy)]
pub enum Stage<'a> {
    /// Allowed, and about to go upstream.
    Intent,
    /// Answered, by Google or by a failure on the way.
    Outcome(&'a OutcomeRecord<'a>),
    /// Refused; nothing went upstream.
    Refused,
    /// Waiting for an approver; nothing went upstream yet.
    Held,
}

impl Stage<'_> {
    /// The stage's name, as records and attributes carry it.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Intent => Phase::Intent,
            Self::Outcome(_) => Phase::Outcome,
            Self::Refused => Phase::Refused,
            Self::Held => Phase::Held,
        }
    }
}

/// The name of a [`Stage`], which subscribers filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Allowed, and about to go upstream.
    Intent,
    /// Answered, by Google or by a failure on the way.
    Outcome,
    /// Refused; nothing went upstream.
    Refused,
    /// Waiting for an approver.
    Held,
}

impl Phase {
    /// `intent`, `outcome`, `refused` or `held`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Refused => "refused",
            Self::Held => "held",
        }
    }
}

/// Who called. Strings that are empty are left out of the record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Actor<'a> {
    /// Kubernetes namespace of the agent.
    pub namespace: &'a str,
    /// Name of the agent within its namespace.
    pub service_account: &'a str,
    /// Issuer of the token that proved it.
    pub issuer: &'a str,
    /// Subject of that token.
    pub subject: &'a str,
    /// The run of the agent: events of one session keep their order.
    pub session: &'a str,
    /// Pod the agent runs in, where the token names it.
    pub pod: Option<&'a str>,
    /// Address the connection came from.
    pub peer: Option<SocketAddr>,
}

impl Actor<'_> {
    /// `namespace/name`, or `unauthenticated` for a caller that proved nothing.
    #[must_use]
    pub fn agent(&self) -> String {
        if self.namespace.is_empty() && self.service_account.is_empty() {
            UNAUTHENTICATED.to_owned()
        } else {
            format!("{}/{}", self.namespace, self.service_account)
        }
    }
}

/// The agent's name in events of callers that proved no identity.
pub(crate) const UNAUTHENTICATED: &str = "unauthenticated";

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ApiCall<'a> {
    /// `rest` or `grpc`.
    pub transport: &'a str,
    /// HTTP verb.
    pub verb: &'a str,
    /// Host the call was for, without its port.
    pub host: &'a str,
    /// Canonical path. A query never belongs here: whatever follows a `?` is
    /// dropped when the event is written, because queries carry credentials.
    pub path: &'a str,
    /// Canonical method id, where the catalogue knows the call.
    pub method: Option<&'a str>,
    /// API the method belongs to, such as `storage`.
    pub api: Option<&'a str>,
    /// Version of that API, such as `v1`.
    pub version: Option<&'a str>,
    /// The resources it touches, the most important first.
    pub resources: &'a [ResourceRef<'a>],
    /// The methods that the request is taken for, where these are not just
    /// [`ApiCall::method`] on all its resources.
    pub readings: &'a [Reading<'a>],
    /// Traits of the method: `read`, `change`, `destructive`, `iam`,
    /// `returns-credentials`.
    pub traits: &'a [&'a str],
    /// The client's `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// Bytes of the request's body, where they are known when the event is
    /// written.
    pub request_bytes: Option<u64>,
}

impl<'a> ApiCall<'a> {
    /// The path without a query.
    pub(crate) fn bare_path(&self) -> &'a str {
        match self.path.split_once('?') {
            Some((path, _)) => path,
            None => self.path,
        }
    }
}

/// One resource, named as Google's IAM Conditions write it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResourceRef<'a> {
    /// Full name: `projects/acme/locations/us-central1/functions/f`.
    pub name: &'a str,
    /// Its collection: `functions`.
    pub kind: &'a str,
    /// Project, where the name or the call tells it.
    pub project: Option<&'a str>,
    /// Region or zone.
    pub location: Option<&'a str>,
    /// Last segment of the name.
    pub id: Option<&'a str>,
    /// Whether the call is about something below it that it does not name.
    pub below: bool,
}

/// One method that a request is taken for: one of a batch, or another reading
/// of the same request.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Reading<'a> {
    /// Canonical method id.
    pub method: &'a str,
    /// How many of [`ApiCall::resources`] are its own; they stand there in the
    /// order of the readings.
    pub resources: usize,
}

/// What Turnpike decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The call may go upstream.
    Allow,
    /// The call is refused.
    Deny,
    /// The call waits for an approver.
    Hold,
}

impl Verdict {
    /// `allow`, `deny` or `hold`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hold => "hold",
        }
    }
}

/// The decision and what led to it.
#[derive(Debug, Clone, Copy)]
pub struct DecisionRecord<'a> {
    /// What was decided.
    pub verdict: Verdict,
    /// Reason code, as the agent's error carries it: `RULE_DENIED`.
    pub reason: &'a str,
    /// Every rule that matched, the one that decided first.
    pub rules: &'a [RuleHit<'a>],
    /// The approval that was asked for, or that let the call through.
    pub approval: Option<ApprovalRef<'a>>,
    /// What policies in dry-run mode would have decided, if that differs.
    pub would: Option<Verdict>,
    /// How risky the call is, where that was asked for.
    pub risk: Option<RiskRef<'a>>,
    /// Secrets that were found in the request's body.
    pub findings: &'a [FindingRef<'a>],
    /// Why some of the body could not be searched for secrets.
    pub unscannable: Option<&'a str>,
    /// The sentence the agent is shown, or a summary for people.
    pub message: Option<&'a str>,
    /// Which Google identity the call uses: `ambient`, or the e-mail address of
    /// the service account. Never a token.
    pub credential: Option<&'a str>,
    /// Digest of the policy set that decided.
    pub policy_digest: Option<&'a str>,
}

impl DecisionRecord<'_> {
    /// A decision with a reason and nothing else to tell.
    #[must_use]
    pub const fn new(verdict: Verdict, reason: &str) -> DecisionRecord<'_> {
        DecisionRecord {
            verdict,
            reason,
            rules: &[],
            approval: None,
            would: None,
            risk: None,
            findings: &[],
            unscannable: None,
            message: None,
            credential: None,
            policy_digest: None,
        }
    }
}

/// A rule that matched.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RuleHit<'a> {
    /// `namespace/name` of its policy.
    pub policy: &'a str,
    /// Name of the rule within the policy.
    pub rule: &'a str,
    /// `Allow`, `Deny` or `RequireApproval`.
    pub effect: &'a str,
    /// `Enforce` or `DryRun`.
    pub mode: &'a str,
    /// What became of its condition: `holds`, or `failed` where it could not be
    /// evaluated and so counts. Nothing where the rule has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<&'a str>,
}

/// How risky a call is.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RiskRef<'a> {
    /// From 0 to 100.
    pub score: u8,
    /// What it is made of, the largest share first.
    pub factors: &'a [RiskFactorRef<'a>],
}

/// One factor's share of a risk.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RiskFactorRef<'a> {
    /// Its name.
    pub name: &'a str,
    /// Points that it adds.
    pub points: u8,
}

/// A secret in a request's body; never its value.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct FindingRef<'a> {
    /// Its kind, such as `private-key`.
    pub kind: &'a str,
    /// Where in the body.
    pub place: &'a str,
    /// A keyed hash of the value, by which equal ones are known.
    pub hash: &'a str,
}

/// The `ApprovalRequest` a call waits for or was released by.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ApprovalRef<'a> {
    /// Namespace of the request.
    pub namespace: &'a str,
    /// Name of the request.
    pub name: &'a str,
    /// Usernames of the reviewers whose decision counted.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub decided_by: &'a [&'a str],
    /// What they gave as the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutcomeRecord<'a> {
    /// HTTP status the agent was given.
    pub status: u16,
    /// From the call's arrival to the end of its answer, holds included.
    pub latency_us: u64,
    /// The part of it that Google's answer took, from sending to its headers.
    pub upstream_us: Option<u64>,
    /// Bytes of the answer's body, as the agent got it.
    pub response_bytes: Option<u64>,
    /// What was masked in the answer.
    pub masked: &'a [MaskHit<'a>],
    /// Why the answer failed or was cut short; never the answer's own text.
    pub error: Option<&'a str>,
    /// Address the call was sent to.
    pub upstream: Option<SocketAddr>,
}

/// A kind of secret that was masked at one field path.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MaskHit<'a> {
    /// Kind of secret: `secret-payload`.
    pub kind: &'a str,
    /// Field path: `payload.data`. Never the value.
    pub path: &'a str,
    /// How many values of it.
    pub count: u64,
}
