//! A stored trail, parsed and printed for people: what the CLI and the demo
//! show. It reads the spool's envelopes, the local topic's lines and messages
//! that came out of Pub/Sub, and ignores fields it doesn't know, so that a
//! newer proxy's trail stays readable.
//!
//! It proves nothing about what it reads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::record::{Phase, UNAUTHENTICATED, Verdict};

/// A line is not a stored event.
#[derive(Debug, thiserror::Error)]
#[error("not a stored audit event: {0}")]
pub struct ParseError(#[from] serde_json::Error);

/// Parses a line of the spool's envelopes or of a local topic, or an OCSF event
/// by itself.
///
/// # Errors
///
/// When the line is no event.
pub fn parse_line(line: &[u8]) -> Result<StoredEvent, ParseError> {
    let error = match serde_json::from_slice::<StoredEvent>(line) {
        Ok(stored) => return Ok(stored),
        Err(error) => error,
    };
    match serde_json::from_slice::<AuditEvent>(line) {
        Ok(event) => Ok(StoredEvent {
            id: event.metadata.uid.clone(),
            key: event
                .actor
                .session
                .as_ref()
                .map_or_else(String::new, |s| s.uid.clone()),
            attributes: BTreeMap::new(),
            event,
        }),
        Err(_) => Err(error.into()),
    }
}

/// An event as it was stored.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredEvent {
    /// The event's id.
    #[serde(alias = "messageId")]
    pub id: String,
    /// Ordering key: the session.
    #[serde(alias = "orderingKey", default)]
    pub key: String,
    /// Message attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// The OCSF event, as far as it is read back.
    #[serde(rename = "data")]
    pub event: AuditEvent,
}

impl StoredEvent {
    /// Puts together what a Pub/Sub subscriber receives.
    ///
    /// # Errors
    ///
    /// When the payload is no event.
    pub fn from_message(
        key: &str,
        attributes: BTreeMap<String, String>,
        data: &[u8],
    ) -> Result<Self, ParseError> {
        let event: AuditEvent = serde_json::from_slice(data)?;
        Ok(Self {
            id: event.metadata.uid.clone(),
            key: key.to_owned(),
            attributes,
            event,
        })
    }

    /// `namespace/name` of the agent.
    #[must_use]
    pub fn agent(&self) -> &str {
        if self.event.actor.user.name.is_empty() {
            UNAUTHENTICATED
        } else {
            &self.event.actor.user.name
        }
    }

    /// The first resource's name, or the request's host and path.
    #[must_use]
    pub fn resource(&self) -> String {
        match self.event.resources.first() {
            Some(resource) => resource.name.clone(),
            None => {
                let url = &self.event.http_request.url;
                format!("{}{}", url.hostname, url.path)
            }
        }
    }

    /// One line for people: time, agent, phase, decision, method, resource,
    /// then status, rule, approval and masking where there are any.
    #[must_use]
    pub fn summary(&self) -> String {
        let event = &self.event;
        let turnpike = &event.unmapped.turnpike;
        let mut line = format!(
            "{}  {}  {:7}  {:5}  {}  {}",
            event.time_dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"),
            self.agent(),
            turnpike.phase.as_str(),
            turnpike.verdict.as_str(),
            event.api.operation,
            self.resource(),
        );
        let mut add = |text: std::fmt::Arguments<'_>| line.push_str(&text.to_string());
        if let Some(response) = &event.http_response {
            add(format_args!("  {} in {} ms", response.code, response.latency));
        }
        if let Some(error) = event.api.response.as_ref().and_then(|r| r.error.as_ref()) {
            add(format_args!("  error={error}"));
        }
        match turnpike.rules.first() {
            Some(rule) => add(format_args!("  rule={}/{}", rule.policy, rule.rule)),
            None if !turnpike.reason.is_empty() => add(format_args!("  reason={}", turnpike.reason)),
            None => {}
        }
        if let Some(approval) = &turnpike.approval {
            add(format_args!(
                "  approval={}/{}",
                approval.namespace, approval.name
            ));
            if !approval.decided_by.is_empty() {
                add(format_args!(" by {}", approval.decided_by.join(", ")));
            }
        }
        if let Some(would) = turnpike.would {
            add(format_args!("  dry-run={}", would.as_str()));
        }
        if let Some(count) = turnpike.masked_count {
            add(format_args!("  masked={count}"));
        }
        line
    }
}

/// The OCSF event, as far as it is read back.
#[derive(Debug, Clone, Deserialize)]
pub struct AuditEvent {
    /// When it happened.
    pub time_dt: Timestamp,
    /// The sentence about it.
    #[serde(default)]
    pub message: String,
    /// Ids of event and call.
    pub metadata: EventMetadata,
    /// Who called.
    pub actor: EventActor,
    /// What was called.
    pub api: EventApi,
    /// The request.
    pub http_request: EventRequest,
    /// The answer, in outcomes.
    pub http_response: Option<EventResponse>,
    /// Resources touched.
    #[serde(default)]
    pub resources: Vec<EventResource>,
    /// What OCSF lacks.
    pub unmapped: EventUnmapped,
}

