//! Every binding of every RPC: a message that fits it is the call that its URL makes.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use turnpike_policy::{
    call::{Call, Transport},
    canonical::Target,
    catalog::{Classified, Unlisted},
};

use super::{
    catalog, grpc,
    message::{number, text},
    method,
};

/// What all bindings gave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    /// Bindings with a URL whose call is the only one.
    same: usize,
    /// Bindings with a URL whose call is one of several that the message makes.
    among: usize,
    /// Bindings without a URL: the name is the message's.
    named: usize,
    /// Bindings without a URL and without a name.
    unnamed: usize,
}

#[test]
fn every_binding_is_the_call_that_its_url_makes() {
    let mut counts = Counts::default();
    let mut wrong = Vec::new();
    for rpc in grpc().methods() {
        let method = method(rpc.host_service, &rpc.path()[1..]).expect("a method of the table");
        for binding in rpc.bindings.split(' ') {
            let sample = Sample::of(binding, rpc.host_service);
            match method.classify(&sample.message) {
                Ok(found) => count(&sample, &found, &rpc.own_id(), &mut counts, &mut wrong),
                Err(why) => wrong.push(format!("{} {binding}: {why}", rpc.own_id())),
            }
        }
    }
    println!("grpc bindings: {counts:?}");
    assert!(wrong.is_empty(), "{}: {}", wrong.len(), wrong.join("\n"));
    assert_eq!(
        counts,
        Counts {
            same: 14_708,
            among: 14,
            named: 3_281,
            unnamed: 191,
        }
    );
}

fn count(sample: &Sample, found: &Classified, own_id: &str, counts: &mut Counts, wrong: &mut Vec<String>) {
    let all: Vec<&Call> = std::iter::once(&found.call).chain(&found.also).collect();
    match &sample.expected {
        Expected::Rest(target) => {
            let (rest, in_body) = match catalog().classify(target) {
                // A field of the message that is in the body of its REST form: a URL does not name it.
                Err(Unlisted::UnknownParameter { .. }) => {
                    let plain = Target::new(target.verb(), target.host(), target.path()).expect("a target");
                    (catalog().classify(&plain), true)
                }
                found => (found, false),
            };
            let rest = rest.expect("a call");
            let rest: Vec<Call> = std::iter::once(rest.call)
                .chain(rest.also)
                .map(|call| Call {
                    transport: Transport::Grpc,
                    ..call
                })
                .collect();
            // A version that names the same method is the same call.
            let same = |a: &Call, b: &Call| {
                let all_named = b.resources.iter().all(|r| a.resources.contains(r));
                a.method == b.method && all_named && (in_body || a.resources == b.resources)
            };
            if !rest.iter().all(|r| all.iter().any(|c| same(c, r))) {
                wrong.push(format!("{own_id} {}: {all:?} and not {rest:?}", target.path()));
            } else if rest.len() == all.len() {
                counts.same += 1;
            } else {
                counts.among += 1;
            }
        }
        Expected::Named(id, name) => {
            let id = if id.is_empty() { own_id } else { id };
            let is =
                |c: &&Call| c.method == id && c.resources.iter().map(|r| r.name.as_str()).eq(name.as_deref());
            if !all.iter().any(is) {
                wrong.push(format!("{own_id}: {all:?} and not {id} {name:?}"));
            } else if name.is_some() {
                counts.named += 1;
            } else {
                counts.unnamed += 1;
            }
        }
    }
}

/// A message and what it should be.
struct Sample {
    message: Vec<u8>,
    expected: Expected,
}

enum Expected {
    Rest(Box<Target>),
    Named(String, Option<String>),
}

impl Sample {
    fn of(binding: &str, host: &str) -> Self {
        let (kind, template) = if binding.starts_with("N:") {
            let fields: Vec<_> = binding.splitn(7, ':').collect();
            (None, fields[6])
        } else {
            let verb = match &binding[..1] {
                "G" => "GET",
                "P" => "POST",
                "U" => "PUT",
                "A" => "PATCH",
                _ => "DELETE",
            };
            (Some(verb), &binding[1..])
        };
        let mut message = BTreeMap::new();
        let mut out = String::new();
        let mut left = template;
        while let Some((before, rest)) = left.split_once('{') {
            let (variable, behind) = rest.split_once('}').expect("a variable");
            let (field, pattern) = variable.split_once('=').unwrap_or((variable, "@"));
            out.push_str(before);
            let digits = field.ends_with('#');
            // Older fields must not contradict the path.
            let parameter = before.rsplit(['?', '&']).next();
            let (value, shown) = match parameter {
                Some("locationId=") => ("us-central1".to_owned(), "us-central1".to_owned()),
                Some("projectId=") => ("acme-dev".to_owned(), "acme-dev".to_owned()),
                _ => value_of(pattern, digits, kind.is_some()),
            };
            let path: Vec<u32> = field
                .trim_end_matches('#')
                .split('.')
                .map(|n| n.parse().expect("a number"))
                .collect();
            message.insert(path, value);
            out.push_str(&shown);
            left = behind;
        }
        out.push_str(left);
        let message = message
            .iter()
            .flat_map(|(path, value)| match value.parse::<u64>() {
                Ok(value) => number(path, value),
                Err(_) => text(path, value),
            })
            .collect();
        let expected = match kind {
            Some(verb) => Expected::Rest(Box::new(
                Target::new(verb, &format!("{host}.googleapis.com"), &out)
                    .unwrap_or_else(|e| panic!("{out}: {e}")),
            )),
            None => {
                let fields: Vec<_> = binding.splitn(7, ':').collect();
                let named = !fields[2].contains('u') && !out.is_empty();
                Expected::Named(fields[5].to_owned(), named.then_some(out))
            }
        };
        Self { message, expected }
    }
}

/// A value that fits a pattern, and what stands for it in the URL or the name.
fn value_of(pattern: &str, digits: bool, encoded: bool) -> (String, String) {
    if digits {
        return ("1234".to_owned(), "1234".to_owned());
    }
    let encode = |text: &str| match encoded {
        true => utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        false => text.to_owned(),
    };
    let (mut value, mut shown, mut captured) = (Vec::new(), Vec::new(), None);
    let mut before = "";
    for piece in pattern.split('/') {
        let inner = piece.trim_start_matches('(').trim_end_matches(')');
        let segments = match inner {
            "*" if before == "projects" => vec!["acme-dev"],
            "*" if before == "buckets" => vec!["acme-data"],
            "*" if before == "locations" => vec!["us-central1"],
            "*" if before == "serviceAccounts" => vec!["ci@acme-dev.iam.gserviceaccount.com"],
            "*" | "@" => vec!["item é:1"],
            // Documents stand in pairs of collection and id.
            "**" if pattern.contains("documents/*/**") => vec!["alice"],
            "**" => vec!["first-1", "second-2"],
            literal => vec![literal],
        };
        if inner != piece {
            captured = Some(encode(&segments.join("/")));
        }
        shown.extend(segments.iter().map(|s| encode(s)));
        value.extend(segments);
        before = inner;
    }
    (value.join("/"), captured.unwrap_or_else(|| shown.join("/")))
}
