//! Nothing that is added to a request makes it look less risky, and nothing that is hidden does.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::select};
use serde_json::{Map, Value};
use turnpike_policy::{
    call::Call,
    definition::CustomFactor,
    request::{Body, RequestFacts},
    risk::{self, FACTORS, Inputs, Pace, Score},
};

use crate::scored::{Sent, WORKDAY, calls};

const LINES: &[&str] = &[
    "GET https://storage.googleapis.com/storage/v1/b/b",
    "PATCH https://storage.googleapis.com/storage/v1/b/b",
    "POST https://storage.googleapis.com/storage/v1/b/b/acl",
    "DELETE https://storage.googleapis.com/storage/v1/b/b",
    "POST https://cloudresourcemanager.googleapis.com/v1/projects/p:setIamPolicy",
    "POST https://compute.googleapis.com/compute/v1/projects/p/global/firewalls",
    "PATCH https://compute.googleapis.com/compute/v1/projects/p/global/firewalls/f",
    "PATCH https://sqladmin.googleapis.com/v1/projects/p/instances/i",
    "POST https://run.googleapis.com/v2/projects/p/locations/l/services?serviceId=s",
    "PATCH https://spanner.googleapis.com/v1/projects/p/instances/i/databases/d",
    "PUT https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
    "GET https://secretmanager.googleapis.com/v1/projects/p/secrets/s/versions/1:access",
];

/// Names of fields that mean something, and some that do not.
const NAMES: &[&str] = &[
    "bindings",
    "members",
    "role",
    "policy",
    "auditConfigs",
    "auditLogConfigs",
    "exemptedMembers",
    "updateMask",
    "acl",
    "entity",
    "sourceRanges",
    "allowed",
    "direction",
    "logConfig",
    "enable",
    "enabled",
    "settings",
    "ipConfiguration",
    "authorizedNetworks",
    "value",
    "deletion_protection_enabled",
    "versioning",
    "lifecycle",
    "action",
    "type",
    "ingress",
    "labels",
    "",
];

const TEXTS: &[&str] = &[
    "allUsers",
    "user:a@example.com",
    "roles/owner",
    "roles/iam.serviceAccountUser",
    "roles/viewer",
    "0.0.0.0/0",
    "10.0.0.0/8",
    "*",
    "EGRESS",
    "Delete",
    "INGRESS_TRAFFIC_ALL",
    "deletionProtectionEnabled,auditConfigs",
    "",
];

fn body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        select(TEXTS).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (0..400_u32).prop_map(Value::from),
        Just(Value::Null),
    ];
    let object = |value: BoxedStrategy<Value>| {
        prop::collection::vec((select(NAMES), value), 0..5).prop_map(|fields| {
            fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Map<_, _>>()
        })
    };
    let inner = leaf.prop_recursive(4, 40, 5, move |value| {
        prop_oneof![
            prop::collection::vec(value.clone(), 0..4).prop_map(Value::from),
            object(value.boxed()).prop_map(Value::from),
        ]
    });
    prop::collection::vec((select(NAMES), inner), 0..5).prop_map(|fields| {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
        Value::Object(fields.collect())
    })
}

/// All that a score is made of.
#[derive(Debug, Clone)]
struct Case {
    lines: Vec<&'static str>,
    body: Value,
    weights: BTreeMap<String, u8>,
    factors: Vec<CustomFactor>,
    pace: Pace,
    weekend: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let names: Vec<_> = FACTORS.iter().map(|factor| factor.name).collect();
    let weights = prop::collection::btree_map(select(names).prop_map(str::to_owned), any::<u8>(), 0..5);
    let factor = (0..100_u8, any::<u8>()).prop_map(|(name, points)| CustomFactor {
        name: format!("own-{name}"),
        when: String::new(),
        points,
    });
    let pace =
        (any::<bool>(), 0..200_u32, 0..2_000_u32).prop_map(|(first_use, last_minute, last_hour)| Pace {
            first_use,
            last_minute,
            last_hour,
        });
    (
        prop::collection::vec(select(LINES), 1..4),
        body(),
        weights,
        prop::collection::vec(factor, 0..4),
        pace,
        any::<bool>(),
    )
        .prop_map(|(lines, body, weights, factors, pace, weekend)| Case {
            lines,
            body,
            weights,
            factors,
            pace,
            weekend,
        })
}

