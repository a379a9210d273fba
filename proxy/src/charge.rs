//! Charges a decided call to its agent's limits.

use std::time::{Duration, Instant};

use http_body::Body as _;
use turnpike_policy::{caller::Caller, definition::Effect};

use crate::{
    body::RequestBody,
    journey::{Gateway, Refused},
    limits::{Exceeded, Load, Toll},
    policies::InForce,
    record::CallRecord,
    shape::Form,
};

/// Charges a call that policies let pass, or hold for so long at most.
///
/// # Errors
/// The refusal to answer with; then nothing is charged.
pub(crate) fn charge(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    record: &mut CallRecord,
    (form, body): (&Form, &RequestBody),
    held_for: Option<Duration>,
) -> Result<Toll, Refused> {
    let (set, now) = (&in_force.set, Instant::now());
    let (limits, tried) = (set.limits_of(caller), set.limits_tried_on(caller));
    if limits.is_none() && tried.is_none() {
        return Ok(Toll::default());
    }
    let load = load(record, form);
    if !gateway.ledger.would_pass(caller, &tried, load, now) {
        record.would = Some(Effect::Deny);
    }
    let charged = || {
        let mut toll = gateway.ledger.toll(caller, &limits, load, now)?;
        if !body.is_end_stream() {
            // A stream whose length nobody knows has one byte, at the least.
            toll.weigh(body.size_hint().lower().max(1), now)?;
        }
        match held_for {
            None => toll.pass(now)?,
            Some(at_most) => toll.hold(at_most, now)?,
        }
        Ok(toll)
    };
    charged().map_err(|exceeded: Exceeded| refused(gateway, in_force, caller, &exceeded))
}

/// How much a request is. An upload's session was counted as a change when it was opened: its parts are calls.
fn load(record: &CallRecord, form: &Form) -> Load {
    match form {
        Form::Batch(batch) => {
            let parts = batch.calls.iter();
            Load::each(parts.map(|range| record.calls.get(range.clone()).unwrap_or(&record.calls)))
        }
        Form::Session(_) => Load {
            changes: 0,
            ..Load::one(&record.calls)
        },
        _ => Load::one(&record.calls),
    }
}

/// The refusal for a limit that is reached.
pub(crate) fn refused(
    gateway: &Gateway,
    in_force: &InForce,
    caller: &Caller,
    exceeded: &Exceeded,
) -> Refused {
    Box::new(exceeded.refusal(&in_force.set, caller, gateway.ledger.replicas()))
}
