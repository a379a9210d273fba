//! An event as OCSF API Activity (class 6003), with the profiles `cloud`,
//! `datetime` and `security_control`.
//!
//! Field names and numbers are those of <https://schema.ocsf.io/1.5.0/classes/api_activity>.
//! What OCSF has no field for is under `unmapped.turnpike`. Choices that are
//! ours:
//!
//! - `action_id` is 0 (Unknown) for a held call, with disposition 14
//!   (Delayed): it is neither allowed nor denied yet.
//! - `status_id` is 99 (Other, `Pending`) for intents and held calls.
//! - `time` is when the event happened; `start_time` and `end_time` frame the
//!   call in outcomes.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::Serializer;

use crate::envelope::Text;
use crate::record::{
    Actor, ApprovalRef, Event, FindingRef, MaskHit, OutcomeRecord, Phase, Reading, ResourceRef, RiskRef,
    RuleHit, Stage, Verdict,
};

/// The OCSF version events follow.
pub const OCSF_VERSION: &str = "1.5.0";

/// Masked fields listed in one event; their count is always whole.
const MAX_MASKED_LISTED: usize = 32;

#[derive(Serialize)]
pub(crate) struct ApiActivity<'a> {
    activity_id: u16,
    activity_name: &'static str,
    category_uid: u16,
    category_name: &'static str,
    class_uid: u16,
    class_name: &'static str,
    type_uid: u32,
    time: i64,
    time_dt: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    severity_id: u16,
    severity: &'static str,
    status_id: u16,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<Display<u16>>,
    status_detail: &'a str,
    action_id: u16,
    action: &'static str,
    disposition_id: u16,
    disposition: &'static str,
    is_alert: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Named<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firewall_rule: Option<Named<'a>>,
    message: Message<'a>,
    metadata: Metadata<'a>,
    actor: OcsfActor<'a>,
    api: Api<'a>,
    cloud: Cloud<'a>,
    src_endpoint: Endpoint<'a>,
    dst_endpoint: Endpoint<'a>,
    http_request: HttpRequest<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_response: Option<HttpResponse>,
    resources: Resources<'a>,
    unmapped: Unmapped<'a>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    version: &'static str,
    uid: &'a str,
    correlation_uid: &'a str,
    logged_time: i64,
    log_name: &'static str,
    log_provider: &'a str,
    product: Product<'a>,
    profiles: [&'static str; 3],
}

#[derive(Serialize)]
struct Product<'a> {
    name: &'static str,
    vendor_name: &'static str,
    version: &'a str,
}

#[derive(Serialize)]
struct OcsfActor<'a> {
    user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<Session<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idp: Option<Named<'a>>,
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    type_id: u16,
    r#type: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
}

#[derive(Serialize)]
struct Session<'a> {
    uid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    issuer: &'a str,
}

#[derive(Serialize)]
struct Api<'a> {
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    service: Service<'a>,
    request: ApiRequest<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ApiResponse<'a>>,
}

#[derive(Serialize)]
struct Service<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct ApiRequest<'a> {
    uid: &'a str,
}

#[derive(Serialize)]
struct ApiResponse<'a> {
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Cloud<'a> {
    provider: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_uid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<std::net::IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    svc_name: Option<&'a str>,
}

#[derive(Serialize)]
struct HttpRequest<'a> {
    http_method: &'a str,
    url: Url<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
}

#[derive(Serialize)]
struct Url<'a> {
    scheme: &'static str,
    hostname: &'a str,
    path: &'a str,
    port: u16,
}

#[derive(Serialize)]
struct HttpResponse {
    code: u16,
    /// Milliseconds, as OCSF has it; `unmapped.turnpike` has microseconds.
    latency: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
}

struct Resources<'a>(&'a [ResourceRef<'a>]);

impl Serialize for Resources<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Resource<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            uid: Option<&'a str>,
            #[serde(skip_serializing_if = "str::is_empty")]
            r#type: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            region: Option<&'a str>,
        }
        serializer.collect_seq(self.0.iter().map(|resource| Resource {
            name: resource.name,
            uid: resource.id,
            r#type: resource.kind,
            region: resource.location,
        }))
    }
}

/// Places of resources whose children a call is about.
struct Below<'a>(&'a [ResourceRef<'a>]);

impl Below<'_> {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|resource| !resource.below)
    }
}

impl Serialize for Below<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let places = self.0.iter().enumerate().filter(|(_, resource)| resource.below);
        serializer.collect_seq(places.map(|(at, _)| at))
    }
}

#[derive(Serialize)]
struct Unmapped<'a> {
    turnpike: Turnpike<'a>,
}

