//! A call's journey: from a request on an intercepted connection to an answer.
//!
//! normalise, identify, classify, decide, hold, record, mint, seal, send, mask, record. Each step has its
//! own module; this one is the order of the steps and the answers when one of them says no. Policies are
//! looked up per request, so a change takes effect on open connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use smallvec::SmallVec;
use turnpike_audit::{Stage, Verdict as Recorded};
use turnpike_policy::{
    Permit, Verdict,
    call::{Call, Traits},
    caller::Caller,
    canonical::Alt,
    catalog::Catalog,
    decide::Denial,
    grpc::GrpcCatalog,
    set::PolicyId,
};
use uuid::Uuid;

use crate::{
    answer::{self, Reading, Way},
    body::{AnswerBody, RequestBody},
    budget::Budget,
    charge::charge,
    credential::Credentials,
    egress::{Canonical, Egress, EgressError, Outbound, Within},
    gate::Gate,
    grpc::{self, Descriptors},
    history::History,
    hold,
    identity::{Identifier, IdentityError, bearer},
    inflight::{Line, Upload, Watch, suspended},
    judge::{Case, judge},
    kept::Keeper,
    limits::Ledger,
    metrics::Metrics,
    normalise::user_agent,
    outcome::Outcome,
    policies::{InForce, Policies},
    record::{CallRecord, Recorder},
    recording::Recordings,
    refusal::Refusal,
    scan::carries,
    search::{Late, Search},
    session::Sealer,
    shape::{Form, Shaped, restored, session, shape},
};

/// Limits on what is held in memory.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest answer that is read to be masked.
    pub answer_bytes: usize,
    /// Largest request body that is read into memory, to know what it calls.
    pub read_bytes: usize,
    /// For all answers that are masked at a time.
    pub masked: Arc<Budget>,
    /// For all bodies of requests that are in memory at a time.
    pub read: Arc<Budget>,
    /// How long a body that is read whole may take to arrive.
    pub body_within: Duration,
}

/// How an approver approves here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApproveHint {
    /// With kubectl.
    Cluster,
    /// With the plugin on this configuration directory.
    Standalone(std::path::PathBuf),
}

/// Everything that a call needs on its way.
#[derive(Debug)]
pub struct Gateway {
    /// All methods.
    pub catalog: &'static Catalog,
    /// The same by gRPC.
    pub grpc: &'static GrpcCatalog,
    /// What messages look like.
    pub descriptors: Descriptors,
    /// Policies in force.
    pub policies: Arc<Policies>,
    /// Verifies tokens.
    pub identifier: Identifier,
    /// Seals what Google hands out as URLs, and opens it again.
    pub sealer: Sealer,
    /// Keeps bodies whole.
    pub keeper: Keeper,
    /// Searches bodies for secrets.
    pub search: Search,
    /// What agents did before.
    pub history: History,
    /// Holds calls.
    pub gate: Gate,
    /// Writes records.
    pub recorder: Arc<Recorder>,
    /// Mints credentials.
    pub credentials: Credentials,
    /// Sends.
    pub egress: Arc<Egress>,
    /// Masked bodies.
    pub recordings: Arc<Recordings>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// What agents have used up of their own limits.
    pub ledger: Arc<Ledger>,
    /// Limits.
    pub limits: Limits,
    /// What an approver is told to run, before the request's name: `kubectl turnpike approve -n NAMESPACE`.
    pub approve_hint: ApproveHint,
}

/// What is known of the connection a request arrives on.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The agent's address.
    pub peer: SocketAddr,
    /// The host that SNI and CONNECT named, in canonical form.
    pub authority: Arc<str>,
    /// The token that the CONNECT request carried. It is verified again for every call, so that one that has
    /// expired or was revoked does not live on in an open connection.
    pub proof: Option<Arc<SecretString>>,
}

/// A call that may go upstream, with all that sending it takes.
struct Cleared {
    canonical: Canonical,
    body: RequestBody,
    permit: Permit,
    caller: Arc<Caller>,
    in_force: Arc<InForce>,
    form: Form,
    /// What is to be forgotten when Google says that it is complete.
    upload: Option<carries::Key>,
    /// What will be found in its body.
    late: Option<Late>,
}

/// What becomes of a call that is not refused.
enum Clear {
    /// It may go upstream.
    Onward(Box<Cleared>),
    /// It needs nothing of Google's, or not yet.
    Answered(Box<Response<AnswerBody>>),
}

/// Boxed, because it is large and rare.
pub(crate) type Refused = Box<Refusal>;

