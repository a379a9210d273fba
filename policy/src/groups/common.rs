//! Parts that the groups of single services are made of.

use super::row::Part;
use crate::call::Traits;

/// What no group for everyday work has.
const GRAVE: Traits = Traits::DESTRUCTIVE
    .union(Traits::IAM)
    .union(Traits::RETURNS_CREDENTIALS);

/// Reads that are no business of IAM and answer with no credential.
pub(super) const fn reads(include: &'static [&'static str]) -> Part {
    Part::of(include)
        .with(Traits::READ)
        .without(Traits::IAM.union(Traits::RETURNS_CREDENTIALS))
}

/// Everything that changes something, but for what answers with credentials.
pub(super) const fn changes(include: &'static [&'static str]) -> Part {
    Part::of(include)
        .with(Traits::CHANGE)
        .without(Traits::RETURNS_CREDENTIALS)
}

/// Changes that delete nothing and share nothing.
pub(super) const fn works(include: &'static [&'static str]) -> Part {
    Part::of(include).with(Traits::CHANGE).without(GRAVE)
}