#[derive(Serialize)]
struct Turnpike<'a> {
    phase: Phase,
    verdict: Verdict,
    reason: &'a str,
    transport: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    traits: &'a [&'a str],
    /// What the request is taken for, where that is more than one method.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    readings: &'a [Reading<'a>],
    /// Places in `resources` of those that are only above what the call is
    /// about.
    #[serde(skip_serializing_if = "Below::is_empty")]
    below: Below<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rules: &'a [RuleHit<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risk: Option<RiskRef<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    findings: &'a [FindingRef<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    unscannable: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalRef<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_count: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    masked: &'a [MaskHit<'a>],
}

impl<'a> ApiActivity<'a> {
    pub(crate) fn of(event: &'a Event<'a>, text: &'a Text) -> Self {
        let outcome = match event.stage {
            Stage::Outcome(outcome) => Some(outcome),
            Stage::Intent | Stage::Refused | Stage::Held => None,
        };
        let activity = Activity::of(event);
        let (severity_id, severity) = severity(event, outcome);
        let (status_id, status) = status(event.stage);
        let (action_id, action, disposition_id, disposition) = disposition(event);
        let decisive = event.decision.rules.first();
        let primary = event.call.resources.first();

        Self {
            activity_id: activity as u16,
            activity_name: activity.name(),
            category_uid: 6,
            category_name: "Application Activity",
            class_uid: 6003,
            class_name: "API Activity",
            type_uid: 600_300 + activity as u32,
            time: event.at.as_millisecond(),
            time_dt: event.at,
            start_time: outcome.map(|_| event.started.as_millisecond()),
            end_time: outcome.map(|_| event.at.as_millisecond()),
            duration: outcome.map(|outcome| outcome.latency_us / 1000),
            severity_id,
            severity,
            status_id,
            status,
            status_code: outcome.map(|outcome| Display(outcome.status)),
            status_detail: event.decision.reason,
            action_id,
            action,
            disposition_id,
            disposition,
            is_alert: matches!(event.stage, Stage::Refused),
            policy: decisive.map(|rule| Named { name: rule.policy }),
            firewall_rule: decisive.map(|rule| Named { name: rule.rule }),
            message: Message { event, text },
            metadata: Metadata {
                version: OCSF_VERSION,
                uid: &text.id,
                correlation_uid: &text.call_id,
                logged_time: event.at.as_millisecond(),
                log_name: "turnpike.dev/calls",
                log_provider: event.source,
                product: Product {
                    name: "Turnpike",
                    vendor_name: "Turnpike",
                    version: event.product_version,
                },
                profiles: ["cloud", "datetime", "security_control"],
            },
            actor: OcsfActor::of(&event.actor, text),
            api: Api {
                operation: event.call.method.unwrap_or(event.call.verb),
                version: event.call.version,
                service: Service {
                    name: event.call.api.unwrap_or(event.call.host),
                },
                request: ApiRequest { uid: &text.call_id },
                response: outcome.map(|outcome| ApiResponse {
                    code: outcome.status,
                    error: outcome.error,
                }),
            },
            cloud: Cloud {
                provider: "GCP",
                project_uid: primary.and_then(|resource| resource.project),
                region: primary.and_then(|resource| resource.location),
            },
            src_endpoint: Endpoint {
                name: event.actor.pod.or(Some(&text.agent)),
                hostname: None,
                ip: event.actor.peer.map(|peer| peer.ip()),
                port: event.actor.peer.map(|peer| peer.port()),
                svc_name: None,
            },
            dst_endpoint: Endpoint {
                name: None,
                hostname: Some(event.call.host),
                ip: outcome.and_then(|o| o.upstream).map(|addr| addr.ip()),
                port: outcome.and_then(|o| o.upstream).map(|addr| addr.port()),
                svc_name: event.call.api,
            },
            http_request: HttpRequest {
                http_method: event.call.verb,
                url: Url {
                    scheme: "https",
                    hostname: event.call.host,
                    path: event.call.bare_path(),
                    port: 443,
                },
                user_agent: event.call.user_agent,
                length: event.call.request_bytes,
            },
            http_response: outcome.map(|outcome| HttpResponse {
                code: outcome.status,
                latency: outcome.latency_us / 1000,
                length: outcome.response_bytes,
            }),
            resources: Resources(event.call.resources),
            unmapped: Unmapped {
                turnpike: Turnpike::of(event, outcome),
            },
        }
    }
}

impl<'a> OcsfActor<'a> {
    fn of(actor: &Actor<'a>, text: &'a Text) -> Self {
        let known = !actor.service_account.is_empty();
        Self {
            user: User {
                name: &text.agent,
                uid: actor.subject,
                type_id: if known { 4 } else { 0 },
                r#type: if known { "Service" } else { "Unknown" },
                domain: actor.namespace,
            },
            session: (!actor.session.is_empty()).then_some(Session {
                uid: actor.session,
                issuer: actor.issuer,
            }),
            idp: (!actor.issuer.is_empty()).then_some(Named { name: actor.issuer }),
        }
    }
}