impl Case {
    fn calls(&self) -> Vec<Call> {
        let each = |line: &&'static str| calls(&Sent::new(line, Body::Absent));
        self.lines.iter().flat_map(each).collect()
    }

    fn score(&self, body: Body<'_>) -> Score {
        let request = RequestFacts {
            body,
            ..RequestFacts::default()
        };
        let now = if self.weekend {
            "2026-03-07T09:00:00Z"
        } else {
            WORKDAY
        };
        risk::score(
            &self.weights,
            &mut |_| true,
            &self.factors,
            &Inputs {
                calls: &self.calls(),
                request: &request,
                pace: self.pace,
                now: now.parse().expect("is a time"),
            },
        )
    }

    fn total(&self) -> u8 {
        self.score(Body::Json(&self.body)).total
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_score_is_the_sum_of_its_shares_in_their_order(case in case()) {
        let score = case.score(Body::Json(&case.body));
        let sum: u32 = score.shares.iter().map(|share| u32::from(share.points)).sum();
        prop_assert_eq!(u32::from(score.total), sum.min(100));
        let order = |share: &risk::Share| (std::cmp::Reverse(share.points), share.factor.clone());
        prop_assert!(score.shares.is_sorted_by_key(order), "{score:?}");
        prop_assert!(score.shares.iter().all(|share| (1..=100).contains(&share.points)));
        for share in &score.shares {
            let once = score.shares.iter().filter(|other| other.factor == share.factor).count();
            prop_assert!(once == 1 || share.factor.starts_with("own-"), "{score:?}");
        }
        // No text of the request is repeated, apart from the names that the tables have too.
        prop_assert!(score.shares.iter().all(|share| !share.words.contains("example")));
        prop_assert_eq!(score, case.score(Body::Json(&case.body)));
    }

    #[test]
    fn what_is_added_never_lowers_a_score(case in case(), line in select(LINES), points in any::<u8>()) {
        let before = case.total();
        let with = |change: &dyn Fn(&mut Case)| {
            let mut more = case.clone();
            change(&mut more);
            more.total()
        };
        prop_assert!(with(&|more| more.lines.push(line)) >= before, "a call");
        prop_assert!(with(&|more| more.lines.insert(0, line)) >= before, "a call before");
        prop_assert!(with(&|more| more.factors.push(CustomFactor {
            name: "more".to_owned(),
            when: String::new(),
            points,
        })) >= before, "a factor");
        prop_assert!(with(&|more| more.pace.first_use = true) >= before, "a first use");
        prop_assert!(with(&|more| more.pace.last_minute += 100) >= before, "more calls in a minute");
        for factor in FACTORS {
            let now = case.weights.get(factor.name).copied().unwrap_or(factor.points);
            let heavier = with(&|more| {
                more.weights.insert(factor.name.to_owned(), now.max(points));
            });
            prop_assert!(heavier >= before, "{}", factor.name);
        }
    }

    /// A field that no method has beside what is there: what stands elsewhere does not count as given.
    #[test]
    fn a_longer_body_is_not_less_risky(case in case(), extra in body()) {
        let mut longer = case.clone();
        if let Some(fields) = longer.body.as_object_mut() {
            fields.insert("somethingElse".to_owned(), extra);
        }
        prop_assert!(longer.total() >= case.total());
    }

    #[test]
    fn what_cannot_be_read_is_not_less_risky_than_what_can(case in case()) {
        let read = case.total();
        let unread = case.score(Body::Unreadable);
        prop_assert!(unread.total >= read, "{unread:?}");
        prop_assert_eq!(unread, case.score(Body::Unread));
    }
}
