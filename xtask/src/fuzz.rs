//! `cargo xtask fuzz`: the targets in `fuzz/`, each for its part of the time. Fails where one finds something, and says
//! which input did it.
//!
//! cargo-fuzz would run them too, on a nightly toolchain. libFuzzer itself needs only coverage counters, which the
//! stable compiler can put in; so the targets are built and run here without it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{paths, shell};

/// What to fuzz.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only these; all of `fuzz/fuzz_targets` where none is named.
    targets: Vec<String>,
    /// Seconds for all targets together.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Coverage counters for libFuzzer, in every crate. Rust's own linker drops the sections that hold them.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Clinker-features=-lld",
];
/// The longest input that is tried.
const LONGEST: usize = 4096;
/// How long one input may take, in seconds.
const PATIENCE: u64 = 10;
/// What a target may take of the memory.
const MEMORY_MIB: u64 = 2048;

/// # Errors
/// A target cannot be built, or finds something.
pub(crate) fn run(args: &Args) -> Result<()> {
    let known = targets()?;
    for target in &args.targets {
        ensure!(
            known.contains(target),
            "no fuzz target {target:?}: {}",
            known.join(", ")
        );
    }
    let wanted = if args.targets.is_empty() {
        &known
    } else {
        &args.targets
    };
    let programs = build()?;
    let each = (args.seconds / wanted.len().max(1) as u64).max(1);
    shell::step(&format!("fuzz: {} targets, {each} s each", wanted.len()));
    let mut found = Vec::new();
    for target in wanted {
        if let Err(error) = fuzz(&programs, target, each) {
            eprintln!("{error:#}");
            found.push(target.as_str());
        }
    }
    ensure!(found.is_empty(), "found something: {}", found.join(", "));
    Ok(())
}

fn folder() -> PathBuf {
    paths::root().join("fuzz")
}

/// The targets by name, sorted.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder().join("fuzz_targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets, and gives the folder of the programs.
fn build() -> Result<PathBuf> {
    ensure!(
        paths::which("c++").is_some(),
        "libFuzzer is C++, and there is no c++: install g++"
    );
    shell::step("fuzz: build with coverage counters");
    let about = shell::read(Command::new("rustc").arg("-vV"))?;
    let host = about
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    let target = paths::cache()?.join("fuzz");
    let mut command = shell::cargo();
    command
        .current_dir(folder())
        .env("CARGO_TARGET_DIR", &target)
        // With a target named, build scripts and macros are built without counters.
        .args(["build", "--release", "--locked", "--bins", "--target", host])
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    shell::run(&mut command)?;
    Ok(target.join(host).join("release"))
}

/// Runs one target, from its seeds and what earlier runs have found worth keeping.
fn fuzz(programs: &Path, target: &str, seconds: u64) -> Result<()> {
    let kept = paths::cache()?.join("fuzz-corpus").join(target);
    let crashes = paths::cache()?.join("fuzz-crashes").join(target);
    for dir in [&kept, &crashes] {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let log = crashes.join("log");
    let started = Instant::now();
    let status = Command::new(programs.join(target))
        .arg(&kept)
        .arg(folder().join("seeds").join(target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-timeout={PATIENCE}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .stderr(File::create(&log)?)
        .status()
        .with_context(|| format!("start {target}"))?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let input = text
            .lines()
            .find_map(|line| line.split_once("Test unit written to ").map(|(_, path)| path));
        let why = text
            .lines()
            .skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR: libFuzzer"));
        let why: Vec<&str> = why.take(6).collect();
        bail!(
            "{target}: {status}\n{}\ninput: {}\nlog: {}",
            why.join("\n"),
            input.unwrap_or("none was written"),
            log.display()
        );
    }
    let runs = number_after(&text, "Done ").context("the number of runs")?;
    let edges = number_after(&text, "cov: ").context("the coverage")?;
    println!(
        "fuzz {target}: {runs} runs in {} s, {edges} edges covered, nothing found",
        started.elapsed().as_secs()
    );
    Ok(())
}

/// The number behind the last such text.
fn number_after(text: &str, what: &str) -> Option<u64> {
    let (_, rest) = text.rsplit_once(what)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_last_ones() {
        let text = "#2 INITED cov: 7 ft: 8\n#9 DONE   cov: 12 ft: 15\nDone 97166 runs in 21 second(s)\n";
        assert_eq!(number_after(text, "cov: "), Some(12));
        assert_eq!(number_after(text, "Done "), Some(97166));
        assert_eq!(number_after(text, "none: "), None);
    }

    #[test]
    fn every_target_has_seeds_and_is_built() {
        let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the manifest");
        for target in targets().expect("targets") {
            assert!(
                manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")),
                "{target} is not built"
            );
            let seeds = fs::read_dir(folder().join("seeds").join(&target)).expect("seeds");
            assert!(seeds.count() > 0, "{target} has no seeds");
        }
    }
}
