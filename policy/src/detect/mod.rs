//! Finding secrets in text: one set of detectors, for what agents send and for what they get.
//!
//! [`Detectors`] is the set, [`Scanner`] runs it over a text that arrives in pieces. A literal is looked for first (one
//! pass over the text, most of it by vector instructions); where one stands, the detector behind it looks at the bytes
//! around, at most [`BEFORE`] before and [`AFTER`] behind. What it finds depends on those bytes alone, so a text gives
//! the same matches however it is cut. Longer secrets (keys in PEM, service account keys) are found by their beginning.
//!
//! A format that can't be mistaken is enough for a hit; where it could be, the value has to look random as well, and
//! placeholders of documents and templates are none. What a text means is not known here: who unpacks archives, JSON and
//! the like gives the parts to a scanner, one by one.

mod assignment;
mod custom;
mod encoded;
mod jwt;
mod literals;
mod pair;
mod pem;
mod scanner;
mod table;
mod token;
mod url;
mod value;
mod view;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use self::{custom::Customs, literals::Literals};
pub use self::{
    custom::{DetectorError, MAX_CUSTOM, MAX_MATCH, Reason},
    scanner::{Scanner, Suspended},
    table::KINDS,
};
pub use crate::definition::CustomDetector;

/// How far before a literal a detector looks.
pub const BEFORE: usize = 1024;
/// How far behind the beginning of a literal a detector looks.
pub const AFTER: usize = 4096;

/// A secret in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match<'s> {
    /// What it is: one of [`Detectors::kinds`].
    pub kind: &'s str,
    /// Where its value begins, in bytes from the beginning of the text.
    pub offset: u64,
    /// The line of that, from 1.
    pub line: u64,
    /// The secret, or as much of it as tells it apart. For hashing only: it is shown to nobody and written nowhere.
    pub value: &'s [u8],
}

/// A set of detectors.
pub struct Detectors {
    literals: Literals,
    customs: Customs,
}

impl fmt::Debug for Detectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds()).finish()
    }
}

impl Detectors {
    /// The detectors of [`KINDS`].
    pub fn builtin() -> &'static Arc<Self> {
        static BUILTIN: OnceLock<Arc<Detectors>> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            Arc::new(Self {
                literals: Literals::new(),
                customs: Customs::default(),
            })
        })
    }

    /// The built-in detectors, and others.
    ///
    /// # Errors
    /// [`DetectorError`] says which of them is wrong, and where.
    pub fn new(custom: &[CustomDetector]) -> Result<Self, DetectorError> {
        Ok(Self {
            literals: Self::builtin().literals.clone(),
            customs: Customs::new(custom)?,
        })
    }

    /// A scanner at the beginning of a text.
    pub fn scanner(&self) -> Scanner<'_> {
        Scanner::new(self)
    }

    /// Goes on with a text from where a scanner was [suspended](Scanner::suspend).
    pub fn resume(&self, suspended: Suspended) -> Scanner<'_> {
        Scanner::resume(self, suspended)
    }

    /// Scans a whole text that is in memory.
    pub fn scan(&self, text: &[u8], found: &mut dyn FnMut(Match<'_>)) {
        scanner::whole(self, text, found);
    }

    /// All kinds of secrets that are found.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        KINDS.iter().map(|kind| kind.name).chain(self.customs.names())
    }
}
