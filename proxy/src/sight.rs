//! What a decision sees of a request besides its calls: parameters, headers, the body, what secrets were found in it,
//! and what the agent did before.
//!
//! A body is read only as far as policies ask for it, and once. What cannot be read is said to be unreadable, which
//! never loosens a decision.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use turnpike_policy::{
    Facts,
    call::Call,
    caller::Caller,
    catalog::Catalog,
    decide::Searched,
    request::{self, Body, RequestFacts},
    risk::Pace,
};

use crate::{
    egress::Canonical,
    held_body::NotCollected,
    kept::Kept,
    multipart,
    scan::Findings,
    shape::{Form, batch::Batch, upload},
};

/// Largest body that is parsed for conditions and risk.
pub(crate) const MOST_READ: usize = 4 << 20;

/// What is known of a request. It grows as more is read.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    form: request::Form,
    verb: String,
    host: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub(crate) size: Option<u64>,
    pub(crate) body: Seen,
    /// What the search for secrets found, where there was one.
    pub(crate) findings: Option<Findings>,
    kinds: Vec<String>,
    pub(crate) pace: Pace,
    /// The requests of a batch, where something is read in them.
    parts: Vec<Self>,
    /// Which of them makes each call.
    part_of_call: Vec<usize>,
}

/// A body, as far as it was read.
#[derive(Debug, Default)]
pub(crate) enum Seen {
    #[default]
    Unread,
    Absent,
    Json(Value),
    Unreadable,
}

impl Sight {
    /// What is known before the body arrives. Parameters and headers are taken along only where somebody asks for them.
    pub(crate) fn new(canonical: &Canonical, form: &Form, pace: Pace, head: bool) -> Self {
        let mut sight = Self {
            form: told_in(form),
            pace,
            ..Self::default()
        };
        if head {
            sight.look_at_head(canonical);
        }
        sight
    }

    fn look_at_head(&mut self, canonical: &Canonical) {
        let target = &canonical.target;
        self.verb = target.verb().to_owned();
        self.host = target.host().to_owned();
        self.query = target
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        self.headers = canonical
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect();
    }

    /// Reads each request of a batch as if it came alone.
    pub(crate) fn look_at_parts(&mut self, catalog: &Catalog, batch: &Batch) {
        let part = |(canonical, body): &(Canonical, Bytes)| {
            let mut part = Self {
                form: match catalog.is_storage_xml(&canonical.target) {
                    true => request::Form::Other,
                    false => request::Form::Rest,
                },
                size: Some(body.len() as u64),
                body: match body.len() {
                    0 => Seen::Absent,
                    length if length > MOST_READ => Seen::Unreadable,
                    _ => json(body),
                },
                ..Self::default()
            };
            part.look_at_head(canonical);
            part
        };
        self.parts = batch.requests.iter().map(part).collect();
        let numbers = batch.calls.iter().enumerate();
        self.part_of_call = numbers
            .flat_map(|(number, calls)| calls.clone().map(move |_| number))
            .collect();
    }

    /// Takes what the search found.
    pub(crate) fn found(&mut self, findings: Findings) {
        self.kinds = findings.hits.iter().map(|f| f.kind.clone()).collect();
        self.findings = Some(findings);
    }

    /// The same, borrowed as decisions take it.
    pub(crate) fn view(&self) -> View<'_> {
        let borrowed =
            |pairs: &'_ [(String, String)]| -> Vec<(&str, &str)> { Vec::with_capacity(pairs.len()) };
        let mut view = View {
            query: borrowed(&self.query),
            headers: borrowed(&self.headers),
            parts: self.parts.iter().map(Self::view).collect(),
            sight: self,
        };
        view.query
            .extend(self.query.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        view.headers
            .extend(self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        view
    }
}

/// A [`Sight`] with the slices that [`Facts`] borrow.
#[derive(Debug)]
pub(crate) struct View<'a> {
    sight: &'a Sight,
    query: Vec<(&'a str, &'a str)>,
    headers: Vec<(&'a str, &'a str)>,
    parts: Vec<View<'a>>,
}