/// Takes one request from arrival to answer.
pub async fn travel(
    gateway: Arc<Gateway>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<AnswerBody> {
    let mut record = arrive(&gateway, &connection, &request);
    let wire = Wire::of(&request);
    match clear(&gateway, &connection, request, &mut record).await {
        Ok((Clear::Onward(cleared), watch)) => forward(&gateway, *cleared, watch, record, wire).await,
        Ok((Clear::Answered(answer), _)) => *answer,
        Err(refusal) => refuse(&gateway, &mut record, *refusal, wire),
    }
}

/// The shape that the agent reads a refusal in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// JSON with an HTTP status.
    Rest,
    /// A status of gRPC.
    Grpc,
}

impl Wire {
    fn of<B>(request: &Request<B>) -> Self {
        match request.version() == http::Version::HTTP_2 && grpc::is_grpc(request.headers()) {
            true => Self::Grpc,
            false => Self::Rest,
        }
    }

    /// A refusal as an answer.
    pub(crate) fn answer(self, refusal: Refusal, call: Uuid) -> Response<AnswerBody> {
        match self {
            Self::Rest => refusal.into_response(call),
            Self::Grpc => grpc::response(&refusal, call),
        }
    }
}

fn arrive(gateway: &Gateway, connection: &Connection, request: &Request<Incoming>) -> CallRecord {
    CallRecord {
        recorder: gateway.recorder.clone(),
        id: Uuid::now_v7(),
        started: Timestamp::now(),
        clock: std::time::Instant::now(),
        peer: connection.peer,
        caller: None,
        verb: request.method().as_str().to_owned(),
        host: connection.authority.to_string(),
        path: request.uri().path().chars().take(2048).collect(),
        user_agent: user_agent(request),
        calls: SmallVec::new(),
        set: None,
        policy_digest: None,
        hits: SmallVec::new(),
        would: None,
        risk: None,
        findings: Vec::new(),
        unscannable: None,
        verdict: Recorded::Deny,
        reason: "UNDECIDED",
        message: None,
        approval: None,
        credential: None,
        request_bytes: Arc::default(),
    }
}

/// Records a refusal and answers with it. A refusal that cannot be recorded is answered all the same:
/// nothing has left.
fn refuse(gateway: &Gateway, record: &mut CallRecord, refusal: Refusal, wire: Wire) -> Response<AnswerBody> {
    record.verdict = Recorded::Deny;
    record.reason = refusal.reason;
    record.message = Some(refusal.message.clone());
    gateway.metrics.decided("deny", refusal.reason);
    if let Err(error) = record.write_later(Stage::Refused) {
        gateway.metrics.refusal_unrecorded();
        tracing::error!(call = %record.id, %error, "a refusal cannot be recorded");
    }
    wire.answer(refusal, record.id)
}

/// Everything up to the point where the call may go upstream.
async fn clear(
    gateway: &Gateway,
    connection: &Connection,
    request: Request<Incoming>,
    record: &mut CallRecord,
) -> Result<(Clear, Watch), Refused> {
    let (parts, body) = request.into_parts();
    let caller = identify(gateway, connection, &parts.headers).await?;
    record.caller = Some(caller.clone());
    let mut watch = Line::begin(&gateway.policies, &gateway.ledger, &caller).watch();
    let line = watch.line().clone();
    let clearing = clear_caller(gateway, connection, (parts, body), record, caller, &line);
    tokio::select! {
        biased;
        // A call that waits for nothing never looks at the watch.
        clear = clearing => clear.map(|clear| (clear, watch)),
        cut = watch.cut() => Err(Box::new(cut)),
    }
}

/// The same for a caller who is known. Given up when he is suspended.
async fn clear_caller(
    gateway: &Gateway,
    connection: &Connection,
    (parts, body): (http::request::Parts, Incoming),
    record: &mut CallRecord,
    caller: Arc<Caller>,
    line: &Line,
) -> Result<Clear, Refused> {
    let shaped = shape(gateway, record, &caller, &connection.authority, parts, body).await?;
    clear_shaped(gateway, shaped, record, caller, line).await
}

