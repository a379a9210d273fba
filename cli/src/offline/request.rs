//! A request as a person writes it down, and what the gateway would take it for.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use turnpike_policy::{
    PolicySet,
    call::Call,
    caller::Caller,
    canonical::Target,
    catalog::{Catalog, Classified, Unlisted},
    decide::Facts,
    json::{self, NotOneObject},
    request::{Body, Form, RequestFacts},
    storage_body,
};

use super::{
    Circumstances, Tables,
    search::{Found, Search},
};

/// What stands in the place of a verb for a call over gRPC.
pub(crate) const GRPC: &str = "GRPC";

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) road: Road,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Of an upload its metadata, or with uploadType=media its content; of a gRPC call the JSON form of its message.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) search: Search,
}

/// How it travels.
#[derive(Debug, Clone)]
pub(crate) enum Road {
    Rest {
        verb: String,
        url: String,
    },
    Grpc {
        host: Option<String>,
        path: String,
        message: Message,
    },
}

/// Why the gateway would refuse a request before it asks any policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// A stable code.
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl Refused {
    fn new(reason: &str, message: &dyn ToString) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.to_string(),
        }
    }
}

/// A request, understood.
#[derive(Debug)]
pub(crate) struct Understood {
    pub(crate) calls: Vec<Call>,
    form: Form,
    verb: String,
    host: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    size: Option<u64>,
    body: Seen,
    found: Found,
}

#[derive(Debug)]
enum Seen {
    Absent,
    Json(Value),
    Unreadable(NotOneObject),
}

/// By whose policies a body is searched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) set: &'a PolicySet,
    pub(crate) caller: &'a Caller,
}

impl Road {
    /// A call of REST, or with the verb `GRPC` one of gRPC: `https://HOST/package.Service/Method`.
    pub(crate) fn of(verb: &str, url: &str, message: Message) -> Self {
        match url.strip_prefix("https://").and_then(|rest| rest.split_once('/')) {
            Some((host, path)) if verb == GRPC => Self::Grpc {
                host: Some(host.to_owned()),
                path: path.to_owned(),
                message,
            },
            None if verb == GRPC => Self::Grpc {
                host: None,
                path: url.to_owned(),
                message,
            },
            _ => Self::Rest {
                verb: verb.to_owned(),
                url: url.to_owned(),
            },
        }
    }
}

impl Request {
    /// What it calls, and what secrets are found in it.
    ///
    /// # Errors
    /// The refusal that the gateway would answer with.
    pub(crate) fn understand(&self, tables: Tables, by: By<'_>) -> Result<Understood, Refused> {
        match &self.road {
            Road::Rest { verb, url } => self.rest(tables.catalog, by, verb, url),
            Road::Grpc { host, path, message } => self.grpc(tables, by, host.as_deref(), path, message),
        }
    }

    fn rest(&self, catalog: &Catalog, by: By<'_>, verb: &str, url: &str) -> Result<Understood, Refused> {
        let target = Target::from_url(verb, url).map_err(|e| Refused::new(e.reason(), &e))?;
        let mut found = catalog.classify(&target).map_err(unlisted)?;
        if catalog.is_storage_xml(&target) {
            let headers = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
            found = catalog
                .storage_xml_headers(&target, found, headers)
                .map_err(unlisted)?;
        }
        let mut calls = all(found);
        let seen = if is_content(&target) {
            Seen::Absent
        } else {
            self.seen()
        };
        // The bodies of the XML API name nothing.
        if !catalog.is_storage_xml(&target) {
            named_by_body(catalog, &mut calls, &target, &seen)?;
        }
        let pairs = target.query_pairs();
        Ok(Understood {
            form: match catalog.is_storage_xml(&target) {
                true => Form::Other,
                false => Form::Rest,
            },
            verb: target.verb().to_owned(),
            host: target.host().to_owned(),
            query: pairs.map(|(n, v)| (n.into_owned(), v.into_owned())).collect(),
            ..self.with(calls, seen, by)
        })
    }

    fn grpc(
        &self,
        tables: Tables,
        by: By<'_>,
        host: Option<&str>,
        path: &str,
        message: &Message,
    ) -> Result<Understood, Refused> {
        let path = format!("/{}", path.trim_start_matches('/'));
        let host = match host {
            Some(host) => host.to_ascii_lowercase(),
            None => {
                let mut serving = tables.grpc.methods().filter(|rpc| rpc.path() == path);
                let owner = serving.next().map(|rpc| rpc.host_service);
                format!("{}.googleapis.com", owner.unwrap_or("unknown"))
            }
        };
        let ungrpc = |e: turnpike_policy::grpc::Ungrpc| Refused::new(e.reason(), &e);
        let method = tables.grpc.method(tables.catalog, &host, &path).map_err(ungrpc)?;
        let calls = all(method.classify(&message.encode()).map_err(ungrpc)?);
        Ok(Understood {
            form: Form::Other,
            verb: "POST".to_owned(),
            host,
            query: Vec::new(),
            ..self.with(calls, self.seen(), by)
        })
    }

