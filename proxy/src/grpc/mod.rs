//! Calls by gRPC: the same methods, resources and rules as over REST, found in the request's first message.
//!
//! [`shape`] reads that message, asks the catalogue what it calls, and frames what goes upstream anew. Later messages
//! of a stream are looked at as they pass: one that names another resource than the first ends the stream. What
//! routing headers say is never believed.

mod answer;
mod deadline;
mod descriptors;
mod frame;
mod routing;
mod status;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Version, header, request::Parts};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use hyper::body::Incoming;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use smallvec::SmallVec;
use turnpike_policy::{
    call::Call,
    caller::Caller,
    canonical::Target,
    grpc::{GrpcMethod, Names, Ungrpc},
};

pub(crate) use self::{
    answer::{mask, mask_message},
    deadline::Deadline,
    status::{fields as trailers, response},
};
pub use self::{
    descriptors::{Descriptors, DescriptorsError},
    frame::{Coding, FrameError, Messages, framed},
};
use crate::{
    body::{BoxError, RequestBody},
    egress::Canonical,
    held_body::collect,
    journey::{Gateway, Refused},
    normalise::{media_type, normalise},
    record::CallRecord,
    refusal::Refusal,
    shape::{Form, Shaped},
};

/// Metadata that a client may send along, besides what passes with every request.
const PASSING: &[&str] = &["grpc-accept-encoding", "grpc-previous-rpc-attempts"];

/// A call by gRPC, as far as its answer and its time go.
#[derive(Debug)]
pub(crate) struct GrpcCall {
    /// What it answers with, where a descriptor says.
    pub(crate) output: Option<MessageDescriptor>,
    /// When nobody waits for it any more.
    pub(crate) deadline: Option<Deadline>,
    /// Whether the head of the answer may come late: with the first of its messages.
    pub(crate) streams: bool,
    /// Whether messages go both ways at once, so that the request's end may wait for answers.
    pub(crate) both_ways: bool,
    /// The one message of a method that takes one, and what it looks like, where a descriptor says.
    message: Option<(Bytes, MessageDescriptor)>,
}

impl GrpcCall {
    /// The JSON form of the request, where it is one message and every field of it is known: a field that no descriptor
    /// tells of may mean anything.
    pub(crate) fn request_json(&self) -> Option<serde_json::Value> {
        let (bytes, descriptor) = self.message.as_ref()?;
        let message = DynamicMessage::decode(descriptor.clone(), bytes.clone()).ok()?;
        if !is_all_known(&message) {
            return None;
        }
        serde_json::to_value(&message).ok()
    }
}

fn is_all_known(message: &DynamicMessage) -> bool {
    fn known(value: &Value) -> bool {
        match value {
            Value::Message(message) => is_all_known(message),
            Value::List(items) => items.iter().all(known),
            Value::Map(entries) => entries.values().all(known),
            _ => true,
        }
    }
    message.unknown_fields().next().is_none() && message.fields().all(|(_, value)| known(value))
}

/// Whether a request or an answer is gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let media = values.next().and_then(|v| v.to_str().ok()).map(media_type);
    values.next().is_none()
        && matches!(
            media.as_deref(),
            Some("application/grpc" | "application/grpc+proto")
        )
}

