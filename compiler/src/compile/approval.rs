//! The compilation of what a policy asks of an approval.

use std::time::Duration;

use turnpike_crds::{ApprovalSettings, Approvers, OnHoldEnd};
use turnpike_policy::definition::{ApprovalDef, HoldEnd, Quorum};

use super::Errors;
use crate::duration::parse_duration;

const MAX_HOLD: Duration = Duration::from_secs(60 * 60);
const MAX_EXPIRY: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// More people than this are never asked for one call.
const MAX_APPROVALS: u8 = 10;

/// Compiles the settings at `path`.
pub(super) fn compile(settings: &ApprovalSettings, path: &str, errors: &mut Errors) -> ApprovalDef {
    let mut def = ApprovalDef::default();
    let mut read = |text: &Option<String>, field: &str, most: Duration, into: &mut u64| {
        let Some(text) = text else { return };
        let path = format!("{path}.{field}");
        match errors.keep(&path, parse_duration(text)) {
            Some(d) if d > most => errors.add(path, format!("at most {} h", most.as_secs() / 3600)),
            Some(d) => *into = d.as_millis() as u64,
            None => {}
        }
    };
    read(&settings.hold_for, "holdFor", MAX_HOLD, &mut def.hold_for_ms);
    read(
        &settings.expires_after,
        "expiresAfter",
        MAX_EXPIRY,
        &mut def.expires_after_ms,
    );
    if def.expires_after_ms == 0 {
        errors.add(format!("{path}.expiresAfter"), "nobody could decide in no time");
    }
    def.on_hold_end = match settings.on_hold_end.unwrap_or_default() {
        OnHoldEnd::Fail => HoldEnd::Fail,
        OnHoldEnd::Retry => HoldEnd::Retry,
    };
    def.quorum = quorum(settings, path, errors);
    def
}

fn quorum(settings: &ApprovalSettings, path: &str, errors: &mut Errors) -> Quorum {
    let mut quorum = Quorum::default();
    if let Some(approvals) = settings.approvals {
        match u8::try_from(approvals) {
            Ok(n @ 1..=MAX_APPROVALS) => quorum.approvals = n,
            _ => errors.add(
                format!("{path}.approvals"),
                format!("{approvals} is no number of approvals: it goes from 1 to {MAX_APPROVALS}"),
            ),
        }
    }
    if let Some(Approvers { users, groups }) = &settings.approvers {
        let path = format!("{path}.approvers");
        if users.is_empty() && groups.is_empty() {
            errors.add(
                &path,
                "name users or groups: an empty list would let nobody approve",
            );
            return quorum;
        }
        for (field, names) in [("users", users), ("groups", groups)] {
            for (i, _) in names
                .iter()
                .enumerate()
                .filter(|(_, name)| name.trim().is_empty())
            {
                errors.add(format!("{path}.{field}[{i}]"), "a name cannot be empty");
            }
        }
        (quorum.users, quorum.groups) = (sorted(users), sorted(groups));
        if groups.is_empty() && quorum.users.len() < usize::from(quorum.approvals) {
            errors.add(
                format!("{path}.users"),
                format!(
                    "{} cannot give the {} approvals that it takes",
                    people(quorum.users.len()),
                    quorum.approvals
                ),
            );
        }
    }
    quorum.distinct_groups = settings.require_distinct_groups;
    if quorum.distinct_groups {
        let path = format!("{path}.requireDistinctGroups");
        if !quorum.users.is_empty() {
            errors.add(
                path,
                "it counts groups, and approvers.users are in none: name groups alone, or leave it away",
            );
        } else if quorum.groups.len() < usize::from(quorum.approvals) {
            errors.add(
                path,
                format!(
                    "it takes {} approvals of different groups, and approvers.groups names {}",
                    quorum.approvals,
                    quorum.groups.len()
                ),
            );
        }
    }
    quorum
}

fn people(number: usize) -> String {
    match number {
        1 => "1 user".to_owned(),
        n => format!("{n} users"),
    }
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    names
}