/// The same for a request that is understood.
async fn clear_shaped(
    gateway: &Gateway,
    shaped: Shaped,
    record: &mut CallRecord,
    caller: Arc<Caller>,
    line: &Line,
) -> Result<Clear, Refused> {
    let Shaped {
        mut canonical,
        body,
        calls,
        form,
    } = shaped;
    record.calls = calls;

    // Nothing more is read for an agent that is suspended.
    if let Err(suspended) = line.look() {
        record.policy_digest = Some(gateway.policies.load().digest.clone());
        return Err(Box::new(suspended));
    }
    let (mut case, mut verdict) = judge(gateway, record, &caller, &mut canonical, body, &form).await?;
    let mut form = match (&verdict, form) {
        (Verdict::Hold(_), Form::Session(Some(opening))) => {
            if case.ends_with_something() {
                // What a person would have to see is at Google's by now, but for the end.
                return Err(session::not_in_one());
            }
            // What is sent in the end is none of its parts.
            case.upload = None;
            let whole = session::in_one(gateway, canonical, *opening, case.body)?;
            return Box::pin(clear_shaped(gateway, whole, record, caller, line)).await;
        }
        (_, form) => form,
    };
    if matches!(verdict, Verdict::Hold(_)) {
        holdable(&form)?;
        // Whoever approves sees the body, and what is in it may be worse than what was known without it.
        let looking = case.look_closer(gateway, record, &caller, &mut canonical, &form);
        // Boxed like all that is rare, so that the others stay small.
        verdict = Box::pin(looking).await?;
    }
    let Case {
        sight,
        body,
        in_force,
        upload,
        unsearched,
        ..
    } = case;
    let here = match (&verdict, &form) {
        (Verdict::Hold(_), Form::Opens(Some(opening))) => Some(session::promised(gateway, &caller, opening)?),
        (Verdict::Hold(_) | Verdict::Allow(_), Form::Asks(_)) => Some(session::nothing_yet()),
        _ => None,
    };
    if let Some(answer) = here {
        // A call, and no change before the content is there.
        let about = (&Form::Session(None), &body);
        charge(gateway, &in_force, &caller, record, about, None)?;
        return held_later(gateway, record, answer);
    }
    let (permit, body, toll, in_force) = match verdict {
        Verdict::Deny(denial) => return Err(Box::new(denied(&in_force, record, denial, &caller))),
        Verdict::Allow(permit) => {
            record.reason = "RULE_ALLOWED";
            let toll = charge(gateway, &in_force, &caller, record, (&form, &body), None)?;
            (permit, body, toll, in_force)
        }
        Verdict::Hold(wanted) => {
            let deadline = match &form {
                Form::Grpc(call) => call.deadline,
                _ => None,
            };
            let hold_for = Duration::from_millis(wanted.terms.hold_for_ms);
            let about = (&form, &body);
            let mut toll = charge(gateway, &in_force, &caller, record, about, Some(hold_for))?;
            let mut held = hold::Wanted {
                hold: wanted,
                in_force: &in_force,
                sight: &sight,
                deadline,
                toll: &mut toll,
                line,
            };
            // In a box, as it is large and rare.
            let holding = hold::hold(gateway, record, &caller, &mut canonical, body, &mut held);
            let (permit, body) = Box::pin(holding).await?;
            record.reason = "APPROVED";
            (permit, body.into_body(), toll, gateway.policies.load().clone())
        }
    };
    let body = restored(gateway, &caller, &record.calls, body).await?;
    let (body, late) = match unsearched {
        false => (body, None),
        true => {
            let request = (&canonical, &form, &record.calls[..]);
            let spills = gateway.keeper.spills(&caller.name());
            let (body, late) = gateway.search.pass(&in_force.set, &caller, request, body, spills);
            (body, Some(late))
        }
    };
    let body = Upload::watched(body, line, toll);
    form.decided();
    let upload = upload.map(|upload| {
        let key = upload.key().clone();
        upload.sent();
        key
    });
    gateway.history.used(&caller, &record.calls);
    record.verdict = Recorded::Allow;
    record.credential = Some(permit.credential().clone());
    gateway.metrics.decided("allow", record.reason);
    Ok(Clear::Onward(Box::new(Cleared {
        canonical,
        body,
        permit,
        caller,
        in_force,
        form,
        upload,
        late,
    })))
}

/// Answers what belongs to an upload that has to wait for an approval, before there is anything to approve.
fn held_later(
    gateway: &Gateway,
    record: &mut CallRecord,
    answer: Response<AnswerBody>,
) -> Result<Clear, Refused> {
    record.verdict = Recorded::Hold;
    record.reason = "HELD_LATER";
    gateway.metrics.decided("hold", record.reason);
    match record.write_later(Stage::Held) {
        Ok(()) => Ok(Clear::Answered(Box::new(answer))),
        Err(error) => Err(Box::new(Refusal::unavailable(
            "AUDIT_UNAVAILABLE",
            format!("Turnpike answers no call unrecorded, and the record cannot be written: {error}."),
        ))),
    }
}

