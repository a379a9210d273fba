//! The risk score: what calls of the catalogue are worth, whole values compared.

mod properties;
mod scored;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use turnpike_policy::{
    definition::CustomFactor,
    request::{Body, RequestFacts},
    risk::{self, FACTORS, Inputs, Pace, body_matters},
};

use scored::{Sent, WORKDAY, calls, catalog, shown};

#[test]
fn names_of_factors_are_distinct_and_their_sources_are_googles() {
    let names: BTreeSet<_> = FACTORS.iter().map(|factor| factor.name).collect();
    assert_eq!(names.len(), FACTORS.len());
    for factor in FACTORS {
        assert!(risk::is_factor(factor.name));
        assert!(factor.points <= 100, "{}", factor.name);
        for source in factor.sources {
            assert!(
                source.starts_with("https://docs.cloud.google.com/")
                    || source.starts_with("https://developers.google.com/"),
                "{source}"
            );
        }
    }
    assert!(!risk::is_factor("harmless"));
}

/// A pattern that fits no method would be a line of the documents that says nothing.
#[test]
fn every_pattern_of_the_tables_is_of_a_method_that_may_change_something() {
    let changing: Vec<_> = catalog()
        .methods()
        .filter(|method| !method.traits.names().any(|name| name == "read"))
        .map(|method| method.id)
        .collect();
    let of_methods = risk::methods().flat_map(|(_, patterns)| patterns);
    let fields: Vec<_> = risk::fields().collect();
    let of_fields = fields
        .iter()
        .flat_map(|field| field.methods.iter().chain(field.absent));
    let unused: Vec<_> = of_methods
        .chain(of_fields)
        .filter(|pattern| {
            let glob = turnpike_policy::glob::MethodGlob::parse(pattern).expect("is a glob");
            !changing.iter().any(|id| glob.matches(id))
        })
        .collect();
    assert_eq!(unused, Vec::<&&str>::new());
}

#[test]
fn bodies_matter_where_a_factor_looks_at_them() {
    let matters = |line: &str| calls(&Sent::new(line, Body::Absent)).iter().any(body_matters);
    let cases = [
        (
            "POST https://cloudresourcemanager.googleapis.com/v1/projects/p:setIamPolicy",
            true,
        ),
        (
            "POST https://cloudresourcemanager.googleapis.com/v1/projects/p:getIamPolicy",
            false,
        ),
        ("PUT https://storage.googleapis.com/storage/v1/b/b/iam", true),
        ("PATCH https://storage.googleapis.com/storage/v1/b/b", true),
        ("GET https://storage.googleapis.com/storage/v1/b/b", false),
        (
            "POST https://storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=media&name=o",
            false,
        ),
        (
            "POST https://storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=media&name=o&predefinedAcl=publicRead",
            true,
        ),
        ("DELETE https://storage.googleapis.com/storage/v1/b/b", false),
        (
            "POST https://run.googleapis.com/v2/projects/p/locations/l/services?serviceId=s",
            true,
        ),
        (
            "DELETE https://run.googleapis.com/v2/projects/p/locations/l/services/s",
            false,
        ),
    ];
    for (line, wanted) in cases {
        assert_eq!(matters(line), wanted, "{line}");
    }
}

