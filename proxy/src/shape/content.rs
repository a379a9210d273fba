//! What a request's body may be. Google's servers read more than JSON: forms whose fields are query parameters,
//! protocol buffers, multipart. Each is another way to say what is called, so a body passes only as what its method
//! documents.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{normalise::media_type, refusal::Refusal};

/// Methods whose request is a `google.api.HttpBody`: content of any type, which says nothing about the call.
const ANY_CONTENT: &[&str] = &[
    "aiplatform.",
    "apigee.organizations.",
    "cloudbuild.",
    "firebasedataconnect.projects.locations.services.postgrest.",
    "healthcare.projects.locations.datasets.dicomStores.",
    "healthcare.projects.locations.datasets.fhirStores.",
];

/// Types that are never content: they would be read as parts of a call.
const NEVER: &[&str] = &[
    "application/x-www-form-urlencoded",
    "application/x-protobuf",
    "application/protobuf",
    "application/json+protobuf",
    "multipart/mixed",
    "multipart/form-data",
];

/// Checks the type of a body that a method takes as JSON; a body that does not say is said to be JSON.
///
/// # Errors
/// The refusal to answer with.
pub(super) fn check(method: &str, headers: &mut HeaderMap) -> Result<(), Refusal> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let given = match (types.next(), types.next()) {
        (None, _) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            return Ok(());
        }
        (Some(_), Some(_)) => return Err(unknown(method, "two types")),
        (Some(one), None) => one.to_str().map_err(|_| unknown(method, "no type at all"))?,
    };
    let media = media_type(given);
    let json = media == "application/json"
        || media == "text/json"
        || (media.starts_with("application/") && media.ends_with("+json"));
    let content = ANY_CONTENT.iter().any(|prefix| method.starts_with(prefix))
        && !NEVER.contains(&media.as_str())
        && !media.starts_with("application/grpc");
    match json || content {
        true => Ok(()),
        false => Err(unknown(method, &media)),
    }
}

fn unknown(method: &str, given: &str) -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "INVALID_ARGUMENT",
        "CONTENT_TYPE_UNKNOWN",
        format!("{method} takes application/json, and the request's body is said to be {given}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_pass_as_what_their_method_documents() {
        let cases: [(&str, &[&'static str], bool); 12] = [
            (
                "run.projects.locations.services.create",
                &["application/json; charset=UTF-8"],
                true,
            ),
            (
                "run.projects.locations.services.create",
                &["Application/JSON"],
                true,
            ),
            ("run.projects.locations.services.create", &[], true),
            (
                "run.projects.locations.services.create",
                &["application/x-www-form-urlencoded"],
                false,
            ),
            (
                "run.projects.locations.services.create",
                &["application/x-protobuf"],
                false,
            ),
            ("run.projects.locations.services.create", &["text/plain"], false),
            (
                "run.projects.locations.services.create",
                &["multipart/mixed; boundary=x"],
                false,
            ),
            (
                "run.projects.locations.services.create",
                &["application/json", "text/plain"],
                false,
            ),
            (
                "aiplatform.projects.locations.endpoints.rawPredict",
                &["text/csv"],
                true,
            ),
            (
                "aiplatform.projects.locations.endpoints.rawPredict",
                &["application/x-protobuf"],
                false,
            ),
            (
                "aiplatform.projects.locations.endpoints.rawPredict",
                &["application/grpc-web"],
                false,
            ),
            (
                "healthcare.projects.locations.datasets.fhirStores.fhir.create",
                &["application/fhir+json"],
                true,
            ),
        ];
        for (method, types, passes) in cases {
            let mut headers = HeaderMap::new();
            for value in types {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
            }
            assert_eq!(check(method, &mut headers).is_ok(), passes, "{method} {types:?}");
            assert!(!passes || headers.contains_key(header::CONTENT_TYPE));
        }
    }
}
