//! Ways round the gate, by family: for a [`Case`], every spelling of a request by which some server executes the
//! harmful method and some gate takes it for something else.

mod aliases;
mod authorities;
mod batches;
mod forms;
mod framing;
mod messages;
mod names;
mod objects;
mod overrides;
mod paths;
mod pseudo;
mod streams;

use super::{
    Attempt, How,
    case::{Case, resources::ResourceCase},
};

/// What goes with every request.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'s> {
    /// The agent's token.
    pub token: &'s str,
    /// What the gate has handed out to the agent before.
    pub handed: &'s Handed,
}

/// URLs on `storage.googleapis.com` that the gate has handed out, from their path on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handed {
    /// The session of an upload to an object that the policy allows.
    pub session: String,
    /// A signed URL of another such object.
    pub signed: String,
}

/// A family of ways.
pub type Family = fn(&Case, Speaker<'_>) -> Vec<Attempt>;

/// All families, by name.
pub const FAMILIES: &[(&str, Family)] = &[
    ("plain", plain),
    ("paths", paths::ways),
    ("overrides", overrides::ways),
    ("aliases", aliases::ways),
    ("batches", batches::ways),
    ("forms", forms::ways),
    ("pseudo", pseudo::ways),
    ("authorities", authorities::ways),
    ("framing", framing::ways),
];

/// A family of ways to a resource.
pub type ResourceFamily = fn(&ResourceCase, Speaker<'_>) -> Vec<Attempt>;

/// Families of ways to another resource, by name. All of [`FAMILIES`] lead to one too.
pub const RESOURCE_FAMILIES: &[(&str, ResourceFamily)] = &[
    ("names", names::ways),
    ("messages", messages::ways),
    ("objects", objects::ways),
];

/// The ways of a family.
#[must_use]
pub fn family(name: &str, case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    let found = FAMILIES.iter().filter(|(family, _)| *family == name);
    found.flat_map(|(_, ways)| ways(case, speaker)).collect()
}

/// The method itself, which is denied.
fn plain(case: &Case, speaker: Speaker<'_>) -> Vec<Attempt> {
    vec![
        request(
            "as it is",
            case,
            speaker.request(case.verb, &case.path, &case.host, "", ""),
        ),
        Attempt {
            way: "as it is, by HTTP/2",
            how: How::Stream {
                host: case.host.clone(),
                fields: speaker.fields(case.verb, &case.path, &case.host),
                body: None,
                trailers: Vec::new(),
            },
        },
    ]
}

fn request(way: &'static str, case: &Case, bytes: Vec<u8>) -> Attempt {
    let host = case.host.clone();
    Attempt {
        way,
        how: How::Request { host, bytes },
    }
}

impl Speaker<'_> {
    /// A request of HTTP/1.1; `headers` is whole lines. Its length is that of the body, where it needs one.
    #[must_use]
    pub fn request(self, verb: &str, target: &str, host: &str, headers: &str, body: &str) -> Vec<u8> {
        let token = self.token;
        let length = match (verb, body.len()) {
            ("GET" | "DELETE", 0) => String::new(),
            (_, length) => format!("Content-Length: {length}\r\n"),
        };
        format!(
            "{verb} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n{headers}{length}\r\n{body}"
        )
        .into_bytes()
    }

    /// The head of a request of HTTP/1.1 that says nothing of a length, without the empty line at its end.
    #[must_use]
    pub fn head(self, verb: &str, target: &str, host: &str) -> String {
        let token = self.token;
        format!("{verb} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n")
    }

    /// The fields of a request of HTTP/2.
    #[must_use]
    pub fn fields(self, verb: &str, path: &str, host: &str) -> Vec<(String, String)> {
        let authorization = format!("Bearer {}", self.token);
        [
            (":method", verb),
            (":scheme", "https"),
            (":authority", host),
            (":path", path),
            ("authorization", &authorization),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }
}
