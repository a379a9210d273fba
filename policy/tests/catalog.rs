//! Every method of the catalogue is found by a URL made from its template, on every host that serves it, and
//! no input makes the look-up fail otherwise than by a named refusal.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use turnpike_policy::{
    call::Traits,
    canonical::Target,
    catalog::{Catalog, Method},
    explain::explain_line,
};

use common::{catalog, path_of};

/// What all methods gave, counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    methods: usize,
    /// The method is the first reading, and the API and version are its own.
    exact: usize,
    /// The method is another reading than the first.
    also: usize,
    /// Requests that have more than one reading.
    ambiguous: usize,
}

fn count(url: impl Fn(&Method<'_>) -> Option<(String, String)>) -> Counts {
    let mut counts = Counts::default();
    for method in catalog().methods() {
        let Some((host, path)) = url(&method) else {
            continue;
        };
        counts.methods += 1;
        let target = Target::new(method.verb, &host, &path).unwrap_or_else(|e| panic!("{host}{path}: {e}"));
        let found = catalog()
            .classify(&target)
            .unwrap_or_else(|e| panic!("{} {host}{path}: {e}", method.verb));
        let is = |c: &turnpike_policy::call::Call| {
            (c.method, c.api, c.version, c.index) == (method.id, method.api, method.version, method.index)
        };
        counts.ambiguous += usize::from(!found.also.is_empty());
        if is(&found.call) {
            counts.exact += 1;
        } else if found.also.iter().any(is) {
            counts.also += 1;
        } else {
            panic!(
                "{} {host}{path}: {} expected, {found:?} found",
                method.verb, method.id
            );
        }
    }
    counts
}

/// All methods come back. Ambiguous are requests where Google's own table has two templates with a run of
/// segments that fit, and only the server knows which it takes: six of Managed Kafka's schemas
/// (`schemas/**/versions` is `schemas/**` too), two of Firestore's collections (`documents/*/**/*` is
/// `documents/*/**` too) and one of Cloud Search's operations (`operations/**/lro`).
#[test]
fn every_method_is_found_by_its_own_url() {
    let counts = count(|m| Some((m.host(), path_of(m))));
    // Ids of RPCs that no REST method stands for are the other table's.
    let ids: BTreeSet<_> = catalog().methods().map(|m| m.id).collect();
    println!(
        "catalog: {} of {} methods ({} ids) found by a URL built from their template, {} with a second reading",
        counts.exact,
        counts.methods,
        ids.len(),
        counts.ambiguous
    );
    assert_eq!(catalog().method_count(), 26_958);
    assert_eq!(ids.len(), 16_957);
    assert_eq!(
        counts,
        Counts {
            methods: 26_958,
            exact: 26_958,
            also: 0,
            ambiguous: 9
        }
    );
}

#[test]
fn every_method_is_found_on_other_hosts_of_its_service() {
    let all = |host: fn(&str) -> String| count(|m| Some((host(m.service), path_of(m))));
    let main = count(|m| Some((m.host(), path_of(m))));
    for host in [
        |s: &str| format!("{s}.mtls.googleapis.com"),
        |s: &str| format!("content-{s}.googleapis.com"),
        |s: &str| format!("europe-west12-{s}.googleapis.com"),
        |s: &str| format!("{s}.us-central1.rep.googleapis.com"),
        |s: &str| format!("{s}.eu.rep.mtls.googleapis.com"),
        |s: &str| format!("{s}-myendpoint.p.googleapis.com"),
    ] {
        assert_eq!(all(host), main);
    }
}

#[test]
fn legacy_uploads_and_downloads_are_found() {
    let legacy = count(|m| m.on_www().then(|| ("www.googleapis.com".to_owned(), path_of(m))));
    let upload = |prefix: &'static str| {
        count(move |m| m.uploads.then(|| (m.host(), format!("{prefix}{}", path_of(m)))))
    };
    let download = count(|m| {
        (m.downloads && !m.template.starts_with("download/"))
            .then(|| (m.host(), format!("/download{}?alt=media", path_of(m))))
    });
    let counts = [legacy, upload("/upload"), upload("/resumable/upload"), download];
    println!("{counts:?}");
    assert!(
        counts.iter().all(|c| c.methods == c.exact && c.ambiguous == 0),
        "{counts:?}"
    );
    assert_eq!(counts.map(|c| c.methods), [5_992, 73, 73, 39]);
}

/// Of each trait, how many methods have it: a change of the generator's tables shows here.
#[test]
fn traits_are_spread_as_reviewed() {
    let mut counts = BTreeMap::new();
    for method in catalog().methods() {
        for name in method.traits.names() {
            *counts.entry(name).or_insert(0) += 1;
        }
        let (read, change) = (
            method.traits.contains(Traits::READ),
            method.traits.contains(Traits::CHANGE),
        );
        assert!(read != change, "{} both reads and changes, or neither", method.id);
        assert!(
            !read || !method.traits.contains(Traits::DESTRUCTIVE),
            "{} reads and destroys",
            method.id
        );
    }
    let expected: BTreeMap<&str, i32> = [
        ("change", 14_264),
        ("destructive", 3_408),
        ("iam", 2_007),
        ("read", 12_694),
        ("returns-credentials", 188),
    ]
    .into();
    assert_eq!(counts, expected);
}

#[test]
fn budgets_of_memory_and_repository() {
    let packed = include_bytes!("../data/catalog.gz");
    assert!(packed.len() < 400 * 1024, "{} bytes packed", packed.len());
    let bytes = catalog().heap_bytes();
    println!("{bytes} bytes in memory");
    assert!(bytes < 24 * 1024 * 1024, "{bytes} bytes in memory");
}

