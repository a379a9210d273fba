//! `cargo xtask grpc`: makes the table of RPCs, and the descriptors of answers that may have to be masked.
//!
//! The protos come with the npm package `google-proto-files`, pinned in [`source`]. Everything that needs judgement
//! happens here, once: which REST method an RPC stands for, and how the RPCs without one are called. The file that
//! `policy` reads is plain; its format is described in `policy/src/grpc/mod.rs`.

mod by_hand;
mod descriptors;
mod http;
mod mixins;
mod own;
mod source;
mod table;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use prost_reflect::DescriptorPool;
use turnpike_policy::catalog::Catalog;

/// Makes both files. With `check`, compares them with those in the tree instead and fails on a difference.
///
/// # Errors
/// Where the protos cannot be had or hold something that the generator does not understand.
pub fn run(check: bool) -> anyhow::Result<()> {
    let pool = compile()?;
    // Without what an older table added.
    let packed = fs::read(data("policy/data/catalog.gz")).context("read policy/data/catalog.gz")?;
    let catalog = Catalog::load(&packed)?;
    let table = table::render(&pool, &catalog)?;
    let set = descriptors::chosen(&pool)?;
    let files = [
        (data("policy/data/grpc.gz"), table.text.into_bytes()),
        (data("proxy/data/descriptors.gz"), set),
    ];
    if !check {
        println!("{}", table.summary);
    }
    for (path, fresh) in files {
        if check {
            compare(&path, &fresh)?;
            continue;
        }
        let packed = pack(&fresh)?;
        fs::write(&path, &packed).with_context(|| format!("write {}", path.display()))?;
        println!(
            "{}: {} bytes, {} unpacked",
            path.display(),
            packed.len(),
            fresh.len()
        );
    }
    Ok(())
}

fn compile() -> anyhow::Result<DescriptorPool> {
    let (folder, paths) = source::protos()?;
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true);
    compiler.open_files(paths)?;
    Ok(compiler.descriptor_pool())
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Packs without name and time, so that the same content is the same file.
fn pack(content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut packer = flate2::GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(Vec::new(), flate2::Compression::best());
    packer.write_all(content)?;
    Ok(packer.finish()?)
}

/// The content decides: another version of the compressor may pack it to other bytes.
fn compare(path: &Path, fresh: &[u8]) -> anyhow::Result<()> {
    let packed = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut kept = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut kept)?;
    if kept != fresh {
        bail!("{} is stale: run `cargo xtask grpc`", path.display());
    }
    println!("{} is what the protos give", path.display());
    Ok(())
}