/// Whether a call in this form can wait for a person, who approves all that is sent.
fn holdable(form: &Form) -> Result<(), Refused> {
    match form {
        Form::Grpc(call) if call.both_ways => Err(Box::new(Refusal::denied(
            "STREAM_NOT_HELD",
            "The call needs an approval, which covers all that is sent, and messages of this method go both ways at \
             once. Use a method of the API that takes one request.",
        ))),
        Form::Opens(None) | Form::Session(_) => Err(session::not_in_one()),
        Form::Grpc(_)
        | Form::Plain
        | Form::Xml
        | Form::Opens(Some(_))
        | Form::Asks(_)
        | Form::Signed
        | Form::Rpc(_)
        | Form::Batch(_) => Ok(()),
    }
}

/// Who makes the request: its own bearer token, or what the connection was opened with. Where both prove
/// somebody, they must prove the same agent.
async fn identify(
    gateway: &Gateway,
    connection: &Connection,
    headers: &http::HeaderMap,
) -> Result<Arc<Caller>, Refused> {
    let identifier = &gateway.identifier;
    let own = bearer::authorization(headers);
    let opened_by = match &connection.proof {
        None => None,
        Some(proof) => match identifier.verify(proof.expose_secret()).await {
            Ok(caller) => Some(caller),
            Err(error) => return Err(Box::new(unidentified(&error))),
        },
    };
    let caller = match (own, opened_by) {
        (Some(token), None) => identifier.verify(&token).await,
        (None, Some(caller)) => Ok(caller),
        (None, None) => Err(IdentityError::Missing),
        (Some(token), Some(caller)) => match identifier.verify(&token).await {
            Ok(other) if other.identity == caller.identity => Ok(other),
            Ok(other) => Err(IdentityError::Conflict {
                connection: caller.name(),
                request: other.name(),
            }),
            // The client has a token of its own that is none of ours: it is dropped, not believed.
            Err(IdentityError::NotAToken | IdentityError::UnknownIssuer(_)) => Ok(caller),
            Err(error) => Err(error),
        },
    };
    caller.map_err(|error| Box::new(unidentified(&error)))
}

/// The refusal for a caller who proves nothing.
pub(crate) fn unidentified(error: &IdentityError) -> Refusal {
    let message = format!("Turnpike does not know who calls: {error}.");
    match error {
        IdentityError::Unavailable(_) => Refusal::unavailable(error.reason(), message),
        _ => Refusal::unauthenticated(error.reason(), message),
    }
}

/// The refusal for a decision, with what to do next.
pub(crate) fn denied(in_force: &InForce, record: &CallRecord, denial: Denial, caller: &Caller) -> Refusal {
    let method = record.calls.first().map_or("", |c| c.method);
    let refusal = match denial {
        Denial::Rule(id) => {
            let found = in_force.set.rule(id);
            let (policy, rule) = (
                format!("{}/{}", found.policy.namespace, found.policy.name),
                &found.rule.name,
            );
            let words = found
                .rule
                .message
                .as_deref()
                .unwrap_or("Ask the owner of the policy if the call is needed.");
            Refusal::denied(
                "RULE_DENIED",
                format!("Turnpike denies {method}: rule {rule:?} of policy {policy}. {words}"),
            )
            .with("policy", policy)
            .with("rule", rule.clone())
        }
        Denial::Suspended(id) => suspended(in_force.set.policy(id), caller),
        Denial::Risk { policy, score, most } => {
            let policy = policy_name(in_force, policy);
            let why: Vec<String> = record
                .risk
                .iter()
                .flat_map(|r| &r.shares)
                .map(|share| format!("{} {}", share.factor, share.points))
                .collect();
            Refusal::denied(
                "RISK_DENIED",
                format!(
                    "Turnpike denies {method}: its risk of {score} ({}) is above the {most} that policy {policy} lets \
                     pass.",
                    why.join(", ")
                ),
            )
            .with("policy", policy)
            .with("risk", score.to_string())
        }
        Denial::Secrets(id) => {
            let policy = policy_name(in_force, id);
            let what: Vec<String> = record
                .findings
                .iter()
                .map(|f| format!("{} at {}", f.kind, f.place))
                .take(8)
                .collect();
            Refusal::denied(
                "SECRET_IN_REQUEST",
                format!(
                    "Turnpike denies {method}: the request's body holds secrets ({}), and policy {policy} lets none out. \
                     Take them out; let the workload read them from Secret Manager.",
                    what.join(", ")
                ),
            )
            .with("policy", policy)
        }
        Denial::Unscannable(id) => {
            let policy = policy_name(in_force, id);
            Refusal::denied(
                "BODY_NOT_SCANNABLE",
                format!(
                    "Turnpike denies {method}: the request's body cannot be searched for secrets ({}), and policy \
                     {policy} lets no such body pass.",
                    record.unscannable.as_deref().unwrap_or("it was not read")
                ),
            )
            .with("policy", policy)
        }
        Denial::NothingMatched { call, resource } => {
            let call = record.calls.get(usize::from(call));
            let name = call
                .and_then(|c| c.resources.get(usize::from(resource)))
                .map_or("", |r| r.name.as_str());
            let method = call.map_or(method, |c| c.method);
            Refusal::denied(
                "NO_RULE_ALLOWS",
                format!(
                    "Turnpike denies {method} on {}: no rule of a policy that selects {} allows it. A policy allows it \
                     by a rule with methods [{method:?}] and resources [{name:?}].",
                    if name.is_empty() { "no resource" } else { name },
                    caller.name(),
                ),
            )
        }
        Denial::CredentialConflict(a, b) => {
            let name = |id| {
                let found = in_force.set.rule(id);
                format!("{}/{}", found.policy.namespace, found.policy.name)
            };
            Refusal::denied(
                "CREDENTIAL_CONFLICT",
                format!(
                    "Turnpike denies {method}: the policies {} and {} let it pass with different credentials. They \
                     must name the same one.",
                    name(a),
                    name(b)
                ),
            )
        }
    };
    refusal.with("method", method)
}