impl<'a> Turnpike<'a> {
    fn of(event: &'a Event<'a>, outcome: Option<&'a OutcomeRecord<'a>>) -> Self {
        let decision = &event.decision;
        let masked: &[MaskHit<'_>] = outcome.map_or(&[], |outcome| outcome.masked);
        Self {
            phase: event.stage.phase(),
            verdict: decision.verdict,
            reason: decision.reason,
            transport: event.call.transport,
            traits: event.call.traits,
            readings: event.call.readings,
            below: Below(event.call.resources),
            rules: decision.rules,
            would: decision.would,
            risk: decision.risk,
            findings: decision.findings,
            unscannable: decision.unscannable,
            approval: decision.approval,
            credential: decision.credential,
            policy_digest: decision.policy_digest,
            latency_us: outcome.map(|outcome| outcome.latency_us),
            upstream_us: outcome.and_then(|outcome| outcome.upstream_us),
            masked_count: (!masked.is_empty()).then(|| masked.iter().map(|hit| hit.count).sum()),
            masked: &masked[..masked.len().min(MAX_MASKED_LISTED)],
        }
    }
}

/// OCSF's `activity_id` of the class.
#[derive(Clone, Copy)]
enum Activity {
    Create = 1,
    Read = 2,
    Update = 3,
    Delete = 4,
    Other = 99,
}

impl Activity {
    /// The catalogue's word counts first, then the method's verb, then HTTP's.
    fn of(event: &Event<'_>) -> Self {
        if event.call.traits.contains(&"read") {
            return Self::Read;
        }
        let verb = event
            .call
            .method
            .and_then(|method| method.rsplit('.').next())
            .unwrap_or("");
        let starts = |words: &[&str]| words.iter().any(|word| verb.starts_with(word));
        if starts(&["create", "insert", "upload", "batchCreate"]) {
            return Self::Create;
        }
        if starts(&["delete", "destroy", "purge", "remove", "batchDelete"]) {
            return Self::Delete;
        }
        if starts(&["update", "patch", "set", "replace", "modify", "batchUpdate"]) {
            return Self::Update;
        }
        match event.call.verb {
            "GET" | "HEAD" => Self::Read,
            "PUT" | "PATCH" => Self::Update,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Read => "Read",
            Self::Update => "Update",
            Self::Delete => "Delete",
            Self::Other => "Other",
        }
    }
}

fn severity(event: &Event<'_>, outcome: Option<&OutcomeRecord<'_>>) -> (u16, &'static str) {
    const WEIGHTY: [&str; 3] = ["destructive", "iam", "returns-credentials"];
    let weighty = event.call.traits.iter().any(|t| WEIGHTY.contains(t));
    let failed = outcome.is_some_and(|outcome| outcome.error.is_some() || outcome.status >= 500);
    match event.stage {
        Stage::Refused if weighty => (4, "High"),
        Stage::Refused => (3, "Medium"),
        Stage::Held => (2, "Low"),
        Stage::Intent | Stage::Outcome(_) if weighty || failed => (2, "Low"),
        Stage::Intent | Stage::Outcome(_) => (1, "Informational"),
    }
}

fn status(stage: Stage<'_>) -> (u16, &'static str) {
    match stage {
        Stage::Intent | Stage::Held => (99, "Pending"),
        Stage::Refused => (2, "Failure"),
        Stage::Outcome(outcome) if outcome.error.is_none() && outcome.status < 400 => (1, "Success"),
        Stage::Outcome(_) => (2, "Failure"),
    }
}

fn disposition(event: &Event<'_>) -> (u16, &'static str, u16, &'static str) {
    match (event.stage, event.decision.verdict) {
        (Stage::Refused, _) | (_, Verdict::Deny) => (2, "Denied", 2, "Blocked"),
        (Stage::Held, _) | (_, Verdict::Hold) => (0, "Unknown", 14, "Delayed"),
        (Stage::Intent | Stage::Outcome(_), Verdict::Allow) => match event.decision.approval {
            Some(_) => (1, "Allowed", 8, "Approved"),
            None => (1, "Allowed", 1, "Allowed"),
        },
    }
}

/// The decision's own sentence, or one made from the facts.
struct Message<'a> {
    event: &'a Event<'a>,
    text: &'a Text,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.event;
        if let Some(message) = event.decision.message {
            return f.write_str(message);
        }
        let what = event.call.method.unwrap_or(event.call.verb);
        write!(f, "{} {what}", self.text.agent)?;
        if let Some(resource) = event.call.resources.first() {
            write!(f, " on {}", resource.name)?;
        }
        match event.stage {
            Stage::Intent => f.write_str(": allowed, sent upstream"),
            Stage::Held => f.write_str(": held for approval"),
            Stage::Refused => write!(f, ": refused, {}", event.decision.reason),
            Stage::Outcome(outcome) => match outcome.error {
                Some(error) => write!(f, ": {}, {error}", outcome.status),
                None => write!(f, ": {}", outcome.status),
            },
        }
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A value that OCSF wants as a string.
struct Display<T>(T);

impl<T: fmt::Display> Serialize for Display<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