/// Takes a call by gRPC apart.
///
/// # Errors
/// The refusal to answer with.
pub(crate) async fn shape(
    gateway: &Gateway,
    record: &mut CallRecord,
    caller: &Arc<Caller>,
    authority: &str,
    parts: &Parts,
    incoming: Incoming,
) -> Result<Shaped, Refused> {
    if parts.version != Version::HTTP_2 {
        return Err(invalid("GRPC_NEEDS_HTTP2", "gRPC needs HTTP/2"));
    }
    let mut canonical = normalise(parts, authority)?;
    record.path = canonical.target.path().to_owned();
    if canonical.method != http::Method::POST || !canonical.target.query().is_empty() {
        return Err(invalid(
            "GRPC_MALFORMED",
            "gRPC calls are POST requests without a query",
        ));
    }
    let method = gateway
        .grpc
        .method(gateway.catalog, canonical.target.host(), canonical.target.path())
        .map_err(unlisted)?;
    refuse_sessions(&method)?;
    let deadline = Deadline::of(&parts.headers, record.clock)
        .map_err(|e| invalid("GRPC_TIMEOUT_MALFORMED", &e.to_string()))?;
    let coding = Coding::of(&parts.headers).map_err(|e| unframed(&e))?;
    let account = gateway.limits.read.account(&caller.name());
    let arriving = RequestBody::arriving(incoming, &record.request_bytes);
    let cap = gateway.limits.read_bytes;
    let (calls, body, only) = if method.client_streaming() {
        let mut messages = Messages::new(arriving, coding, cap, account);
        let first = tokio::time::timeout(gateway.limits.body_within, messages.next())
            .await
            .map_err(|_| invalid("BODY_TOO_SLOW", "the first message did not arrive in time"))?
            .map_err(|e| unframed(&e))?
            .ok_or_else(|| invalid("GRPC_NO_MESSAGE", "the stream ends before its first message"))?;
        let calls = classify(&method, &first)?;
        let names = method.names(&first).map_err(unlisted)?;
        let later = Later {
            method: method.clone(),
            names,
            messages,
            first: Some(framed(&first)),
        };
        (
            calls,
            RequestBody::rebuilt(later.into_body(), &Arc::default()),
            None,
        )
    } else {
        let whole = collect(arriving, cap, &account, gateway.limits.body_within)
            .await
            .map_err(|why| why.refusal())?;
        let mut messages = Messages::new(Full::new(whole), coding, cap, account);
        let message = messages
            .next()
            .await
            .map_err(|e| unframed(&e))?
            .ok_or_else(|| invalid("GRPC_NO_MESSAGE", "the request holds no message"))?;
        if messages.next().await.map_err(|e| unframed(&e))?.is_some() {
            return Err(invalid(
                "GRPC_TWO_MESSAGES",
                "the method takes one message, and there are more",
            ));
        }
        let body = RequestBody::whole(framed(&message));
        (classify(&method, &message)?, body, Some(message))
    };
    prepare(&mut canonical, &parts.headers, &calls);
    let (service, name) = method.service_and_name();
    Ok(Shaped {
        form: Form::Grpc(Box::new(GrpcCall {
            output: gateway.descriptors.output(service, name),
            deadline,
            streams: method.client_streaming() || method.server_streaming(),
            both_ways: method.client_streaming() && method.server_streaming(),
            message: only.zip(gateway.descriptors.input(service, name)),
        })),
        canonical,
        body,
        calls,
    })
}

/// Whether a request is a message by its method's name, without the frames of gRPC: `/$rpc/SERVICE/METHOD`.
pub(crate) fn is_rpc(target: &Target) -> bool {
    matches!(target.segment(0), "$rpc" | "%24rpc")
}

/// Takes a message to `/$rpc/SERVICE/METHOD` apart: the same methods as by gRPC, one message each way.
///
/// # Errors
/// The refusal to answer with.
pub(crate) async fn shape_rpc(
    gateway: &Gateway,
    record: &mut CallRecord,
    caller: &Arc<Caller>,
    mut canonical: Canonical,
    body: RequestBody,
) -> Result<Shaped, Refused> {
    let given = canonical.headers.get(header::CONTENT_TYPE);
    let media = given.and_then(|v| v.to_str().ok()).map(media_type);
    if canonical.method != http::Method::POST || media.as_deref() != Some("application/x-protobuf") {
        return Err(invalid(
            "RPC_CONTENT_TYPE",
            "calls to /$rpc/ are POST requests with application/x-protobuf",
        ));
    }
    if !canonical.target.query().is_empty() || canonical.headers.contains_key(header::CONTENT_ENCODING) {
        return Err(invalid(
            "RPC_MALFORMED",
            "calls to /$rpc/ have no query and no content coding",
        ));
    }
    let path = canonical.target.path();
    let name = path
        .splitn(3, '/')
        .nth(2)
        .map(|rest| format!("/{rest}"))
        .unwrap_or_default();
    let method = gateway
        .grpc
        .method(gateway.catalog, canonical.target.host(), &name)
        .map_err(unlisted)?;
    refuse_sessions(&method)?;
    if method.client_streaming() || method.server_streaming() {
        return Err(invalid("RPC_STREAMS", "methods that stream are called by gRPC"));
    }
    let account = gateway.limits.read.account(&caller.name());
    let message = collect(
        body,
        gateway.limits.read_bytes,
        &account,
        gateway.limits.body_within,
    )
    .await
    .map_err(|why| why.refusal())?;
    record.verb = canonical.method.as_str().to_owned();
    let calls = classify(&method, &message)?;
    canonical.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-protobuf"),
    );
    let (service, name) = method.service_and_name();
    Ok(Shaped {
        form: Form::Rpc(gateway.descriptors.output(service, name).map(Box::new)),
        canonical,
        body: RequestBody::whole(message),
        calls,
    })
}

