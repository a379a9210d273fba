//! Looking requests up in the catalogue, and loading it: `cargo bench -p turnpike-policy --bench classify`.

use divan::{Bencher, black_box, counter::ItemsCount};
use turnpike_policy::{canonical::Target, catalog::Catalog, explain::explain_line};

fn main() {
    divan::main();
}

const TARGETS: &[(&str, &str, &str)] = &[
    (
        "GET",
        "storage.googleapis.com",
        "/storage/v1/b/reports/o/2026%2Fq1.csv?alt=media",
    ),
    (
        "GET",
        "compute.googleapis.com",
        "/compute/v1/projects/acme-dev/zones/us-central1-a/instances/web-1",
    ),
    (
        "GET",
        "secretmanager.googleapis.com",
        "/v1/projects/acme-dev/secrets/db/versions/latest:access",
    ),
    (
        "POST",
        "cloudfunctions.googleapis.com",
        "/v2/projects/acme-dev/locations/us-central1/functions?functionId=billing",
    ),
    (
        "PUT",
        "us-central1-run.googleapis.com",
        "/apis/serving.knative.dev/v1/namespaces/acme-dev/services/web",
    ),
];

fn catalog() -> &'static Catalog {
    Catalog::embedded().expect("the embedded catalogue loads")
}

/// The look-up alone, of a target that is canonical already.
#[divan::bench(args = TARGETS.iter().map(|t| t.1))]
fn classify(bencher: Bencher<'_, '_>, host: &str) {
    let (verb, host, path) = TARGETS.iter().find(|t| t.1 == host).expect("a target");
    let target = Target::new(verb, host, path).expect("a target");
    let catalog = catalog();
    bencher.bench_local(|| catalog.classify(black_box(&target)));
}

/// From the request line: canonical form and look-up.
#[divan::bench(args = TARGETS.iter().map(|t| t.1))]
fn request_line(bencher: Bencher<'_, '_>, host: &str) {
    let (verb, host, path) = TARGETS.iter().find(|t| t.1 == host).expect("a target");
    let catalog = catalog();
    bencher.bench_local(|| {
        let target = Target::new(black_box(verb), black_box(host), black_box(path)).expect("a target");
        catalog.classify(&target)
    });
}

/// All methods, each by a URL of its own: what a cache of few hot methods would hide.
#[divan::bench]
fn classify_all_methods(bencher: Bencher<'_, '_>) {
    let catalog = catalog();
    let targets: Vec<_> = catalog
        .methods()
        .map(|m| {
            let path = m.template.replace("**", "a/b").replace('*', "item-1");
            Target::new(m.verb, &m.host(), &format!("/{path}")).expect("a target")
        })
        .collect();
    bencher.counter(ItemsCount::new(targets.len())).bench_local(|| {
        for target in &targets {
            black_box(catalog.classify(black_box(target)).is_ok());
        }
    });
}

/// `explain` from standard input, without the reading and writing.
#[divan::bench]
fn explain_lines(bencher: Bencher<'_, '_>) {
    let catalog = catalog();
    let lines: Vec<_> = TARGETS
        .iter()
        .map(|(v, h, p)| format!("{v} https://{h}{p}"))
        .collect();
    let mut out = Vec::new();
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| {
        out.clear();
        for line in &lines {
            explain_line(catalog, black_box(line.as_bytes()), &mut out);
        }
        out.len()
    });
}

/// Unpacking and indexing. Each round leaks the table's text, so there are few.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn load() -> usize {
    static DATA: &[u8] = include_bytes!("../data/catalog.gz");
    Catalog::load(black_box(DATA))
        .map(|c| c.method_count())
        .unwrap_or(0)
}
