//! Audit trails as commands read them: files of JSON lines, into the calls that they tell of.
//!
//! It reads what a standalone proxy keeps in `audit/`, what a subscriber of the topic has written down, and bare OCSF
//! events, one a line. It proves nothing about what it reads.

mod calls;

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use turnpike_policy::{catalog::Catalog, whatif::Recorded};

use self::calls::Calls;
use crate::{
    args::AuditArgs,
    text::{count, visible},
};

/// A trail.
#[derive(Debug)]
pub(crate) struct Trail {
    /// Its calls.
    pub(crate) calls: Vec<Recorded>,
    /// Something to know about what was read.
    pub(crate) warning: Option<String>,
}

/// What cannot be read, in a sentence.
#[derive(Debug)]
pub(crate) struct Unreadable(String);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&visible(&self.0))
    }
}

impl std::error::Error for Unreadable {}

/// Reads the trail that the command line names, or that of a standalone proxy's folder.
///
/// # Errors
/// [`Unreadable`]: nothing is named, or a file cannot be read, or holds no trail.
pub(crate) fn read(args: &AuditArgs, config: Option<&Path>, catalog: &Catalog) -> Result<Trail, Unreadable> {
    let mut paths = args.audit.clone();
    if let (true, Some(dir)) = (paths.is_empty(), config) {
        paths.push(dir.to_owned());
    }
    if paths.is_empty() {
        let message =
            "name the audit log with --audit FILE, or the folder of a standalone proxy with --config DIR";
        return Err(Unreadable(message.to_owned()));
    }
    let mut reading = Reading {
        calls: Calls::new(catalog),
        since: args.since,
        lines: 0,
        skipped: 0,
        first_skipped: None,
    };
    for file in files(&paths)? {
        reading.file(&file)?;
    }
    reading.finish()
}

/// A file, or standard input.
enum Source {
    File(PathBuf),
    Stdin,
}

/// The files behind what is named.
fn files(paths: &[PathBuf]) -> Result<Vec<Source>, Unreadable> {
    let mut found = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            found.push(Source::Stdin);
        } else if path.is_dir() {
            found.extend(folder(path)?.into_iter().map(Source::File));
        } else {
            found.push(Source::File(path.clone()));
        }
    }
    Ok(found)
}

/// The trails of a folder: of a standalone proxy, or all `*.jsonl` in it.
fn folder(path: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let of_proxy = [path.join("audit/topic.jsonl"), path.join("topic.jsonl")];
    if let Some(topic) = of_proxy.into_iter().find(|file| file.is_file()) {
        return Ok(vec![topic]);
    }
    let entries: io::Result<Vec<PathBuf>> =
        fs::read_dir(path).and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect());
    let mut files = entries.map_err(|error| unreadable(path, &error))?;
    files.retain(|file| file.extension().is_some_and(|e| e == "jsonl"));
    files.sort();
    if files.is_empty() {
        return Err(Unreadable(format!(
            "{}: the folder holds no audit log: neither audit/topic.jsonl nor another *.jsonl",
            path.display()
        )));
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &io::Error) -> Unreadable {
    Unreadable(format!("{}: cannot be read: {error}", path.display()))
}

struct Reading<'c> {
    calls: Calls<'c>,
    since: Option<Timestamp>,
    lines: u64,
    skipped: u64,
    first_skipped: Option<String>,
}

impl Reading<'_> {
    fn file(&mut self, source: &Source) -> Result<(), Unreadable> {
        match source {
            Source::Stdin => self.all(io::stdin().lock(), Path::new("<stdin>")),
            Source::File(path) => {
                let file = File::open(path).map_err(|error| unreadable(path, &error))?;
                self.all(BufReader::with_capacity(1 << 18, file), path)
            }
        }
    }

    fn all(&mut self, mut input: impl BufRead, path: &Path) -> Result<(), Unreadable> {
        let mut line = Vec::new();
        for number in 1u64.. {
            line.clear();
            let read = input.read_until(b'\n', &mut line);
            if read.map_err(|error| unreadable(path, &error))? == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            self.lines += 1;
            match turnpike_audit::parse_line(&line) {
                Ok(stored) if self.since.is_some_and(|since| stored.event.time_dt < since) => {}
                Ok(stored) => self.calls.add(&stored.event),
                Err(error) => {
                    self.skipped += 1;
                    self.first_skipped
                        .get_or_insert_with(|| format!("{}:{number}: {error}", path.display()));
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Trail, Unreadable> {
        let warning = match self.first_skipped {
            Some(first) if self.skipped == self.lines => {
                return Err(Unreadable(format!("no line is an audit event; {first}")));
            }
            Some(first) => {
                let lines = usize::try_from(self.skipped).map_or_else(
                    |_| "many lines are".to_owned(),
                    |n| count(n, "line is", "lines are"),
                );
                Some(format!("{lines} no audit event and left out, the first: {first}"))
            }
            None => None,
        };
        Ok(Trail {
            calls: self.calls.finish(),
            warning,
        })
    }
}
