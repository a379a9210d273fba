//! A request as it is sent, its calls as the proxy would find them, and a score in one line.

use std::collections::BTreeMap;

use turnpike_policy::{
    call::Call,
    canonical::Target,
    catalog::Catalog,
    request::{Body, Form, RequestFacts},
    risk::{self, FACTORS, Inputs, Pace, Score},
    storage_body,
};

/// A Wednesday in the morning.
pub(crate) const WORKDAY: &str = "2026-03-04T09:00:00Z";

/// A request.
pub(crate) struct Sent<'a> {
    target: Target,
    query: Vec<(String, String)>,
    body: Body<'a>,
}

impl<'a> Sent<'a> {
    /// `VERB URL` and a body.
    pub(crate) fn new(line: &'a str, body: Body<'a>) -> Self {
        let (verb, url) = line.split_once(' ').expect("a verb and a URL");
        let target = Target::from_url(verb, url).unwrap_or_else(|e| panic!("{line}: {e}"));
        let query = target
            .query_pairs()
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        Self { target, query, body }
    }

    /// The facts, without query and headers.
    pub(crate) fn facts(&'a self) -> RequestFacts<'a> {
        RequestFacts {
            form: Form::Rest,
            verb: self.target.verb(),
            host: self.target.host(),
            query: &[],
            headers: &[],
            size: None,
            body: self.body,
            parts: &[],
        }
    }

    /// The score with these weights, of an agent that does nothing unusual.
    pub(crate) fn score(&self, weights: &BTreeMap<String, u8>) -> Score {
        let query: Vec<_> = self
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let request = RequestFacts {
            query: &query,
            ..self.facts()
        };
        let calls = calls(self);
        risk::score(
            weights,
            &mut |_| false,
            &[],
            &Inputs {
                calls: &calls,
                request: &request,
                pace: Pace::default(),
                now: WORKDAY.parse().expect("is a time"),
            },
        )
    }
}

pub(crate) fn catalog() -> &'static Catalog {
    Catalog::embedded().expect("the embedded catalogue loads")
}

/// The calls of a request, with those that it makes because it shares what it writes.
pub(crate) fn calls(sent: &Sent<'_>) -> Vec<Call> {
    let found = catalog()
        .classify(&sent.target)
        .unwrap_or_else(|e| panic!("{} {}: {e}", sent.target.verb(), sent.target.path()));
    let mut calls = vec![found.call];
    calls.extend(found.also);
    let body = match sent.body {
        Body::Json(value) => value.as_object(),
        _ => None,
    };
    let shares = storage_body::grants(catalog(), &calls[0], &sent.target, body).expect("is in the catalogue");
    calls.extend(shares);
    calls
}

/// `TOTAL = NAME POINTS (WHERE) + ...`; a factor's own words are left out, and must begin what is said.
pub(crate) fn shown(score: &Score) -> String {
    let shares: Vec<_> = score
        .shares
        .iter()
        .map(|share| {
            let own = FACTORS.iter().find(|factor| factor.name == share.factor);
            let place = match own {
                Some(factor) => share
                    .words
                    .strip_prefix(factor.words)
                    .expect("begins with the factor's words")
                    .to_owned(),
                None => format!(" ({})", share.words),
            };
            format!("{} {}{place}", share.factor, share.points)
        })
        .collect();
    if shares.is_empty() {
        return score.total.to_string();
    }
    format!("{} = {}", score.total, shares.join(" + "))
}
