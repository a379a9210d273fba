//! How risky a call is: a score from 0 to 100, made of named factors.
//!
//! Built-in factors ([`FACTORS`]) look at the method, at what the body does, at the time and at what the agent did
//! before; a policy adds its own, which are conditions. Every factor that holds adds its points, once for a request
//! however often it holds, and the sum is capped at 100: so a further factor never lowers a score, and a reader can
//! add it up. This module compares a score with no threshold: that is the decision's part.
//!
//! Where a body matters and can't be read, that counts as if all that could be wrong with it were.

mod body;
mod factors;
mod methods;
mod pattern;
mod tally;

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use smallvec::SmallVec;

pub use body::{Field, body_matters, fields};
pub use factors::{FACTORS, Factor, LooksAt, is_factor};
pub use methods::methods;

use crate::{
    call::{Call, Traits},
    definition::CustomFactor,
    request::RequestFacts,
};
use factors::Id;
use tally::Tally;

/// What a score is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// What is called.
    pub calls: &'a [Call],
    /// The request that calls it.
    pub request: &'a RequestFacts<'a>,
    /// What the agent did before.
    pub pace: Pace,
    /// When.
    pub now: Timestamp,
}

/// What is remembered of an agent, this call included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// Whether some method of the request was never used by this agent.
    pub first_use: bool,
    /// Calls in the last minute.
    pub last_minute: u32,
    /// Calls in the last hour.
    pub last_hour: u32,
}

/// A score and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Score {
    /// From 0 to 100.
    pub total: u8,
    /// The factors that hold and count for something: the largest share first, equal ones by name.
    pub shares: SmallVec<[Share; 8]>,
}

/// What one factor adds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Share {
    /// The factor's name.
    pub factor: Cow<'static, str>,
    /// What it adds, before the sum is capped.
    pub points: u8,
    /// For people: what it is and, for a body, in which field. It holds names from Turnpike's own tables and
    /// numbers, never text of the request.
    pub words: Cow<'static, str>,
}

/// The score of a request.
///
/// `weights` replace the points of built-in factors by name. `custom` tells whether the factor of that number in
/// `factors` holds; where that can't be found out it must say yes.
pub fn score(
    weights: &BTreeMap<String, u8>,
    custom: &mut dyn FnMut(usize) -> bool,
    factors: &[CustomFactor],
    inputs: &Inputs<'_>,
) -> Score {
    let mut tally = Tally::new(weights);
    for call in inputs.calls {
        traits(call.traits, &mut tally);
        methods::judge(call, &mut tally);
    }
    body::judge(inputs.calls, inputs.request, &mut tally);
    if is_off_hours(inputs.now) {
        tally.add(Id::OffHours);
    }
    if is_burst(inputs.pace) {
        tally.add(Id::Burst);
    }
    if inputs.pace.first_use {
        tally.add(Id::FirstUse);
    }
    tally.finish(
        factors
            .iter()
            .enumerate()
            .filter(|(i, factor)| factor.points > 0 && custom(*i))
            .map(|(_, factor)| Share {
                factor: Cow::Owned(factor.name.clone()),
                points: factor.points.min(tally::MAX),
                words: Cow::Borrowed("a condition of the policy holds"),
            }),
    )
}

fn traits(traits: Traits, tally: &mut Tally<'_>) {
    if traits.contains(Traits::RETURNS_CREDENTIALS) {
        tally.add(Id::ReturnsCredentials);
    }
    // What is not known to read changes.
    if traits.contains(Traits::READ) && !traits.contains(Traits::CHANGE) {
        tally.add(Id::Read);
        return;
    }
    tally.add(Id::Change);
    if traits.contains(Traits::DESTRUCTIVE) {
        tally.add(Id::Destructive);
    }
    if traits.contains(Traits::IAM) {
        tally.add(Id::Iam);
    }
}

/// Weekends and nights, in UTC.
fn is_off_hours(now: Timestamp) -> bool {
    let seconds = now.as_second();
    let hour = seconds.rem_euclid(86_400) / 3_600;
    // The first day of Unix time was a Thursday; 0 is Sunday.
    let weekday = (seconds.div_euclid(86_400) + 4).rem_euclid(7);
    matches!(weekday, 0 | 6) || !(6..20).contains(&hour)
}

/// Far above what this agent did in the other 59 minutes, and not only because that was next to nothing.
fn is_burst(pace: Pace) -> bool {
    let before = u64::from(pace.last_hour.saturating_sub(pace.last_minute));
    pace.last_minute >= 60 && u64::from(pace.last_minute) * 59 > before * 5
}