#[test]
fn data_that_is_not_the_catalogue_is_refused() {
    let pack = |text: &str| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(text.as_bytes()).expect("memory");
        packer.finish().expect("memory")
    };
    let error = |packed: &[u8]| {
        Catalog::load(packed)
            .map(|c| c.method_count())
            .map_err(|e| e.to_string())
    };
    let good = "turnpike-catalog 2 x\nparameters a b\nset\nset 1\napi a v1 a\n= a.b.get 1\n0 G v1/b/* n1-3,kb,i2 01\n";
    assert_eq!(error(&pack(good)), Ok(1));
    let damaged = |line| Err(format!("the method catalogue is damaged at line {line}"));
    for (line, text) in [
        (8, format!("{good}0 X v1/c n1 01\n")),
        (8, format!("{good}9 G v1/c n1 01\n")),
        (8, format!("{good}0 G v1/**/**/c n1 01\n")),
        (8, format!("{good}0 G v1/c z1 01\n")),
        (8, format!("{good}0 G v1/c n1 ff\n")),
        (8, format!("{good}0 G v1/c n1 01 more\n")),
        (8, format!("{good}\n")),
        (8, format!("{good}set 2\n")),
        (8, format!("{good}set x\n")),
        (8, format!("{good}= a.b.list 2\n")),
        (8, format!("{good}= a.b.list\n")),
        (2, "turnpike-catalog 2 x\nalias b a\n".to_owned()),
    ] {
        assert_eq!(error(&pack(&text)), damaged(line), "{text}");
    }
    let format = Err(
        "the method catalogue has another format than this build reads (\"turnpike-catalog 2 \")".to_owned(),
    );
    for text in [
        "",
        "turnpike-catalog 1 x\n",
        "turnpike-catalog 2 x\n",
        &good.replace("= a", "= z 0\n= a"),
    ] {
        assert_eq!(error(&pack(text)), format, "{text}");
    }
    let mut torn = pack(good);
    torn.truncate(torn.len() - 4);
    assert!(error(&torn).is_err_and(|e| e.starts_with("the method catalogue cannot be unpacked")));
    assert!(error(b"plain").is_err_and(|e| e.starts_with("the method catalogue cannot be unpacked")));
}

/// Far from the aim of 100,000 lines a second on an optimised build, so that a slow machine does not fail: it
/// catches a look-up that has become linear.
#[test]
fn explain_answers_every_line_with_one_json_object() {
    let mut input = Vec::new();
    for method in catalog().methods() {
        input.push(format!(
            "{} https://{}{}",
            method.verb,
            method.host(),
            path_of(&method)
        ));
    }
    let mut out = Vec::new();
    let start = Instant::now();
    for line in &input {
        explain_line(catalog(), line.as_bytes(), &mut out);
    }
    let took = start.elapsed();
    println!("{} lines in {took:?}", input.len());
    assert!(took < Duration::from_secs(5), "{took:?}");
    let mut methods = catalog().methods();
    for line in out.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let value: serde_json::Value = serde_json::from_slice(line).expect("a line of JSON");
        let method = methods.next().expect("no more lines than methods");
        let also = value
            .get("also")
            .and_then(|a| a.as_array())
            .cloned()
            .unwrap_or_default();
        assert!(
            value["method"] == method.id || also.contains(&method.id.into()),
            "{value}"
        );
    }
    assert!(methods.next().is_none());
}

/// A URL of a method, and what to change in it: (method, [(position, bytes)]).
fn mutated() -> impl Strategy<Value = (usize, Vec<(prop::sample::Index, String)>)> {
    let piece = prop_oneof![
        Just("%2F".to_owned()),
        Just("%2e%2E".to_owned()),
        Just("..".to_owned()),
        Just("//".to_owned()),
        Just("%3A".to_owned()),
        Just(":".to_owned()),
        Just("%".to_owned()),
        Just("?upload_id=x".to_owned()),
        Just("?alt=media&name=x".to_owned()),
        Just("/".to_owned()),
        "[ -~]{0,4}",
        any::<char>().prop_map(String::from),
    ];
    (
        0..26_958usize,
        prop::collection::vec((any::<prop::sample::Index>(), piece), 0..4),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is made of a URL: an answer or a reason, JSON in any case, and the canonical form is a fixed
    /// point that is classified alike.
    #[test]
    fn mutated_urls_are_answered((number, edits) in mutated(), www in any::<bool>()) {
        let method = catalog().methods().nth(number).expect("a method");
        let mut path = path_of(&method);
        for (at, piece) in edits {
            let mut at = at.index(path.len() + 1);
            while !path.is_char_boundary(at) {
                at -= 1;
            }
            path.insert_str(at, &piece);
        }
        let host = if www { "www.googleapis.com".to_owned() } else { method.host() };
        let line = format!("{} https://{host}{path}", method.verb);
        let mut out = Vec::new();
        explain_line(catalog(), line.as_bytes(), &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        prop_assert!(value["method"].is_string() != value["reason"].is_string(), "{value}");
        if let Ok(target) = Target::new(method.verb, &host, &path) {
            let again = Target::new(target.verb(), target.host(), &target.path_and_query())
                .expect("a canonical target is well-formed");
            prop_assert_eq!(again.path_and_query(), target.path_and_query());
            prop_assert_eq!(catalog().classify(&again), catalog().classify(&target));
        }
    }

    /// Any bytes at all.
    #[test]
    fn any_bytes_are_answered(line in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut out = Vec::new();
        explain_line(catalog(), &line, &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        prop_assert!(value["reason"].is_string(), "{value}");
    }
}