#[test]
fn weights_replace_points_and_a_policys_factors_are_added() {
    let sent = Sent::new(
        "DELETE https://storage.googleapis.com/storage/v1/b/b",
        Body::Absent,
    );
    let factor = |name: &str, points| CustomFactor {
        name: name.to_owned(),
        when: "true".to_owned(),
        points,
    };
    let factors = [
        factor("production", 25),
        factor("never", 90),
        factor("nothing", 0),
        factor("audited", 20),
    ];
    let weights = BTreeMap::from([
        ("change".to_owned(), 0),
        ("destructive".to_owned(), 20),
        ("deletes-data".to_owned(), 3),
        ("off-hours".to_owned(), 1),
    ]);
    let calls = calls(&sent);
    let mut asked = Vec::new();
    let score = risk::score(
        &weights,
        &mut |i| {
            asked.push(i);
            i != 1
        },
        &factors,
        &Inputs {
            calls: &calls,
            request: &sent.facts(),
            pace: Pace::default(),
            now: "2026-03-01T12:00:00Z".parse().expect("a Sunday"),
        },
    );
    assert_eq!(
        shown(&score),
        "69 = production 25 (a condition of the policy holds) + audited 20 (a condition of the policy holds) + \
         destructive 20 + deletes-data 3 + off-hours 1"
    );
    // What counts for nothing is not even asked.
    assert_eq!(asked, [0, 1, 3]);
}

#[test]
fn the_time_and_the_pace_count() {
    let sent = Sent::new("GET https://storage.googleapis.com/storage/v1/b/b", Body::Absent);
    let calls = calls(&sent);
    let weights = BTreeMap::from([("off-hours".to_owned(), 7)]);
    let at = |now: &str, pace: Pace| {
        shown(&risk::score(
            &weights,
            &mut |_| false,
            &[],
            &Inputs {
                calls: &calls,
                request: &sent.facts(),
                pace,
                now: now.parse().expect("is a time"),
            },
        ))
    };
    let pace = |first_use, last_minute, last_hour| Pace {
        first_use,
        last_minute,
        last_hour,
    };
    let slow = Pace::default();
    // 2026-03-06 is a Friday.
    let cases = [
        ("2026-03-06T05:59:59Z", slow, "7 = off-hours 7"),
        ("2026-03-06T06:00:00Z", slow, "0"),
        ("2026-03-06T19:59:59Z", slow, "0"),
        ("2026-03-06T20:00:00Z", slow, "7 = off-hours 7"),
        ("2026-03-07T12:00:00Z", slow, "7 = off-hours 7"),
        ("2026-03-08T12:00:00Z", slow, "7 = off-hours 7"),
        ("2026-03-09T12:00:00Z", slow, "0"),
        ("1969-12-28T12:00:00Z", slow, "7 = off-hours 7"),
        ("1969-12-29T12:00:00Z", slow, "0"),
        (WORKDAY, pace(true, 1, 1), "5 = first-use 5"),
        (WORKDAY, pace(false, 59, 59), "0"),
        (WORKDAY, pace(false, 60, 60), "10 = burst 10"),
        // 708 in the other 59 minutes are 12 a minute, a fifth of 60.
        (WORKDAY, pace(false, 60, 767), "10 = burst 10"),
        (WORKDAY, pace(false, 60, 768), "0"),
        (WORKDAY, pace(true, u32::MAX, 0), "15 = burst 10 + first-use 5"),
    ];
    for (now, pace, wanted) in cases {
        assert_eq!(at(now, pace), wanted, "{now} {pace:?}");
    }
}

/// Several calls of one request: each factor counts once, for its most.
#[test]
fn a_factor_counts_once_for_all_calls_of_a_request() {
    let mut all = Vec::new();
    for line in [
        "DELETE https://storage.googleapis.com/storage/v1/b/b/o/o",
        "DELETE https://storage.googleapis.com/storage/v1/b/b/o/p",
        "DELETE https://storage.googleapis.com/storage/v1/b/b",
        "GET https://storage.googleapis.com/storage/v1/b/b",
    ] {
        all.extend(calls(&Sent::new(line, Body::Absent)));
    }
    let request = RequestFacts {
        body: Body::Absent,
        ..RequestFacts::default()
    };
    let score = |calls: &[_]| {
        shown(&risk::score(
            &BTreeMap::new(),
            &mut |_| false,
            &[],
            &Inputs {
                calls,
                request: &request,
                pace: Pace::default(),
                now: WORKDAY.parse().expect("is a time"),
            },
        ))
    };
    assert_eq!(score(&all[..2]), "35 = destructive 25 + change 10");
    assert_eq!(score(&all), "65 = deletes-data 30 + destructive 25 + change 10");
    assert_eq!(score(&[]), "0");
}