/// Headers of a call that goes on as gRPC.
fn prepare(canonical: &mut Canonical, given: &HeaderMap, calls: &[Call]) {
    canonical.http2 = true;
    let headers = &mut canonical.headers;
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.remove(header::CONTENT_ENCODING);
    headers.remove(header::ACCEPT_ENCODING);
    if let Some(params) = headers.remove(routing::HEADER)
        && let Some(known) = routing::known(&params, calls)
    {
        headers.insert(routing::HEADER, known);
    }
    for name in PASSING {
        for value in given.get_all(*name) {
            headers.append(*name, value.clone());
        }
    }
}

/// Gives the call the time that is left.
///
/// # Errors
/// There is none.
pub(crate) fn set_deadline(
    canonical: &mut Canonical,
    deadline: Deadline,
) -> Result<std::time::Duration, Box<Refusal>> {
    let left = deadline.left().ok_or_else(|| {
        Box::new(Refusal::new(
            http::StatusCode::GATEWAY_TIMEOUT,
            "DEADLINE_EXCEEDED",
            "DEADLINE_EXCEEDED",
            "The time that the agent gave its call was over before it could go upstream; nothing was sent.",
        ))
    })?;
    canonical.headers.insert(deadline::HEADER, deadline::header(left));
    Ok(left)
}

/// The messages of a stream: the first as it was read, the later ones as they are found to be of the same call.
struct Later<B> {
    method: GrpcMethod<'static>,
    names: Names,
    messages: Messages<B>,
    first: Option<Bytes>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// A message cannot be taken out of its frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A message does not say clearly what it names.
    #[error(transparent)]
    Message(#[from] Ungrpc),
    /// It names something else than was decided.
    #[error("a later message of the stream names another resource than the first")]
    OtherResource,
}

impl StreamError {
    /// The reason as a stable code.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Frame(FrameError::BrokeOff(_)) => "BODY_BROKE_OFF",
            Self::Frame(FrameError::NoRoom(_)) => "MESSAGES_EXHAUSTED",
            Self::Frame(_) => "GRPC_MALFORMED",
            Self::Message(error) => error.reason(),
            Self::OtherResource => "GRPC_STREAM_NAMES_ANOTHER_RESOURCE",
        }
    }
}

impl<B> Later<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    async fn next(&mut self) -> Result<Option<Bytes>, StreamError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(message) = self.messages.next().await? else {
            return Ok(None);
        };
        if !self.method.names(&message)?.within(&self.names) {
            return Err(StreamError::OtherResource);
        }
        Ok(Some(framed(&message)))
    }

    fn into_body(self) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static {
        StreamBody::new(stream::unfold(Some(self), |state| async move {
            let mut state = state?;
            match state.next().await {
                Ok(Some(message)) => Some((Ok(Frame::data(message)), Some(state))),
                Ok(None) => None,
                Err(error) => Some((Err(BoxError::from(error)), None)),
            }
        }))
    }
}

/// Methods of Cloud Storage whose messages hold the id of an upload session, which is a credential, or name further
/// objects. Over REST, sessions are bound to their agent and sources are read.
const ONLY_OVER_REST: &[&str] = &[
    "CancelResumableWrite",
    "ComposeObject",
    "QueryWriteStatus",
    "StartResumableWrite",
];

fn refuse_sessions(method: &GrpcMethod<'_>) -> Result<(), Refused> {
    let (service, name) = method.service_and_name();
    match service == "google.storage.v2.Storage" && ONLY_OVER_REST.contains(&name) {
        true => Err(Box::new(Refusal::denied(
            "GRPC_UPLOAD_SESSION",
            format!("{name} is not passed on by gRPC; resumable uploads and compositions go over REST"),
        ))),
        false => Ok(()),
    }
}

fn classify(method: &GrpcMethod<'_>, message: &[u8]) -> Result<SmallVec<[Call; 1]>, Refused> {
    let found = method.classify(message).map_err(unlisted)?;
    if found.call.method == "storage.objects.insert" && found.call.resources.is_empty() {
        return Err(Box::new(Refusal::denied(
            "GRPC_UPLOAD_SESSION",
            "The message names an upload session in the place of an object. Resumable uploads go over REST.",
        )));
    }
    let mut calls = SmallVec::new();
    calls.push(found.call);
    calls.extend(found.also);
    Ok(calls)
}

fn invalid(reason: &'static str, message: &str) -> Refused {
    Box::new(Refusal::invalid(reason, message))
}

fn unlisted(error: Ungrpc) -> Refused {
    Box::new(Refusal::denied(error.reason(), error.to_string()))
}

fn unframed(error: &FrameError) -> Refused {
    let message = format!("the request's messages cannot be read: {error}");
    match error {
        FrameError::NoRoom(_) => Box::new(Refusal::exhausted("MESSAGES_EXHAUSTED", message, 10)),
        _ => invalid("GRPC_MALFORMED", &message),
    }
}
