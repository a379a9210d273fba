//! The way back of a gRPC call whose answer has to be masked: message by message, each by its descriptor.
//!
//! A message is turned into JSON, as REST would give it, masked there by the same plan, and turned back. What the
//! descriptor does not know is left out: it could be anything. An error in the middle ends the stream with a status.

use bytes::Bytes;
use futures::stream;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::{StreamBody, combinators::UnsyncBoxBody};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value;
use turnpike_policy::mask::{MaskPlan, Masked};

use super::{
    frame::{Coding, FrameError, Messages, framed},
    status,
};
use crate::{
    answer::Reading,
    body::{AnswerBody, BoxError},
    egress::UpstreamBody,
    journey::Limits,
    metrics::Metrics,
    outcome::Outcome,
    refusal::Refusal,
};

/// Masks one message.
struct Masker {
    output: MessageDescriptor,
    reading: Reading,
}

/// The message as it may be seen, the same as JSON, and what was masked.
///
/// # Errors
/// What is wrong with it, for the refusal.
pub(crate) fn mask_message(
    output: &MessageDescriptor,
    message: &[u8],
    plan: &MaskPlan<'_>,
) -> Result<(Vec<u8>, Value, Vec<Masked>), String> {
    let decoded = DynamicMessage::decode(output.clone(), message)
        .map_err(|_| format!("it is no {}", output.full_name()))?;
    let mut value = serde_json::to_value(&decoded).map_err(|e| format!("it has no JSON form: {e}"))?;
    let masked = plan.apply(&mut value);
    let plain = DynamicMessage::deserialize(output.clone(), &value)
        .map_err(|e| format!("masked, it is no {}: {e}", output.full_name()))?;
    Ok((plain.encode_to_vec(), value, masked))
}

impl Masker {
    fn mask(
        &self,
        message: &[u8],
        outcome: &mut Outcome,
        metrics: &Metrics,
    ) -> Result<(Bytes, Value), String> {
        let calls = &outcome.record().calls;
        let plan = self.reading.set.mask_plan(&self.reading.caller, calls);
        let (plain, value, masked) = mask_message(&self.output, message, &plan)?;
        for hit in &masked {
            metrics.masked(&hit.kind, hit.count);
        }
        outcome.masked(masked);
        Ok((framed(&plain), value))
    }
}

/// Everything that the masked stream is made of.
struct Stream {
    messages: Messages<UpstreamBody>,
    masker: Masker,
    metrics: Arc<Metrics>,
    /// Taken when the stream is over.
    outcome: Option<Outcome>,
}

impl Stream {
    async fn next(&mut self) -> Option<Frame<Bytes>> {
        let mut outcome = self.outcome.take()?;
        match self.messages.next().await {
            Ok(Some(message)) => match self.masker.mask(&message, &mut outcome, &self.metrics) {
                Ok((message, json)) => {
                    if let Some((recordings, keep)) = &self.masker.reading.keep {
                        recordings
                            .keep(outcome.record().id, Bytes::from(json.to_string()), *keep)
                            .await;
                    }
                    outcome.passed(message.len() as u64);
                    self.outcome = Some(outcome);
                    Some(Frame::data(message))
                }
                Err(why) => Some(broken(outcome, &why)),
            },
            Ok(None) => {
                let trailers = self.messages.trailers();
                outcome.completed();
                trailers.map(|t| Frame::trailers(passing(t)))
            }
            Err(FrameError::BrokeOff(why)) => Some(broken(outcome, &why)),
            Err(why) => Some(broken(outcome, &why.to_string())),
        }
    }
}

/// Trailers that end a stream which cannot be masked any further.
fn broken(mut outcome: Outcome, why: &str) -> Frame<Bytes> {
    let refusal = outcome.cut().cloned().unwrap_or_else(|| unreadable(why));
    outcome.broke_off(refusal.reason);
    Frame::trailers(status::fields(&refusal, outcome.record().id))
}

fn unreadable(why: &str) -> Refusal {
    Refusal::denied(
        "ANSWER_UNREADABLE",
        format!("the answer may hold secrets and cannot be masked: {why}. It is not passed on."),
    )
}

/// Trailers as the agent may see them.
fn passing(mut trailers: HeaderMap) -> HeaderMap {
    crate::answer::strip(&mut trailers);
    trailers
}

/// Masks an answer on its way to the agent.
pub(crate) fn mask(
    answer: Response<UpstreamBody>,
    mut outcome: Outcome,
    reading: Reading,
    output: Option<MessageDescriptor>,
    limits: &Limits,
    metrics: &Arc<Metrics>,
) -> Response<AnswerBody> {
    let (mut parts, body) = answer.into_parts();
    let refuse = |mut outcome: Outcome, why: &str| {
        let refusal = unreadable(why);
        outcome.broke_off(refusal.reason);
        status::response(&refusal, outcome.record().id)
    };
    let Some(output) = output else {
        return refuse(outcome, "there is no descriptor of it");
    };
    if !super::is_grpc(&parts.headers) {
        return refuse(outcome, "it is no answer of gRPC");
    }
    let coding = match Coding::of(&parts.headers) {
        Ok(coding) => coding,
        Err(why) => return refuse(outcome, &why.to_string()),
    };
    outcome.status(parts.status.as_u16());
    parts.headers.remove("grpc-encoding");
    parts.headers.remove(http::header::CONTENT_LENGTH);
    parts
        .headers
        .insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip"));
    let account = limits.masked.account(&reading.caller.name());
    let state = Stream {
        messages: Messages::new(body, coding, limits.answer_bytes, account),
        masker: Masker { output, reading },
        metrics: metrics.clone(),
        outcome: Some(outcome),
    };
    let frames = stream::unfold(state, |mut state| async move {
        let frame = state.next().await?;
        Some((Ok::<_, BoxError>(frame), state))
    });
    Response::from_parts(
        parts,
        AnswerBody::Rebuilt(UnsyncBoxBody::new(StreamBody::new(frames))),
    )
}