/// The XML API says in a header what the JSON API says in a parameter.
#[test]
fn headers_that_share_count() {
    let score = |line: &str, value: &str| {
        let request = RequestFacts {
            headers: &[("content-type", "text/plain"), ("x-goog-acl", value)],
            body: Body::Absent,
            ..RequestFacts::default()
        };
        shown(&risk::score(
            &BTreeMap::new(),
            &mut |_| false,
            &[],
            &Inputs {
                calls: &calls(&Sent::new(line, Body::Absent)),
                request: &request,
                pace: Pace::default(),
                now: WORKDAY.parse().expect("is a time"),
            },
        ))
    };
    let upload = "POST https://storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=media&name=o";
    assert_eq!(
        score(upload, "Public-Read"),
        "60 = public-access 50 (x-goog-acl: everybody) + change 10"
    );
    assert_eq!(score(upload, "private"), "10 = change 10");
    let list = "GET https://storage.googleapis.com/storage/v1/b/b/o";
    assert_eq!(score(list, "public-read"), "0");
    let elsewhere = "POST https://pubsub.googleapis.com/v1/projects/p/topics/t:publish";
    assert_eq!(score(elsewhere, "public-read"), "10 = change 10");
}

/// What hides a body is worth as much as the worst that could be in it.
#[test]
fn what_cannot_be_read_counts_as_all_that_could_be_there() {
    let hidden = |line: &str, weights: &[(&str, u8)]| {
        let weights = weights
            .iter()
            .map(|(name, points)| ((*name).to_owned(), *points))
            .collect();
        let unread = shown(&Sent::new(line, Body::Unread).score(&weights));
        let unreadable = shown(&Sent::new(line, Body::Unreadable).score(&weights));
        assert_eq!(unread, unreadable, "{line}");
        let text = json!("not an object");
        assert_eq!(
            shown(&Sent::new(line, Body::Json(&text)).score(&weights)),
            unread,
            "{line}"
        );
        unread
    };
    let set = "POST https://cloudresourcemanager.googleapis.com/v1/projects/p:setIamPolicy";
    let firewall = "PATCH https://compute.googleapis.com/compute/v1/projects/p/global/firewalls/f";
    assert_eq!(hidden(set, &[]), "100 = unreadable-body 100 + iam 20 + change 10");
    assert_eq!(
        hidden(firewall, &[]),
        "95 = unreadable-body 70 + network-exposure 15 + change 10"
    );
    assert_eq!(
        hidden(firewall, &[("open-network", 3), ("audit-off", 0)]),
        "45 = unreadable-body 20 + network-exposure 15 + change 10"
    );
    assert_eq!(
        hidden(firewall, &[("unreadable-body", 80)]),
        "100 = unreadable-body 80 + network-exposure 15 + change 10"
    );
    let upload = "POST https://storage.googleapis.com/upload/storage/v1/b/b/o?uploadType=media&name=o";
    assert_eq!(hidden(upload, &[]), "10 = change 10");
    assert_eq!(
        hidden(&format!("{upload}&predefinedAcl=projectPrivate"), &[]),
        "80 = unreadable-body 50 + iam 20 + change 10"
    );
    // A body that nests too deeply was not looked through either.
    let mut deep = json!({});
    for _ in 0..200 {
        deep = json!({ "a": deep });
    }
    let score = |body: &Value| shown(&Sent::new(firewall, Body::Json(body)).score(&BTreeMap::new()));
    assert_eq!(
        score(&deep),
        "95 = unreadable-body 70 + network-exposure 15 + change 10"
    );
    let mut lists = json!([]);
    for _ in 0..200 {
        lists = json!([lists]);
    }
    assert_eq!(
        score(&json!({ "a": lists })),
        "95 = unreadable-body 70 + network-exposure 15 + change 10"
    );
}
