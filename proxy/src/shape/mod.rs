//! What a request calls, where its target alone does not say: some forms of calls name what they act on in the
//! body. Their bodies are read as far as that takes, and built again from what was understood.

pub(crate) mod batch;
mod body_names;
mod content;
pub(crate) mod session;
pub(crate) mod upload;
pub(crate) mod whole;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use hyper::body::Incoming;
use jiff::Timestamp;
use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value};
use smallvec::SmallVec;
use turnpike_policy::{
    call::Call,
    caller::Caller,
    canonical,
    catalog::{Classified, Unlisted},
};

use crate::{
    body::{BoxError, RequestBody},
    coding::{self, Caps, CodingError},
    egress::Canonical,
    grpc::{self, GrpcCall, is_grpc},
    held_body::collect,
    journey::{Gateway, Refused},
    multipart,
    normalise::{is_long_get, long_get, normalise},
    record::CallRecord,
    refusal::Refusal,
    session::{Opening, SessionError},
};

/// The calls that a request makes.
pub(crate) type Calls = SmallVec<[Call; 1]>;

/// A request, understood.
#[derive(Debug)]
pub(crate) struct Shaped {
    /// What goes upstream.
    pub(crate) canonical: Canonical,
    /// Its body, as it goes upstream.
    pub(crate) body: RequestBody,
    /// The calls that it makes: all of them must be allowed.
    pub(crate) calls: Calls,
    /// What its answer will look like.
    pub(crate) form: Form,
}

/// How a call travels, as far as that says how its answer is to be read.
#[derive(Debug)]
pub(crate) enum Form {
    /// As the method's documentation has it.
    Plain,
    /// XML, or an object's content: the XML API of Cloud Storage.
    Xml,
    /// What begins the session of an upload, where its content could come with it as well.
    Opens(Option<Box<Opening>>),
    /// Content for such a session, and what began it.
    Session(Option<Box<Opening>>),
    /// The question how far an upload has come that has not begun at Google's, and its metadata. Never sent.
    Asks(Box<Map<String, Value>>),
    /// Content to or from a signed URL.
    Signed,
    /// Messages of gRPC.
    Grpc(Box<GrpcCall>),
    /// A message without the frames of gRPC, and what it answers with, where a descriptor says.
    Rpc(Option<Box<MessageDescriptor>>),
    /// Several answers in one.
    Batch(Box<batch::Batch>),
}

impl Form {
    /// What begins a session, where this does.
    pub(crate) fn opening(&self) -> Option<&Opening> {
        match self {
            Self::Opens(opening) => opening.as_deref(),
            _ => None,
        }
    }

    /// Nothing more will be read in the request.
    pub(crate) fn decided(&mut self) {
        if let Self::Batch(batch) = self {
            batch.requests = Vec::new();
        }
    }

    /// The metadata of an upload that began before, where this is about its content.
    pub(crate) fn said_before(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Session(opening) => opening.as_deref().map(Opening::metadata),
            Self::Asks(metadata) => Some(metadata),
            _ => None,
        }
    }
}

