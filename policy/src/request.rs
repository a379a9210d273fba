//! What is known of a request besides its calls: what conditions ([`crate::condition`]) read of it.
//!
//! Values only, borrowed from whoever holds the request: nothing here parses, decodes or decides.

/// A request as conditions see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestFacts<'a> {
    /// The HTTP verb, such as `POST`.
    pub verb: &'a str,
    /// The host it is for, such as `storage.googleapis.com`.
    pub host: &'a str,
    /// The parameters of the query, decoded, in their order. A name may come more than once.
    pub query: &'a [(&'a str, &'a str)],
    /// The headers that go upstream, with names in lower case. A name may come more than once.
    pub headers: &'a [(&'a str, &'a str)],
    /// Bytes of the body, where they are known before it is sent.
    pub size: Option<u64>,
    /// The body.
    pub body: Body<'a>,
}

/// The body of a request, as far as it was read.
#[derive(Debug, Clone, Copy, Default)]
pub enum Body<'a> {
    /// Nobody asked for it.
    #[default]
    Unread,
    /// The request has none.
    Absent,
    /// Its JSON, or the JSON form of a gRPC message.
    Json(&'a serde_json::Value),
    /// It is not JSON, or too large to be read.
    Unreadable,
}
