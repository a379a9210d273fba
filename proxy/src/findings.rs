//! What a search for secrets in a request's body came to.

/// What was found in a body.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The secrets.
    #[allow(dead_code)]
    pub hits: Vec<Finding>,
    /// Why some of the body could not be searched.
    pub unscannable: Option<String>,
}

/// A secret; never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind, such as `private-key`.
    pub kind: String,
    /// Where in the body.
    pub place: String,
    /// A keyed hash of the value.
    pub hash: String,
}
