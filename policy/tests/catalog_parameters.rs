//! Query parameters: each method takes its own in both spellings, the system's, and no other.

mod common;

use turnpike_policy::{
    canonical::Target,
    catalog::{Catalog, Method},
};

use common::{catalog, path_of};

const RUN: &str = "PATCH https://run.googleapis.com/v2/projects/p/locations/l/services/s";
const SECRETS: &str = "GET https://secretmanager.googleapis.com/v1/projects/p/secrets";
const POLICY: &str = "GET https://secretmanager.googleapis.com/v1/projects/p/secrets/s:getIamPolicy";
const OBJECT: &str = "GET https://storage.googleapis.com/storage/v1/b/reports/o/a";
const UPLOAD: &str = "POST https://storage.googleapis.com/upload/storage/v1/b/reports/o";
const CHUNK: &str = "PUT https://storage.googleapis.com/upload/storage/v1/b/reports/o";
const DATASETS: &str = "https://healthcare.googleapis.com/v1/projects/p/locations/l/datasets/d";

/// The reason of a refusal, or nothing.
fn told(line: &str, query: &str) -> String {
    let (verb, url) = line.split_once(' ').expect("a verb and a URL");
    match Target::from_url(verb, &format!("{url}?{query}")) {
        Ok(target) => match catalog().classify(&target) {
            Ok(_) => String::new(),
            Err(why) => why.reason().to_owned(),
        },
        Err(why) => why.reason().to_owned(),
    }
}

#[test]
fn spellings_of_one_s_own_and_of_others() {
    let unknown = "UNKNOWN_PARAMETER";
    let search = format!("GET {DATASETS}/dicomStores/d/dicomWeb/studies");
    let read = format!("GET {DATASETS}/fhirStores/f/fhir/Patient/1");
    for (line, query, expected) in [
        (RUN, "updateMask=ingress", ""),
        (RUN, "update_mask=ingress", ""),
        (RUN, "%75pdateMask=ingress", ""),
        (RUN, "updateMask=a&updateMask=b", ""),
        (RUN, "updateMask", ""),
        (RUN, "updateMask.paths=ingress", unknown),
        (RUN, "UpdateMask=ingress", unknown),
        (RUN, "update_Mask=ingress", unknown),
        (RUN, "+updateMask=ingress", unknown),
        (RUN, "=x", unknown),
        (RUN, "service.ingress=INGRESS_TRAFFIC_ALL", unknown),
        (RUN, "ingress=INGRESS_TRAFFIC_ALL", unknown),
        (RUN, "ingress", unknown),
        (RUN, "%69ngress=x", unknown),
        (RUN, "validateOnly=true&ingress=x", unknown),
        (RUN, "$ingress=x", "QUERY_SYSTEM_PARAMETER_UNKNOWN"),
        (RUN, "%24ingress=x", "QUERY_SYSTEM_PARAMETER_UNKNOWN"),
        // A sibling's.
        (RUN, "pageSize=1", unknown),
        (SECRETS, "pageSize=1&page_token=x&filter=y", ""),
        (SECRETS, "updateMask=x", unknown),
        (POLICY, "options.requestedPolicyVersion=3", ""),
        (POLICY, "options.requested_policy_version=3", ""),
        (POLICY, "options=3", unknown),
        (POLICY, "requestedPolicyVersion=3", unknown),
        (POLICY, "options.x=3", unknown),
        (POLICY, "options_requestedPolicyVersion=3", unknown),
        // The system's.
        (RUN, "alt=json&$alt=json;enum-encoding=int&%24alt=json", ""),
        (
            RUN,
            "fields=a&$fields=b&prettyPrint=false&pp=1&quotaUser=x&userIp=y&$.xgafv=2",
            "",
        ),
        (RUN, "key=k&access_token=t&callback=c&userProject=p", ""),
        (RUN, ".xgafv=2", unknown),
        (RUN, "apiVersion=2", unknown),
        // Uploads.
        (UPLOAD, "uploadType=resumable&name=a&ifGenerationMatch=0", ""),
        (UPLOAD, "upload_protocol=resumable&name=a", ""),
        (UPLOAD, "uploadType=media&name=a&ingress=x", unknown),
        (CHUNK, "uploadType=resumable&name=a&upload_id=x&anything=y", ""),
        (OBJECT, "alt=media&generation=1", ""),
        (OBJECT, "upload_id=x", unknown),
        // What discovery does not list.
        (
            "GET https://bigquery.googleapis.com/bigquery/v2/projects/p/jobs/j",
            "location=EU&projection=full",
            "",
        ),
        (
            "GET https://bigquery.googleapis.com/bigquery/v2/projects/p/queries/j",
            "location=EU&projection=full",
            unknown,
        ),
        (&search, "PatientName=x&00100020=y", ""),
        (&read, "_summary=true", ""),
        (&read, "PatientName=x", unknown),
        // Every reading must have it: this is a secret of that name, or a list of its versions.
        (
            "GET https://secretmanager.googleapis.com/v1/projects/p/secrets/db%2Fversions",
            "pageSize=1",
            unknown,
        ),
    ] {
        assert_eq!(told(line, query), expected, "{line}?{query}");
    }
}

#[test]
fn a_refusal_tells_what_was_probably_meant() {
    let message = |query: &str| {
        let (verb, url) = RUN.split_once(' ').expect("a verb and a URL");
        let target = Target::from_url(verb, &format!("{url}?{query}")).expect("a canonical target");
        catalog().classify(&target).expect_err("is refused").to_string()
    };
    let end = "Parameters are those of Google's discovery documents; that this one is missing there would have to be \
               told to those who make Turnpike";
    assert_eq!(
        message("updatemask=x"),
        format!(
            "run.projects.locations.services.patch has no query parameter \"updatemask\"; did you mean updateMask? {end}"
        )
    );
    assert_eq!(
        message("ingress=x"),
        format!(
            "run.projects.locations.services.patch has no query parameter \"ingress\"; leave it out, or send it in the \
             body where the method takes it there. {end}"
        )
    );
    assert_eq!(message(&"x".repeat(5_000)).matches('x').count(), 64);
}

/// Methods whose every own parameter passes in a spelling, and how many parameters that are.
fn own(catalog: &Catalog, spelled: fn(&str) -> String) -> (usize, usize) {
    let mut count = (0, 0);
    for method in catalog.methods() {
        let query: Vec<_> = method
            .query_parameters()
            .map(|name| match name {
                // Its value is judged too.
                "alt" => "alt=json".to_owned(),
                name => spelled(name) + "=",
            })
            .collect();
        count.0 += 1;
        count.1 += query.len();
        let found = catalog.classify(&target(&method, &query.join("&")));
        assert!(found.is_ok(), "{}: {query:?}: {found:?}", method.id);
    }
    count
}

fn target(method: &Method<'_>, query: &str) -> Target {
    let path = format!("{}?{query}", path_of(method));
    Target::new(method.verb, &method.host(), &path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[test]
fn every_method_takes_its_own_and_no_unheard_of() {
    let catalog = catalog();
    let plain = own(catalog, str::to_owned);
    assert_eq!(plain, own(catalog, snake));
    println!("{} parameters of {} methods", plain.1, plain.0);
    for method in catalog.methods() {
        let found = catalog.classify(&target(&method, "unheardOf=1"));
        let reason = found.err().map(|why| why.reason());
        let searches = method.id.contains(".searchFor") || method.id.contains(".fhir.");
        assert!(
            reason == Some("UNKNOWN_PARAMETER") || searches,
            "{}: {reason:?}",
            method.id
        );
    }
}
