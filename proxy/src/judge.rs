//! The judging of a request: what policies ask to know of it is read, and then it is decided.
//!
//! Most calls are decided by what they are alone. A body is read whole only where a rule's condition, a risk or the
//! search for secrets asks for it, or a person is about to.

use std::sync::Arc;

use bytes::Bytes;
use http_body::Body as _;
use jiff::Timestamp;
use turnpike_policy::{
    caller::Caller,
    decide,
    decide::{Decision, Verdict},
    set::Need,
};

use crate::{
    body::RequestBody,
    egress::Canonical,
    journey::{Gateway, Refused},
    policies::InForce,
    record::CallRecord,
    scan::{Findings, carries::InHand},
    search::{Found, Request},
    shape::{Form, whole},
    sight::{MOST_READ, Seen, Sight, content, seen},
};

/// A request in front of its judge.
#[derive(Debug)]
pub(crate) struct Case {
    /// What the decision saw.
    pub(crate) sight: Sight,
    /// Its body, read or not.
    pub(crate) body: RequestBody,
    /// The policies that decided.
    pub(crate) in_force: Arc<InForce>,
    /// The upload that the body is a part of, where it was searched as one.
    pub(crate) upload: Option<InHand>,
    /// Policies want to know what is in the body, and it was not searched.
    pub(crate) unsearched: bool,
    /// Whether the body was read.
    read: bool,
    now: Timestamp,
}

/// Decides a request, whose calls stand in the record.
///
/// # Errors
/// The refusal to answer with: what policies ask to know cannot be read.
pub(crate) async fn judge(
    gateway: &Gateway,
    record: &mut CallRecord,
    caller: &Caller,
    canonical: &mut Canonical,
    body: RequestBody,
    form: &Form,
) -> Result<(Case, Verdict), Refused> {
    let now = Timestamp::now();
    let in_force = gateway.policies.load().clone();
    record.set = Some(in_force.set.clone());
    record.policy_digest = Some(in_force.digest.clone());
    let pace = gateway.history.note(caller, &record.calls, now);
    let needs = in_force.set.needs(caller, &record.calls);
    let mut sight = Sight::new(canonical, form, pace, needs.head);
    sight.size = body.size_hint().exact();
    if let Form::Batch(batch) = form
        && (needs.head || needs.body > Need::No)
    {
        sight.look_at_parts(gateway.catalog, batch);
    }
    let mut case = Case {
        sight,
        body,
        in_force,
        upload: None,
        unsearched: false,
        read: false,
        now,
    };
    let has_metadata = matches!(case.body, RequestBody::Upload(_));
    let said = content(canonical, form, has_metadata);
    // Content is read for what is hidden in it alone.
    let need = match said {
        Some(_) => needs.search,
        None => needs.body.max(needs.search),
    };
    if let Some(said) = said {
        case.sight.body = said;
    } else if case.body.is_end_stream() {
        case.sight.body = Seen::Absent;
    }
    // Nothing of such an upload is anywhere yet.
    if matches!(form, Form::Asks(_)) {
        case.sight.found(Findings::default());
    }
    // A request without a body can be the end of an upload.
    let ends = matches!(form, Form::Session(_)) && needs.search > Need::No;
    if ends || !case.body.is_end_stream() {
        if wanted(need, case.sight.size) && !goes_both_ways(form) {
            Box::pin(case.read(gateway, record, caller, canonical, form)).await?;
        } else if needs.search > Need::No {
            // It is searched while it passes.
            case.unsearched = true;
        }
    }
    let verdict = case.decide(record, caller);
    Ok((case, verdict))
}

/// Whether the end of the request may wait for answers: then it can't be waited for here, and is not known.
fn goes_both_ways(form: &Form) -> bool {
    matches!(form, Form::Grpc(call) if call.both_ways)
}

/// Whether the body is to be read before the decision. For policies in DryRun only where that cannot fail for its
/// size: they change no answer.
fn wanted(need: Need, size: Option<u64>) -> bool {
    match need {
        Need::No => false,
        Need::DryRun => size.is_some_and(|size| size <= MOST_READ as u64),
        Need::Yes => true,
    }
}

impl Case {
    /// Reads the whole body, and decides again with what it says. Where it was read before, nothing changes.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) async fn look_closer(
        &mut self,
        gateway: &Gateway,
        record: &mut CallRecord,
        caller: &Caller,
        canonical: &mut Canonical,
        form: &Form,
    ) -> Result<Verdict, Refused> {
        if !self.read && !self.body.is_end_stream() {
            self.read(gateway, record, caller, canonical, form).await?;
        }
        Ok(self.decide(record, caller))
    }

    /// Whether a request without a body ends an upload in which something was found.
    pub(crate) fn ends_with_something(&self) -> bool {
        let found = self.sight.findings.as_ref();
        self.body.is_end_stream() && found.is_some_and(|found| !found.is_clean())
    }

    async fn read(
        &mut self,
        gateway: &Gateway,
        record: &mut CallRecord,
        caller: &Caller,
        canonical: &mut Canonical,
        form: &Form,
    ) -> Result<(), Refused> {
        let body = std::mem::replace(&mut self.body, RequestBody::whole(Bytes::new()));
        // In a box, because most calls are never read.
        let kept = Box::pin(whole::keep(gateway, &caller.name(), canonical, body)).await?;
        self.sight.size = Some(kept.len());
        self.sight.body = seen(canonical, form, &kept)
            .await
            .map_err(|why| Box::new(why.refusal()))?;
        if let Form::Batch(batch) = form {
            self.sight.look_at_parts(gateway.catalog, batch);
        }
        let request = Request {
            canonical,
            form,
            calls: &record.calls,
            body: &kept,
            spills: gateway.keeper.spills(&caller.name()),
        };
        let searching = gateway.search.run(&self.in_force.set, caller, request);
        let Found {
            findings: found,
            upload,
        } = Box::pin(searching).await;
        self.upload = upload;
        self.unsearched = false;
        record.found(&found);
        self.sight.found(found);
        record
            .request_bytes
            .store(kept.len(), std::sync::atomic::Ordering::Relaxed);
        self.body = kept.into_body();
        self.read = true;
        Ok(())
    }

    fn decide(&self, record: &mut CallRecord, caller: &Caller) -> Verdict {
        let view = self.sight.view();
        let requests = view.requests();
        let Decision {
            verdict,
            hits,
            would,
            risk,
        } = decide(
            &self.in_force.set,
            &view.facts(caller, &record.calls, &requests, self.now),
        );
        record.hits = hits;
        record.would = would;
        record.risk = risk.map(Box::new);
        verdict
    }
}