fn policy_name(in_force: &InForce, id: PolicyId) -> String {
    let policy = in_force.set.policy(id);
    format!("{}/{}", policy.namespace, policy.name)
}

/// Makes the record durable, mints the credential, sends, and passes the answer on.
async fn forward(
    gateway: &Arc<Gateway>,
    cleared: Cleared,
    mut watch: Watch,
    mut record: CallRecord,
    wire: Wire,
) -> Response<AnswerBody> {
    let Cleared {
        mut canonical,
        body,
        permit,
        caller,
        in_force,
        form,
        upload,
        late,
    } = cleared;
    let reading = reading(gateway, &canonical, &record, &caller, &in_force, &form);
    let within = match prepare(&mut canonical, reading.as_ref(), &form) {
        Ok(within) => within,
        Err(refusal) => return refuse(gateway, &mut record, *refusal, wire),
    };
    // What an answer hands out is bound to what was asked for.
    let asked = reading
        .as_ref()
        .filter(|r| r.masks)
        .map(|_| canonical.target.clone());
    // From here on the intent may be on record, so every end is an outcome.
    let line = watch.line().clone();
    let mut outcome = Outcome::begin(record, line, gateway.metrics.clone());
    outcome.searched_late(late);
    let receipt = match outcome.record().write(Stage::Intent).await {
        Ok(receipt) => receipt,
        Err(error) => {
            let record = outcome.withdraw();
            tracing::error!(call = %record.id, %error, "a call cannot be recorded and is refused");
            let message =
                format!("Turnpike lets no call pass unrecorded, and the record cannot be written: {error}.");
            return refuse(
                gateway,
                record,
                Refusal::unavailable("AUDIT_UNAVAILABLE", message),
                wire,
            );
        }
    };
    let credential = match gateway.credentials.mint(&permit).await {
        Ok(credential) => credential,
        Err(error) => {
            outcome.reserve(receipt.into_room());
            let message = format!("Turnpike has no credential for this call: {error}.");
            let refusal = Refusal::unavailable("CREDENTIAL_UNAVAILABLE", message);
            return failed(outcome, refusal, wire);
        }
    };
    if watch.is_cut() {
        outcome.reserve(receipt.into_room());
        let cut = watch.cut().await;
        return failed(outcome, cut, wire);
    }
    let (outbound, room) = Outbound::seal(canonical, body, permit, receipt, credential);
    outcome.reserve(room);
    let sent = std::time::Instant::now();
    let answered = tokio::select! {
        biased;
        answered = gateway.egress.send(outbound, within) => answered,
        cut = watch.cut() => return failed(outcome, cut, wire),
    };
    match answered {
        Ok(answer) => {
            if let Some(upload) = upload {
                gateway.search.answered(&upload, &answer);
            }
            let answer = answer.map(|body| body.watched(watch));
            outcome.answered_after(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
            let way = Way {
                gateway,
                caller: &caller,
                form,
                asked,
            };
            answer::pass_on(answer, outcome, reading, way).await
        }
        Err(EgressError::Body(refusal)) => failed(outcome, *refusal, wire),
        Err(error) => {
            let (http, status) = match (&error, within) {
                (EgressError::Timeout { .. }, Within::Deadline(_)) => {
                    (http::StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED")
                }
                _ => (http::StatusCode::BAD_GATEWAY, "UNAVAILABLE"),
            };
            let message = format!("Turnpike allowed the call and got no answer: {error}.");
            failed(outcome, Refusal::new(http, status, error.reason(), message), wire)
        }
    }
}

/// Says upstream what can be read here, and how long there is for it.
fn prepare(
    canonical: &mut Canonical,
    reading: Option<&Reading>,
    form: &Form,
) -> Result<Within, Box<Refusal>> {
    let masks = reading.is_some_and(|r| r.masks);
    if masks && matches!(form, Form::Rpc(None)) {
        return Err(Box::new(no_descriptor()));
    }
    match form {
        Form::Batch(_) => {
            canonical
                .headers
                .insert(header::ACCEPT_ENCODING, answer::READABLE);
            Ok(Within::Usual)
        }
        Form::Plain
        | Form::Xml
        | Form::Opens(_)
        | Form::Session(_)
        | Form::Asks(_)
        | Form::Signed
        | Form::Rpc(_) => {
            if reading.is_some() {
                let coding = if masks { answer::READABLE } else { answer::PLAIN };
                canonical.headers.insert(header::ACCEPT_ENCODING, coding);
                canonical.headers.remove(header::RANGE);
            }
            Ok(Within::Usual)
        }
        Form::Grpc(call) => {
            if masks {
                if call.output.is_none() {
                    return Err(Box::new(no_descriptor()));
                }
                canonical
                    .headers
                    .insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
            }
            Ok(match call.deadline {
                Some(deadline) => {
                    let left = grpc::set_deadline(canonical, deadline)?;
                    if call.streams {
                        Within::AsLongAsItTakes
                    } else {
                        Within::Deadline(left)
                    }
                }
                None if call.streams => Within::AsLongAsItTakes,
                None => Within::Usual,
            })
        }
    }
}

fn no_descriptor() -> Refusal {
    Refusal::denied(
        "NO_DESCRIPTOR",
        "The answer may hold secrets, and Turnpike has no descriptor to find them by. Make the call over REST, or have \
         its descriptor added to the gateway (`descriptors` in turnpike.yaml).",
    )
}

fn failed(mut outcome: Outcome, refusal: Refusal, wire: Wire) -> Response<AnswerBody> {
    // A request that was cut off gets no answer, which is no fault of Google's.
    let refusal = outcome.cut().cloned().unwrap_or(refusal);
    outcome.status(refusal.http.as_u16());
    outcome.broke_off(refusal.reason);
    let id = outcome.record().id;
    wire.answer(refusal, id)
}

/// Whether the answer has to be read, and what for. The content of an object is no answer with fields, so
/// field masks do not apply to it; where a method returns credentials, its answer is read in any form.
fn reading(
    gateway: &Gateway,
    canonical: &Canonical,
    record: &CallRecord,
    caller: &Arc<Caller>,
    in_force: &Arc<InForce>,
    form: &Form,
) -> Option<Reading> {
    let object = |c: &Call| c.method == "storage.objects.get";
    let content = match form {
        Form::Xml => record.calls.iter().all(object),
        Form::Signed => true,
        _ => canonical.method == http::Method::GET && canonical.target.alt() == Alt::Media,
    };
    let sensitive = record
        .calls
        .iter()
        .any(|c| c.traits.contains(Traits::RETURNS_CREDENTIALS));
    if content && !sensitive {
        return None;
    }
    let keep = in_force
        .set
        .body_retention(caller)
        .map(|r| (gateway.recordings.clone(), Duration::from_millis(r.keep_ms)));
    let masks = !in_force.set.mask_plan(caller, &record.calls).is_empty();
    // The answers of a batch go back under the ids that the agent gave.
    let batch = matches!(form, Form::Batch(_));
    (keep.is_some() || masks || batch).then(|| Reading {
        set: in_force.set.clone(),
        caller: caller.clone(),
        masks,
        keep,
    })
}