/// Takes a request apart, as far as it takes to know what it calls.
///
/// # Errors
/// The refusal to answer with.
pub(crate) async fn shape(
    gateway: &Gateway,
    record: &mut CallRecord,
    caller: &Arc<Caller>,
    authority: &str,
    mut parts: Parts,
    incoming: Incoming,
) -> Result<Shaped, Refused> {
    if is_grpc(&parts.headers) {
        return grpc::shape(gateway, record, caller, authority, &parts, incoming).await;
    }
    let mut body = if is_long_get(&parts) {
        let account = gateway.limits.read.account(&caller.name());
        let form = collect(
            incoming,
            canonical::MAX_LENGTH,
            &account,
            gateway.limits.body_within,
        )
        .await
        .map_err(|why| why.refusal())?;
        long_get(&mut parts, &form)?;
        RequestBody::whole(Bytes::new())
    } else {
        RequestBody::arriving(incoming, &record.request_bytes)
    };
    let mut canonical = normalise(&parts, authority)?;
    record.path = canonical.target.path().to_owned();
    record.verb = canonical.method.as_str().to_owned();
    // The URL has the names; what routing headers say is not looked at, and goes nowhere.
    canonical.headers.remove("x-goog-request-params");
    if grpc::is_rpc(&canonical.target) {
        return grpc::shape_rpc(gateway, record, caller, canonical, body).await;
    }
    if crate::batch::is_batch(&canonical.target) {
        return batch::shape(gateway, record, authority, canonical, body).await;
    }
    let now = Timestamp::now();
    if let Some(opened) = gateway
        .sealer
        .open_signed(caller, &canonical.target, now)
        .map_err(unopened)?
    {
        canonical.retarget(opened.target)?;
        canonical.anonymous = true;
        return Ok(Shaped {
            calls: opened.calls,
            form: Form::Signed,
            canonical,
            body,
        });
    }
    let promised = gateway.sealer.open_promised(caller, &canonical.target, now);
    if let Some(opening) = promised.map_err(unopened)? {
        return session::in_one(gateway, canonical, opening, body);
    }
    let session = gateway
        .sealer
        .open(caller, &canonical.target, now)
        .map_err(unopened)?;
    if let Some(session) = session {
        forget_xml(&mut canonical);
        canonical.retarget(session.target.clone())?;
        let mut calls = classify(gateway, &canonical)?;
        session.narrow(&mut calls).map_err(unopened)?;
        return Ok(Shaped {
            calls,
            form: Form::Session(session.opening.map(Box::new)),
            canonical,
            body,
        });
    }
    if gateway.catalog.is_storage_xml(&canonical.target) {
        // The headers as they came: what would act and is none of Google's is refused, not left out.
        let given = parts.headers.iter();
        let given = given.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let catalog = gateway.catalog;
        let found = catalog
            .classify(&canonical.target)
            .and_then(|found| catalog.storage_xml_headers(&canonical.target, found, given))
            .map_err(unlisted)?;
        return Ok(Shaped {
            calls: all(found),
            form: Form::Xml,
            canonical,
            body,
        });
    }
    forget_xml(&mut canonical);
    let mut calls = classify(gateway, &canonical)?;
    let mut form = Form::Plain;
    body_names::add_grants(gateway.catalog, &mut calls, &canonical.target, None)?;
    if upload::is_upload(&canonical.target) {
        (body, form) = upload::shape(gateway, record, &mut canonical, &mut calls, body).await?;
    } else if !body.is_end_stream() {
        let method = calls.first().map_or("", |c| c.method);
        content::check(method, &mut canonical.headers)?;
        if body_names::matter(&calls) {
            let packed = |e: CodingError| Box::new(Refusal::invalid(e.reason(), e.to_string()));
            let caps = Caps::bytes(multipart::MAX_METADATA as u64);
            let plain = coding::decoded(&canonical.headers, body, caps).map_err(packed)?;
            let plain = collected(gateway, record, Box::pin(plain), multipart::MAX_METADATA).await?;
            body_names::place(gateway.catalog, &mut calls, &canonical.target, &plain)?;
            coding::strip(&mut canonical.headers);
            body = RequestBody::whole(plain);
        } else if gateway.sealer.is_given_back(&calls) {
            let cap = gateway.limits.read_bytes;
            body = RequestBody::whole(collected(gateway, record, body, cap).await?);
        }
    }
    Ok(Shaped {
        canonical,
        body,
        calls,
        form,
    })
}

/// Headers that name something in the XML API of Cloud Storage. They mean nothing elsewhere, but where the machines are
/// the same, nobody has to rely on that.
const XML_ONLY: &[&str] = &[
    "x-goog-acl",
    "x-goog-copy-source",
    "x-goog-metadata-directive",
    "x-goog-project-id",
];

/// Drops headers that only the XML API reads from a request that is none of its.
fn forget_xml(canonical: &mut Canonical) {
    for name in XML_ONLY {
        canonical.headers.remove(*name);
    }
}

/// A body that is read whole, because it names what the call acts on.
async fn collected<B>(gateway: &Gateway, record: &CallRecord, body: B, cap: usize) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let agent = record.caller.as_ref().map(|c| c.name()).unwrap_or_default();
    let account = gateway.limits.read.account(&agent);
    let body = collect(body, cap, &account, gateway.limits.body_within).await;
    body.map_err(|why| Box::new(why.refusal()))
}

fn classify(gateway: &Gateway, canonical: &Canonical) -> Result<Calls, Refused> {
    let found = gateway.catalog.classify(&canonical.target);
    found.map(all).map_err(unlisted)
}

/// Every reading of a request: all of them are decided.
fn all(found: Classified) -> Calls {
    let mut calls = Calls::new();
    calls.push(found.call);
    calls.extend(found.also);
    calls
}

/// A request with its signed URLs as Google knows them. That is done last: nobody who approves or records the call
/// gets to see them.
///
/// # Errors
/// The refusal to answer with.
pub(crate) async fn restored(
    gateway: &Gateway,
    caller: &Caller,
    calls: &Calls,
    body: RequestBody,
) -> Result<RequestBody, Refused> {
    if !gateway.sealer.is_given_back(calls) || body.is_end_stream() {
        return Ok(body);
    }
    let bytes = match body {
        RequestBody::Whole(bytes) => bytes.unwrap_or_else(Bytes::new),
        RequestBody::Kept(body) => {
            let read = body.into_kept().bytes(gateway.limits.read_bytes).await;
            read.map_err(|why| Box::new(why.refusal()))?
        }
        body => return Ok(body),
    };
    let malformed = |_| {
        Box::new(Refusal::invalid(
            "BODY_NOT_JSON",
            "the request's body is not JSON",
        ))
    };
    let mut value: serde_json::Value = serde_json::from_slice(&bytes).map_err(malformed)?;
    let count = gateway
        .sealer
        .restore_signed_urls(caller, calls, &mut value, Timestamp::now())
        .map_err(unopened)?;
    Ok(match count {
        0 => RequestBody::whole(bytes),
        _ => RequestBody::whole(value.to_string().into()),
    })
}

fn unopened(error: SessionError) -> Refused {
    Box::new(Refusal::denied(error.reason(), error.to_string()))
}

fn unlisted(error: Unlisted) -> Refused {
    Box::new(Refusal::denied(error.reason(), error.to_string()))
}
