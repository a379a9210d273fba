//! `x-goog-request-params`: what Google's front ends route by. Clients repeat names of the message in it; nothing
//! is decided by it, and what goes on of it names only what was decided.

use http::HeaderValue;
use percent_encoding::percent_decode_str;
use turnpike_policy::call::Call;

/// The header's name.
pub(super) const HEADER: &str = "x-goog-request-params";

/// The parameters that name a resource of these calls or what it stands below; `None` where there are none.
pub(super) fn known(given: &HeaderValue, calls: &[Call]) -> Option<HeaderValue> {
    let given = given.to_str().ok()?;
    let names = |value: &str| {
        let resources = calls.iter().flat_map(|c| &c.resources);
        !value.is_empty()
            && resources
                .map(|r| r.name.as_str())
                .any(|name| is_above(value, name))
    };
    let kept: Vec<&str> = given
        .split('&')
        .filter(|pair| {
            let value = pair.split_once('=').map_or("", |(_, value)| value);
            percent_decode_str(value).decode_utf8().is_ok_and(|v| names(&v))
        })
        .collect();
    (!kept.is_empty())
        .then(|| HeaderValue::try_from(kept.join("&")).ok())
        .flatten()
}

/// Whether a name is another or stands above it.
fn is_above(above: &str, name: &str) -> bool {
    name.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_decided_is_named() {
        use smallvec::smallvec;
        use turnpike_policy::call::{MethodIndex, Resource, Scope, Traits, Transport};
        let call = Call {
            method: "storage.objects.get",
            index: MethodIndex(0),
            api: "storage",
            version: "v1",
            traits: Traits::READ,
            transport: Transport::Grpc,
            resources: smallvec![Resource {
                name: "projects/_/buckets/b/objects/o".to_owned(),
                project: None,
                location: None,
                kind: "objects",
                id: Some("o".to_owned()),
                scope: Scope::Exact,
            }],
        };
        let cases = [
            ("bucket=projects/_/buckets/b", Some("bucket=projects/_/buckets/b")),
            (
                "bucket=projects%2F_%2Fbuckets%2Fb&x=other",
                Some("bucket=projects%2F_%2Fbuckets%2Fb"),
            ),
            ("bucket=projects/_/buckets/bb", None),
            ("bucket=projects/_/buckets/b/", None),
            ("bucket=", None),
            ("bucket", None),
            ("bucket=projects/other", None),
        ];
        for (given, wanted) in cases {
            let kept = known(&HeaderValue::from_static(given), std::slice::from_ref(&call));
            assert_eq!(kept, wanted.map(HeaderValue::from_static), "{given}");
        }
    }
}
