//! `explain`: what Turnpike takes a request for, by the catalogue that the proxy decides with, what is in a group of
//! methods, and with an agent named, what the policies make of the request.
//!
//! As a filter it answers each line of standard input by one line of JSON, whatever the bytes are. It
//! writes what it has before it waits for more, so a program can also talk to it line by line.

mod changes;
mod decision;
mod near;

use std::{
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use turnpike_compiler::similar::nearest;
use turnpike_policy::{
    call::{Call, Resource, Scope},
    canonical::Target,
    catalog::Catalog,
    explain::explain_line,
    groups::{self, GroupId, Groups},
};

use crate::{
    args::{ExplainArgs, Format},
    text::visible,
};

/// Bytes that are read at once; a longer line makes the buffer grow.
const CHUNK: usize = 256 << 10;
/// Longest line. A request's target has 16 KiB at most, so this is only to stay within memory.
const MAX_LINE: usize = 16 << 20;
/// Answer to a longer one.
const LINE_TOO_LONG: &[u8] = b"{\"verb\":\"\",\"url\":\"\",\"method\":null,\"reason\":\"LINE_TOO_LONG\",\"message\":\"a line has 16 MiB at most\"}\n";

pub(crate) fn run(args: &ExplainArgs, agent: Option<&str>, config: Option<&Path>) -> Result<ExitCode> {
    if agent.is_some() || args.claims.is_some() {
        return decision::run(args, agent, config);
    }
    let catalog = Catalog::embedded().context("the method catalogue of this build cannot be read")?;
    let mut out = io::stdout().lock();
    let (verb, url) = match (args.verb.as_str(), &args.url) {
        ("-", None) => {
            filter(catalog, &mut io::stdin().lock(), &mut out)?;
            return Ok(ExitCode::SUCCESS);
        }
        (name, None) if name.starts_with(groups::PREFIX) => return group(name, args.output, &mut out),
        (verb, Some(url)) if verb != "-" => (verb, url),
        _ => {
            writeln!(
                io::stderr(),
                "error: give a verb and a URL, as in: explain GET https://storage.googleapis.com/storage/v1/b/my-bucket\n\
                 or `-` alone, to read such lines from standard input"
            )?;
            return Ok(ExitCode::from(2));
        }
    };
    match args.output {
        Format::Json => {
            let mut answer = Vec::new();
            explain_line(catalog, format!("{verb} {url}").as_bytes(), &mut answer);
            out.write_all(&answer)?;
        }
        Format::Text => out.write_all(describe(catalog, verb, url).as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What is in a group, one method a line; of `group:` alone, the groups.
fn group(name: &str, format: Format, out: &mut impl Write) -> Result<ExitCode> {
    let name = name.strip_prefix(groups::PREFIX).unwrap_or(name);
    if name.is_empty() {
        for row in groups::ids().map(GroupId::row) {
            writeln!(
                out,
                "{:<24} {}",
                format!("{}{}", groups::PREFIX, row.name),
                row.about
            )?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let Some(id) = groups::find(name) else {
        let meant = nearest(name, groups::ids().map(|id| id.row().name));
        let meant = meant.map_or_else(String::new, |meant| {
            format!("; did you mean {}{meant}?", groups::PREFIX)
        });
        writeln!(io::stderr(), "error: no group is called {name:?}{meant}")?;
        return Ok(ExitCode::from(2));
    };
    let methods = Groups::embedded()
        .context("the method groups of this build cannot be read")?
        .methods(id);
    match format {
        Format::Text => methods
            .map(|(method, _)| method)
            .try_for_each(|method| writeln!(out, "{method}"))?,
        Format::Json => {
            let methods: Vec<&str> = methods.map(|(method, _)| method).collect();
            let answer = serde_json::json!({"group": name, "about": id.row().about, "methods": methods});
            writeln!(out, "{answer}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One answer for each line; the last needs no line feed.
fn filter(catalog: &Catalog, input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut filled = 0;
    let mut answers = Vec::with_capacity(4 * CHUNK);
    let mut too_long = false;
    loop {
        if filled == buffer.len() {
            if filled < MAX_LINE {
                buffer.resize(filled * 2, 0);
            } else {
                too_long = true;
                filled = 0;
            }
        }
        let read = match input.read(&mut buffer[filled..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let end = filled + read;
        let mut start = 0;
        // What was left over holds no line feed, and the end of the input ends the last line.
        let line_feeds = memchr::memchr_iter(b'\n', &buffer[filled..end]).map(|at| filled + at);
        let last = (read == 0 && (end > 0 || too_long)).then_some(end);
        for at in line_feeds.chain(last) {
            if std::mem::take(&mut too_long) {
                answers.extend_from_slice(LINE_TOO_LONG);
            } else {
                explain_line(catalog, &buffer[start..at], &mut answers);
            }
            start = at + 1;
        }
        output.write_all(&answers)?;
        answers.clear();
        if read == 0 {
            return output.flush();
        }
        buffer.copy_within(start..end, 0);
        filled = end - start;
    }
}

/// The answer for a person.
fn describe(catalog: &Catalog, verb: &str, url: &str) -> String {
    let mut lines = vec![("Request", format!("{verb} {url}"))];
    let refused = |reason: &str, message: String| vec![("Refused", reason.to_owned()), ("Because", message)];
    match Target::from_url(verb, url) {
        Err(malformed) => lines.extend(refused(malformed.reason(), malformed.to_string())),
        Ok(target) => match catalog.classify(&target) {
            Err(unlisted) => lines.extend(refused(unlisted.reason(), unlisted.to_string())),
            Ok(found) => {
                lines.extend(placed(&found.call));
                let others: Vec<&str> = found.also.iter().map(|call| call.method).collect();
                if !others.is_empty() {
                    // All readings must be allowed.
                    lines.push(("Also", format!("{}; rules must allow it too", others.join(", "))));
                }
            }
        },
    }
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<12}{}\n", visible(&value)))
        .collect()
}

fn placed(call: &Call) -> Vec<(&'static str, String)> {
    let traits: Vec<&str> = call.traits.names().collect();
    let mut lines = vec![
        ("Method", call.method.to_owned()),
        ("API", format!("{} {}", call.api, call.version)),
    ];
    match call.resources.as_slice() {
        [] => lines.push(("Resource", "none: the method names no resource".to_owned())),
        [first, others @ ..] => {
            lines.extend(resource("Resource", first));
            for other in others {
                lines.extend(resource("Source", other));
            }
        }
    }
    lines.push(("Traits", traits.join(", ")));
    lines
}

fn resource(title: &'static str, resource: &Resource) -> Vec<(&'static str, String)> {
    let name = match (resource.name.as_str(), resource.scope) {
        ("", _) => "not named by the URL".to_owned(),
        (name, Scope::Exact) => name.to_owned(),
        (name, Scope::Below) => format!("{name}/**, something below that the URL does not name"),
    };
    let parts = [
        ("  project", resource.project.as_deref()),
        ("  location", resource.location.as_deref()),
        ("  type", Some(resource.kind).filter(|kind| !kind.is_empty())),
        ("  id", resource.id.as_deref()),
    ];
    let parts = parts
        .into_iter()
        .filter_map(|(part, value)| value.map(|value| (part, value.to_owned())));
    std::iter::once((title, name)).chain(parts).collect()
}
