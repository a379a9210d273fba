//! `cargo xtask catalog`: makes the method catalogue from Google's discovery documents.
//!
//! The documents come with the PyPI package `google-api-python-client`, pinned in [`source`]. Everything
//! that needs judgement happens here, once: templates from paths and patterns, traits from names and
//! response schemas, recipes of resource names. The file that `policy` reads is plain; its format is
//! described in `policy/src/catalog/mod.rs`.

mod document;
mod recipe;
mod render;
mod secrets;
mod source;
mod template;
mod traits;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail, ensure};
use turnpike_policy::{call::Traits, canonical::Target, catalog::Catalog};

use document::Document;

/// Makes the data file. With `check`, compares it with the one in the tree instead and fails on a
/// difference.
///
/// # Errors
/// Where the documents cannot be had or hold something that the generator does not understand.
pub fn run(check: bool) -> anyhow::Result<()> {
    let documents = source::documents()?;
    let table = render::render(&documents)?;
    let path = data_path();
    if check {
        return compare(&path, &table.text);
    }
    let packed = pack(&table.text)?;
    verify(&packed, &documents)?;
    fs::write(&path, &packed).with_context(|| format!("write {}", path.display()))?;
    println!(
        "{}\n{}: {} bytes, {} unpacked",
        table.summary,
        path.display(),
        packed.len(),
        table.text.len()
    );
    Ok(())
}

/// The traits of a method that no document lists, from a document and a method in the shape of discovery.
///
/// # Errors
/// Where one of them has another shape.
pub(crate) fn traits_of(document: serde_json::Value, method: serde_json::Value) -> anyhow::Result<Traits> {
    let document: Document = serde_json::from_value(document)?;
    Ok(traits::traits(&document, &serde_json::from_value(method)?))
}

fn data_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/data/catalog.gz")
}

/// Packs without name and time, so that the same table is the same file.
fn pack(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut packer = flate2::GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), flate2::Compression::best());
    packer.write_all(text.as_bytes())?;
    Ok(packer.finish()?)
}

/// The text decides: another version of the compressor may pack the same table to other bytes.
fn compare(path: &Path, fresh: &str) -> anyhow::Result<()> {
    let packed = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut kept = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut kept)?;
    if kept == fresh {
        println!("{} is what the documents give", path.display());
        return Ok(());
    }
    let line = kept
        .lines()
        .zip(fresh.lines())
        .take_while(|(a, b)| a == b)
        .count();
    let show = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
    bail!(
        "{} is stale: run `cargo xtask catalog`. First difference, line {}:\n- {}\n+ {}",
        path.display(),
        line + 1,
        show(&kept),
        show(fresh)
    )
}

/// Loads what was made and looks up every endpoint and every method that the documents declare.
fn verify(packed: &[u8], documents: &[Document]) -> anyhow::Result<()> {
    let catalog = Catalog::load(packed)?;
    for document in documents {
        for host in document.hosts()? {
            ensure!(
                catalog.is_google_host(&host),
                "host {host} of {} has an unknown shape",
                document.name
            );
        }
        let host = document.host()?;
        for method in document.methods() {
            let template = template::Template::of(document, method)?.text();
            let path = template.replace("**", "x1/x2").replace('*', "x3");
            let target = Target::new(&method.http_method, host, &format!("/{path}"))
                .with_context(|| format!("{}: {path}", method.id))?;
            let found = catalog.classify(&target).with_context(|| method.id.clone())?;
            let ids: Vec<_> = std::iter::once(&found.call)
                .chain(&found.also)
                .map(|c| c.method)
                .collect();
            ensure!(
                ids.contains(&method.id.as_str()),
                "{} {path} is {ids:?}",
                method.id
            );
        }
    }
    Ok(())
}
