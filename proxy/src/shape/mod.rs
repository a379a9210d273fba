//! What a request calls, where its target alone does not say: some forms of calls name what they act on in the
//! body. Their bodies are read as far as that takes, and built again from what was understood.

pub(crate) mod batch;
mod body_names;
mod content;
pub(crate) mod upload;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;
use hyper::body::Incoming;
use smallvec::SmallVec;
use turnpike_policy::{call::Call, caller::Caller, canonical};

use crate::{
    body::RequestBody,
    coding::{self, Caps, CodingError},
    egress::Canonical,
    grpc::{self, GrpcCall, is_grpc},
    held_body::{COLLECT_WITHIN, collect},
    journey::{Gateway, Refused},
    multipart,
    normalise::{is_long_get, long_get, normalise},
    record::CallRecord,
    refusal::Refusal,
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
    /// Messages of gRPC.
    Grpc(Box<GrpcCall>),
    /// Several answers in one.
    Batch(Box<batch::Batch>),
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
        let account = gateway.limits.held.account(&caller.name());
        let form = collect(incoming, canonical::MAX_LENGTH, &account, COLLECT_WITHIN)
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
    if crate::batch::is_batch(&canonical.target) {
        return batch::shape(gateway, record, authority, canonical, body).await;
    }
    let mut calls = classify(gateway, &canonical)?;
    if upload::is_upload(&canonical.target) {
        body = upload::shape(gateway, record, &mut canonical, &mut calls, body).await?;
    } else if !body.is_end_stream() {
        let method = calls.first().map_or("", |c| c.method);
        content::check(method, &mut canonical.headers)?;
        if body_names::matter(&calls) {
            let packed = |e: CodingError| Box::new(Refusal::invalid(e.reason(), e.to_string()));
            let caps = Caps::bytes(multipart::MAX_METADATA as u64);
            let plain = coding::decoded(&canonical.headers, body, caps).map_err(packed)?;
            let plain = collected(gateway, record, Box::pin(plain), multipart::MAX_METADATA).await?;
            body_names::place(&mut calls, &plain)?;
            coding::strip(&mut canonical.headers);
            body = RequestBody::whole(plain);
        }
    }
    Ok(Shaped {
        canonical,
        body,
        calls,
        form: Form::Plain,
    })
}

/// A body that is read whole, because it names what the call acts on.
async fn collected<B>(gateway: &Gateway, record: &CallRecord, body: B, cap: usize) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let agent = record.caller.as_ref().map(|c| c.name()).unwrap_or_default();
    let account = gateway.limits.held.account(&agent);
    let body = collect(body, cap, &account, COLLECT_WITHIN).await;
    body.map_err(|why| Box::new(why.refusal()))
}

fn classify(gateway: &Gateway, canonical: &Canonical) -> Result<Calls, Refused> {
    let found = gateway
        .catalog
        .classify(&canonical.target)
        .map_err(|unlisted| Box::new(Refusal::denied(unlisted.reason(), unlisted.to_string())))?;
    let mut calls: Calls = SmallVec::new();
    calls.push(found.call);
    calls.extend(found.also);
    Ok(calls)
}
