//! Batches: every call in them is understood like one that comes alone, and all are decided together. What one of
//! them may not do, the batch may not; what one of them needs an approval for, the batch waits for.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderValue, header};

use super::{Calls, Form, Shaped, body_names, classify, collected, content, forget_xml};
use crate::{
    batch::{self, BatchError, Caps},
    body::RequestBody,
    coding,
    egress::Canonical,
    journey::{Gateway, Refused},
    normalise::normalise,
    record::CallRecord,
    refusal::Refusal,
};

/// What is needed to read the answers.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Where each request's calls stand among all.
    pub(crate) calls: Vec<Range<usize>>,
    /// What the agent calls each request.
    pub(crate) ids: Vec<Option<HeaderValue>>,
    /// The requests, as long as something may still have to be read in them.
    pub(crate) requests: Vec<(Canonical, Bytes)>,
}

/// Takes a batch apart, and builds the one that goes upstream.
///
/// # Errors
/// The refusal to answer with.
pub(super) async fn shape(
    gateway: &Gateway,
    record: &CallRecord,
    authority: &str,
    mut canonical: Canonical,
    body: RequestBody,
) -> Result<Shaped, Refused> {
    let caps = Caps::GOOGLE;
    let packed =
        |e: coding::CodingError| Box::new(Refusal::invalid(e.reason(), format!("the batch is refused: {e}")));
    let plain =
        coding::decoded(&canonical.headers, body, coding::Caps::bytes(caps.bytes as u64)).map_err(packed)?;
    let whole = collected(gateway, record, Box::pin(plain), caps.bytes).await?;
    let inner = batch::parse(&canonical.target, &canonical.headers, &whole, caps).map_err(refused)?;
    let mut calls = Calls::new();
    let (mut ranges, mut ids, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    for (number, request) in inner.into_iter().enumerate() {
        let within = |refusal: Refused| within(number, refusal);
        let mut one = normalise(&request.parts, authority).map_err(|r| within(Box::new(r)))?;
        forget_xml(&mut one);
        let mut its = classify(gateway, &one).map_err(within)?;
        body_names::add_grants(gateway.catalog, &mut its, &one.target, None).map_err(within)?;
        if !request.body.is_empty() {
            let method = its.first().map_or("", |c| c.method);
            content::check(method, &mut one.headers).map_err(|r| within(Box::new(r)))?;
            body_names::place(gateway.catalog, &mut its, &one.target, &request.body).map_err(within)?;
        }
        ranges.push(calls.len()..calls.len() + its.len());
        calls.extend(its);
        ids.push(request.content_id);
        requests.push((one, request.body));
    }
    let named = batch::api(&canonical.target)
        .map_err(refused)?
        .map(|(name, _)| name);
    let api = named.or_else(|| calls.first().map(|c| c.api));
    if let Some(call) = calls.iter().find(|c| Some(c.api) != api) {
        return Err(Box::new(Refusal::invalid(
            "BATCH_OF_SEVERAL_APIS",
            format!("a batch is for one API, and {} is of another one", call.method),
        )));
    }
    let borrowed: Vec<_> = requests.iter().map(|(one, body)| (one, body)).collect();
    let (content_type, body) = batch::rebuild(&borrowed).map_err(refused)?;
    coding::strip(&mut canonical.headers);
    canonical.headers.insert(header::CONTENT_TYPE, content_type);
    Ok(Shaped {
        canonical,
        body: RequestBody::whole(body),
        calls,
        form: Form::Batch(Box::new(Batch {
            calls: ranges,
            ids,
            requests,
        })),
    })
}

fn refused(error: BatchError) -> Refused {
    Box::new(Refusal::invalid(
        error.reason(),
        format!("the batch is refused: {error}"),
    ))
}

/// Says which part a refusal is about.
fn within(number: usize, mut refusal: Refused) -> Refused {
    refusal.message = format!("part {} of the batch: {}", number + 1, refusal.message);
    refusal
}