    fn with(&self, calls: Vec<Call>, body: Seen, by: By<'_>) -> Understood {
        Understood {
            calls,
            form: Form::Rest,
            verb: String::new(),
            host: String::new(),
            query: Vec::new(),
            headers: self.headers.clone(),
            size: Some(self.body.as_ref().map_or(0, |body| body.len() as u64)),
            body,
            found: self
                .search
                .of(self.body.as_deref().unwrap_or_default(), by.set, by.caller),
        }
    }

    fn seen(&self) -> Seen {
        match self.body.as_deref() {
            None | Some([]) => Seen::Absent,
            Some(bytes) => match json::object(bytes) {
                Ok(object) => Seen::Json(Value::Object(object)),
                Err(error) => Seen::Unreadable(error),
            },
        }
    }
}

/// Whether the body is what is stored, and says nothing about the call.
fn is_content(target: &Target) -> bool {
    let upload = matches!(
        (target.segment(0), target.segment(1)),
        ("upload", _) | ("resumable", "upload")
    );
    upload && matches!(target.query_value("uploadType"), Ok(Some(kind)) if kind == "media")
}

fn unlisted(error: Unlisted) -> Refused {
    Refused::new(error.reason(), &error)
}

fn all(found: Classified) -> Vec<Call> {
    std::iter::once(found.call).chain(found.also).collect()
}

/// Brings in what the query and a JSON body name: objects, sources, grants.
fn named_by_body(
    catalog: &Catalog,
    calls: &mut Vec<Call>,
    target: &Target,
    body: &Seen,
) -> Result<(), Refused> {
    let named = calls.iter().any(|c| storage_body::names_resources(c.method));
    let body: Option<&Map<String, Value>> = match body {
        Seen::Json(Value::Object(fields)) if named => Some(fields),
        Seen::Unreadable(error) if named => {
            let message = format!("the body names what is called, and cannot be read: {error}");
            return Err(Refused::new(error.reason(), &message));
        }
        _ => None,
    };
    if let Some(fields) = body {
        for call in calls.iter_mut() {
            let conflict = |e: storage_body::BodyConflict| Refused::new(e.reason(), &e);
            storage_body::object_from_metadata(call, fields).map_err(conflict)?;
            let more = storage_body::body_resources(call, fields).map_err(conflict)?;
            call.resources.extend(more);
        }
    }
    let mut shares = Vec::new();
    for call in calls.iter() {
        shares.extend(storage_body::grants(catalog, call, target, body).map_err(unlisted)?);
    }
    for share in shares {
        if !calls.contains(&share) {
            calls.push(share);
        }
    }
    Ok(())
}

impl Understood {
    /// Hands the facts of a decision to `then`.
    pub(crate) fn with_facts<T>(
        &self,
        circumstances: &Circumstances,
        then: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
            pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
        }
        let (query, headers) = (borrowed(&self.query), borrowed(&self.headers));
        then(&Facts {
            caller: &circumstances.caller,
            calls: &self.calls,
            request: RequestFacts {
                form: self.form,
                verb: &self.verb,
                host: &self.host,
                query: &query,
                headers: &headers,
                size: self.size,
                body: match &self.body {
                    Seen::Absent => Body::Absent,
                    Seen::Json(value) => Body::Json(value),
                    Seen::Unreadable(_) => Body::Unreadable,
                },
                parts: &[],
            },
            searched: self.found.searched(),
            pace: circumstances.pace,
            now: circumstances.now,
        })
    }
}

/// The fields of a gRPC message by their numbers, as far as they name what is called.
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(transparent)]
pub(crate) struct Message(BTreeMap<u32, Field>);

#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[serde(untagged)]
enum Field {
    Bool(bool),
    Number(i64),
    Text(String),
    Message(Message),
    Several(Vec<Field>),
}

impl Message {
    /// The message as it travels (protobuf's encoding).
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, field) in &self.0 {
            field.encode(*number, &mut out);
        }
        out
    }
}

impl Field {
    fn encode(&self, number: u32, out: &mut Vec<u8>) {
        let tag = |kind: u64| u64::from(number) << 3 | kind;
        let mut bytes = |content: &[u8]| {
            varint(tag(2), out);
            varint(content.len() as u64, out);
            out.extend_from_slice(content);
        };
        match self {
            Self::Text(text) => bytes(text.as_bytes()),
            Self::Message(message) => bytes(&message.encode()),
            Self::Bool(value) => {
                varint(tag(0), out);
                varint(u64::from(*value), out);
            }
            Self::Number(value) => {
                varint(tag(0), out);
                varint(value.cast_unsigned(), out);
            }
            Self::Several(fields) => fields.iter().for_each(|field| field.encode(number, out)),
        }
    }
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
