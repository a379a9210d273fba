//! Whether a value can be a secret at all: it looks random, and is no placeholder.

use super::view::{Class, holds};

/// Words in values of documents, templates and tests. A random value of 40 characters has one of four letters in fewer
/// than one of ten thousand cases.
const PLACEHOLDERS: [&str; 16] = [
    "example",
    "placeholder",
    "changeme",
    "change-me",
    "change_me",
    "change_it",
    "redacted",
    "masked",
    "dummy",
    "your-",
    "your_",
    "xxxx",
    "****",
    "....",
    "----",
    "____",
];

/// Words of placeholders stand in the beginning; in long random values they stand by chance.
const WORDS_IN: usize = 64;

/// Whether a value of a known format is a real one: letters and digits without order.
pub(super) fn is_random(value: &[u8]) -> bool {
    let mixed = [Class::LOWER, Class::UPPER, Class::DIGIT]
        .iter()
        .filter(|class| value.iter().any(|b| class.has(*b)))
        .count();
    let needed = match value.len() {
        0..16 => 2.5,
        16..32 => 3.0,
        _ => 3.3,
    };
    mixed >= 2 && !is_placeholder(value) && entropy(value) >= needed
}

/// Whether a value is there to be replaced: it says so, repeats itself, or counts up.
pub(super) fn is_placeholder(value: &[u8]) -> bool {
    let in_order = value
        .windows(2)
        .filter(|w| matches!(w, [a, b] if *a == *b || a.checked_add(1) == Some(*b)))
        .count();
    let start = value.get(..value.len().min(WORDS_IN)).unwrap_or_default();
    in_order * 2 > value.len() || PLACEHOLDERS.iter().any(|word| holds(start, word))
}

/// Shannon's entropy, in bits a byte.
pub(super) fn entropy(value: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in value {
        counts[usize::from(*byte)] += 1;
    }
    let length = value.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum()
}
