//! What was found in one request: each factor once, at its highest.

use std::{borrow::Cow, collections::BTreeMap};

use smallvec::SmallVec;

use super::{
    Score, Share,
    factors::{Factor, Id},
};

/// A score is never above this.
pub(super) const MAX: u8 = 100;

const NOWHERE: Option<fn() -> Cow<'static, str>> = None;

/// Factors that hold, in the order in which they were found.
pub(super) struct Tally<'a> {
    weights: &'a BTreeMap<String, u8>,
    found: SmallVec<[Found; 8]>,
}

struct Found {
    id: Id,
    points: u8,
    /// Where, where that can be told.
    place: Option<Cow<'static, str>>,
    /// How many places there are besides the first.
    more: u32,
}

impl<'a> Tally<'a> {
    pub(super) fn new(weights: &'a BTreeMap<String, u8>) -> Self {
        Self {
            weights,
            found: SmallVec::new(),
        }
    }

    /// What a factor counts for.
    pub(super) fn points(&self, id: Id) -> u8 {
        let factor: &Factor = id.factor();
        let given = if self.weights.is_empty() {
            None
        } else {
            self.weights.get(factor.name).copied()
        };
        given.unwrap_or(factor.points).min(MAX)
    }

    /// A factor holds.
    pub(super) fn add(&mut self, id: Id) {
        let points = self.points(id);
        self.put(id, points, NOWHERE);
    }

    /// A factor holds, and here is why.
    pub(super) fn add_at(&mut self, id: Id, place: impl FnOnce() -> Cow<'static, str>) {
        let points = self.points(id);
        self.put(id, points, Some(place));
    }

    /// A factor holds and counts for so much, where this is more than was found before.
    pub(super) fn add_points(&mut self, id: Id, points: u8) {
        self.put(id, points, NOWHERE);
    }

    /// A factor that counts for nothing is not kept. What was found at several places counts once, is told by the
    /// first of them, and counts for the most.
    fn put(&mut self, id: Id, points: u8, place: Option<impl FnOnce() -> Cow<'static, str>>) {
        if points == 0 {
            return;
        }
        let Some(known) = self.found.iter_mut().find(|found| found.id == id) else {
            self.found.push(Found {
                id,
                points,
                place: place.map(|place| place()),
                more: 0,
            });
            return;
        };
        known.points = known.points.max(points);
        match (&known.place, place) {
            (None, Some(place)) => known.place = Some(place()),
            (Some(_), Some(_)) => known.more = known.more.saturating_add(1),
            (_, None) => {}
        }
    }

    /// The score, with further shares.
    pub(super) fn finish(self, custom: impl Iterator<Item = Share>) -> Score {
        let built_in = self.found.into_iter().map(|found| Share {
            factor: Cow::Borrowed(found.id.factor().name),
            points: found.points,
            words: words(found.id.factor().words, found.place, found.more),
        });
        let mut shares: SmallVec<[Share; 8]> = built_in.chain(custom).collect();
        shares.sort_by(|a, b| b.points.cmp(&a.points).then_with(|| a.factor.cmp(&b.factor)));
        let sum: u32 = shares.iter().map(|share| u32::from(share.points)).sum();
        Score {
            total: u8::try_from(sum).map_or(MAX, |sum| sum.min(MAX)),
            shares,
        }
    }
}

fn words(what: &'static str, place: Option<Cow<'static, str>>, more: u32) -> Cow<'static, str> {
    match (place, more) {
        (None, _) => Cow::Borrowed(what),
        (Some(place), 0) => Cow::Owned(format!("{what} ({place})")),
        (Some(place), more) => Cow::Owned(format!("{what} ({place}, and {more} more)")),
    }
}
