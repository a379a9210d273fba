//! What is known of a request besides its calls: what conditions ([`crate::condition`]) read of it.
//!
//! Values only, borrowed from whoever holds the request: nothing here parses, decodes or decides.

/// A request as conditions see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestFacts<'a> {
    /// How far its line and its headers are those of the calls that it makes.
    pub form: Form,
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
    /// For a batch, the request behind each of the calls that the request makes; empty where there is but one.
    pub parts: &'a [RequestFacts<'a>],
}

impl<'a> RequestFacts<'a> {
    /// The request that makes the call of this number: a part of a batch, or all there is.
    pub fn of_call(&self, call: usize) -> &RequestFacts<'a> {
        self.parts.get(call).unwrap_or(self)
    }
}

/// The form in which a request makes its calls. A condition speaks of a call as Google documents it for REST; what
/// stands elsewhere in another form is not known there, or a rule would be passed by by the choice of a form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// One call of REST.
    #[default]
    Rest,
    /// One call that has its verb and its parameters in another way: in a message of gRPC, in headers of the XML API.
    Other,
    /// Calls in one body, each with a verb, parameters and headers of its own.
    Batch,
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