/// OCSF `metadata`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventMetadata {
    /// The event's id.
    pub uid: String,
    /// The call's id, shared by intent and outcome.
    pub correlation_uid: String,
    /// The replica that wrote.
    #[serde(default)]
    pub log_provider: String,
}

/// OCSF `actor`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventActor {
    /// The agent.
    pub user: EventUser,
    /// Its run.
    pub session: Option<EventSession>,
    /// Who vouches for it.
    pub idp: Option<EventIssuer>,
}

/// OCSF `idp`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventIssuer {
    /// Issuer of its token.
    pub name: String,
}

/// OCSF `user`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EventUser {
    /// `namespace/name`.
    pub name: String,
    /// Subject of its token.
    pub uid: String,
    /// Its namespace; empty for an agent that is no ServiceAccount.
    pub domain: String,
}

/// OCSF `session`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventSession {
    /// Session id.
    pub uid: String,
}

/// OCSF `api`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventApi {
    /// Canonical method id, or the HTTP verb of an unknown call.
    pub operation: String,
    /// The API that the method is of, or the host of an unknown call.
    pub service: Option<EventService>,
    /// The answer, in outcomes.
    pub response: Option<EventApiResponse>,
}

/// OCSF `service`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventService {
    /// Name of the API, such as `storage`.
    pub name: String,
}

/// OCSF `response`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventApiResponse {
    /// HTTP status.
    pub code: u16,
    /// Why the answer failed or was cut short.
    pub error: Option<String>,
}

/// OCSF `http_request`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventRequest {
    /// HTTP verb.
    pub http_method: String,
    /// Where to.
    pub url: EventUrl,
}

/// OCSF `url`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventUrl {
    /// Host.
    pub hostname: String,
    /// Path, without a query.
    pub path: String,
}

/// OCSF `http_response`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventResponse {
    /// HTTP status the agent was given.
    pub code: u16,
    /// Milliseconds.
    #[serde(default)]
    pub latency: u64,
    /// Bytes of the answer's body.
    pub length: Option<u64>,
}

/// OCSF `resource_details`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventResource {
    /// Full resource name.
    pub name: String,
    /// Collection.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Its id within the collection.
    pub uid: Option<String>,
    /// Region or zone.
    pub region: Option<String>,
}

/// OCSF `unmapped`.
#[derive(Debug, Clone, Deserialize)]
pub struct EventUnmapped {
    /// Turnpike's own facts.
    pub turnpike: EventFacts,
}

/// Turnpike's own facts.
#[derive(Debug, Clone, Deserialize)]
pub struct EventFacts {
    /// How far the call had come.
    pub phase: Phase,
    /// What was decided.
    pub verdict: Verdict,
    /// Reason code.
    #[serde(default)]
    pub reason: String,
    /// `rest` or `grpc`.
    #[serde(default)]
    pub transport: String,
    /// The methods that the request is taken for, where they are more than one.
    #[serde(default)]
    pub readings: Vec<EventReading>,
    /// Places in `resources` of those that are only above what the call is
    /// about.
    #[serde(default)]
    pub below: Vec<usize>,
    /// Rules that matched, the one that decided first.
    #[serde(default)]
    pub rules: Vec<EventRule>,
    /// What dry-run policies would have decided, if that differs.
    pub would: Option<Verdict>,
    /// Approval that was asked for or that let the call through.
    pub approval: Option<EventApproval>,
    /// Which Google identity the call uses.
    pub credential: Option<String>,
    /// The whole latency.
    pub latency_us: Option<u64>,
    /// How many values were masked.
    pub masked_count: Option<u64>,
    /// What was masked.
    #[serde(default)]
    pub masked: Vec<EventMask>,
}

/// One of the methods that a request is taken for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EventReading {
    /// Canonical method id.
    pub method: String,
    /// How many of the resources are its own, in order.
    pub resources: usize,
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EventRule {
    /// `namespace/name` of its policy.
    pub policy: String,
    /// Name of the rule.
    pub rule: String,
    /// `Allow`, `Deny` or `RequireApproval`.
    pub effect: String,
    /// `Enforce` or `DryRun`.
    pub mode: String,
}

/// An approval.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EventApproval {
    /// Namespace of the request.
    pub namespace: String,
    /// Name of the request.
    pub name: String,
    /// Reviewers whose decision counted.
    #[serde(default)]
    pub decided_by: Vec<String>,
    /// Their reason.
    pub reason: Option<String>,
}

/// A masked field.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EventMask {
    /// Kind of secret.
    pub kind: String,
    /// Field path.
    pub path: String,
    /// How many values of it.
    pub count: u64,
}