impl View<'_> {
    /// What is known of the request behind each call, where there are several.
    pub(crate) fn requests(&self) -> Vec<RequestFacts<'_>> {
        let numbers = self.sight.part_of_call.iter();
        // A part that is not there would shift the others, so then there are none, and the batch's body is unreadable.
        let requests = numbers.map(|number| Some(self.parts.get(*number)?.request(&[])));
        requests.collect::<Option<_>>().unwrap_or_else(Vec::new)
    }

    fn request<'f>(&'f self, parts: &'f [RequestFacts<'f>]) -> RequestFacts<'f> {
        let sight = self.sight;
        RequestFacts {
            form: sight.form,
            verb: &sight.verb,
            host: &sight.host,
            query: &self.query,
            headers: &self.headers,
            size: sight.size,
            body: match &sight.body {
                Seen::Unread => Body::Unread,
                Seen::Absent => Body::Absent,
                Seen::Json(value) => Body::Json(value),
                Seen::Unreadable => Body::Unreadable,
            },
            parts,
        }
    }

    /// The facts of a decision, with the [requests](Self::requests) behind its calls.
    pub(crate) fn facts<'f>(
        &'f self,
        caller: &'f Caller,
        calls: &'f [Call],
        requests: &'f [RequestFacts<'f>],
        now: Timestamp,
    ) -> Facts<'f> {
        let sight = self.sight;
        Facts {
            caller,
            calls,
            request: self.request(requests),
            searched: match &sight.findings {
                None if matches!(sight.body, Seen::Absent) => Searched::Through {
                    kinds: &[],
                    unscannable: false,
                },
                None => Searched::Not,
                Some(findings) => Searched::Through {
                    kinds: &sight.kinds,
                    unscannable: findings.unscannable.is_some(),
                },
            },
            pace: sight.pace,
            now,
        }
    }
}

/// Whether a request tells its calls as REST does.
fn told_in(form: &Form) -> request::Form {
    match form {
        Form::Plain | Form::Opens(_) | Form::Session(_) | Form::Asks(_) | Form::Signed => request::Form::Rest,
        Form::Xml | Form::Grpc(_) | Form::Rpc(_) => request::Form::Other,
        Form::Batch(_) => request::Form::Batch,
    }
}

/// What conditions see of a request whose body is content alone: what that is to be was said before, or nowhere.
/// `None` where the body says something.
pub(crate) fn content(canonical: &Canonical, form: &Form, has_metadata: bool) -> Option<Seen> {
    match form {
        Form::Session(_) | Form::Asks(_) => Some(match form.said_before() {
            Some(metadata) => Seen::Json(Value::Object(metadata.clone())),
            None => Seen::Unreadable,
        }),
        Form::Signed => Some(Seen::Absent),
        Form::Plain if !has_metadata && upload::is_upload(&canonical.target) => Some(Seen::Absent),
        _ => None,
    }
}

/// A whole body as conditions see it.
///
/// # Errors
/// What was kept cannot be read.
pub(crate) async fn seen(canonical: &Canonical, form: &Form, kept: &Kept) -> Result<Seen, NotCollected> {
    if let Some(said) = content(canonical, form, kept.upload().is_some()) {
        return Ok(said);
    }
    if kept.is_empty() {
        return Ok(Seen::Absent);
    }
    let value = match (form, kept.upload()) {
        (Form::Grpc(call), _) => call.request_json(),
        (_, Some(upload)) => Some(Value::Object(upload.metadata.clone())),
        (Form::Plain | Form::Opens(_), None) if kept.len() <= MOST_READ as u64 => {
            return Ok(json(&kept.bytes(MOST_READ).await?));
        }
        _ => None,
    };
    Ok(value.map_or(Seen::Unreadable, Seen::Json))
}

/// An object in JSON. A name that stands twice makes it unreadable: nobody knows which of them Google takes.
fn json(bytes: &[u8]) -> Seen {
    match multipart::object(bytes) {
        Ok(object) => Seen::Json(Value::Object(object)),
        Err(_) => Seen::Unreadable,
    }
}
