//! What zip and tar have in common: members that are read to their ends, whatever was wrong with them.

use std::io::{self, Read};

use super::{
    findings::Why,
    place::Place,
    walk::{Depth, Walker},
};

/// Searches a member. What is wrong with it alone is noted; an error means that the archive can't be read any further.
pub(super) fn member(
    walker: &mut Walker<'_>,
    place: &Place,
    depth: Depth,
    content: &mut dyn Read,
) -> Result<(), Why> {
    let counted = walker.budget.member();
    counted?;
    let searched = walker.content(place, depth, Box::new(&mut *content));
    walker.note(place, searched);
    match walker.budget.is_spent() {
        true => Ok(()),
        false => {
            io::copy(content, &mut io::sink())?;
            Ok(())
        }
    }
}
