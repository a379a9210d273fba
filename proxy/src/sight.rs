//! What a decision sees of a request besides its calls: parameters, headers, the body, what secrets were found in it,
//! and what the agent did before.
//!
//! A body is read only as far as policies ask for it, and once. What cannot be read is said to be unreadable, which
//! never loosens a decision.

use jiff::Timestamp;
use serde_json::Value;
use turnpike_policy::{
    Facts,
    call::Call,
    caller::Caller,
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
    shape::{Form, upload},
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
            let target = &canonical.target;
            sight.verb = target.verb().to_owned();
            sight.host = target.host().to_owned();
            sight.query = target
                .query_pairs()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            sight.headers = canonical
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    (name.as_str().to_owned(), value)
                })
                .collect();
        }
        sight
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
}

impl View<'_> {
    /// The facts of a decision.
    pub(crate) fn facts<'f>(&'f self, caller: &'f Caller, calls: &'f [Call], now: Timestamp) -> Facts<'f> {
        let sight = self.sight;
        Facts {
            caller,
            calls,
            request: RequestFacts {
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
            },
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
            let bytes = kept.bytes(MOST_READ).await?;
            // A name that stands twice makes it unreadable: nobody knows which of them Google takes.
            multipart::object(&bytes).ok().map(Value::Object)
        }
        _ => None,
    };
    Ok(value.map_or(Seen::Unreadable, Seen::Json))
}
