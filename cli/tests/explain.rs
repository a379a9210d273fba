//! `explain`: for a person, for a program, and as a filter.

mod common;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, Result};
use common::{Output, command, finish, run};
use serde_json::{Value, json};
use turnpike_policy::catalog::{Catalog, Method};
use turnpike_tests::{process::clean_command, tools};

const OBJECT: &str = "https://storage.googleapis.com/storage/v1/b/acme-dev/o/reports%2F2026.csv";

fn filter(input: &[u8]) -> Result<Vec<Value>> {
    let output = finish(command(&["explain", "-"]), input)?;
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let lines = output.stdout.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// Method or reason of each answer.
fn gist(answers: &[Value]) -> Vec<&str> {
    let text = |answer: &'static str| move |value: &Value| value[answer].as_str().is_some();
    let (method, reason) = (text("method"), text("reason"));
    answers
        .iter()
        .map(|a| match a {
            a if method(a) => a["method"].as_str().unwrap_or_default(),
            a if reason(a) => a["reason"].as_str().unwrap_or_default(),
            _ => "neither",
        })
        .collect()
}

#[test]
fn for_a_person() -> Result<()> {
    let cases: [(&str, &str, &str); 4] = [
        (
            "GET",
            OBJECT,
            "Method      storage.objects.get\n\
             API         storage v1\n\
             Resource    projects/_/buckets/acme-dev/objects/reports/2026.csv\n  \
               type      objects\n  \
               id        reports/2026.csv\n\
             Traits      read\n",
        ),
        (
            "POST",
            "https://cloudfunctions.googleapis.com/v2/projects/acme/locations/us-central1/functions",
            "Method      cloudfunctions.projects.locations.functions.create\n\
             API         cloudfunctions v2\n\
             Resource    projects/acme/locations/us-central1/**, something below that the URL does not name\n  \
               project   acme\n  \
               location  us-central1\n  \
               type      functions\n\
             Traits      change\n",
        ),
        (
            "GET",
            "https://example.com/x",
            "Refused     HOST_NOT_IN_CATALOG\n\
             Because     example.com is no Google API host that Turnpike knows; use the service's own host, such as \
             storage.googleapis.com\n",
        ),
        (
            "get",
            OBJECT,
            "Refused     VERB_MALFORMED\n\
             Because     the verb must be upper-case letters, such as GET\n",
        ),
    ];
    for (verb, url, wanted) in cases {
        let wanted = format!("Request     {verb} {url}\n{wanted}");
        assert_eq!(run(&["explain", verb, url])?, Output::new(0, &wanted, ""));
    }
    Ok(())
}

#[test]
fn for_a_program() -> Result<()> {
    let output = run(&["explain", "GET", OBJECT, "-o", "json"])?;
    let answer = json!({
        "verb": "GET",
        "url": OBJECT,
        "method": "storage.objects.get",
        "api": "storage",
        "version": "v1",
        "resource": {
            "name": "projects/_/buckets/acme-dev/objects/reports/2026.csv",
            "project": null,
            "location": null,
            "type": "objects",
            "id": "reports/2026.csv",
        },
        "traits": ["read"],
    });
    assert_eq!(output.stdout.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Value>(&output.stdout)?, answer);
    assert_eq!(filter(format!("GET {OBJECT}").as_bytes())?, [answer]);
    Ok(())
}

#[test]
fn each_line_has_one_answer_whatever_it_holds() -> Result<()> {
    let long = format!("GET https://storage.googleapis.com/{}", "a".repeat(700_000));
    let object = format!("GET {OBJECT}");
    let lines: [(&[u8], &str); 10] = [
        (object.as_bytes(), "storage.objects.get"),
        (
            b"GET https://storage.googleapis.com/storage/v1/b/acme-dev\r",
            "storage.buckets.get",
        ),
        (b"", "LINE_MALFORMED"),
        (b"GET", "LINE_MALFORMED"),
        (b"GET https://x y", "LINE_MALFORMED"),
        (b"GET https://storage.googleapis.com/\xff\xfe", "NON_ASCII"),
        (b"\0\x01\x1b\"\\", "LINE_MALFORMED"),
        (long.as_bytes(), "TARGET_TOO_LONG"),
        (
            b"BREW https://storage.googleapis.com/storage/v1/b/acme-dev",
            "VERB_NOT_IN_CATALOG",
        ),
        (object.as_bytes(), "storage.objects.get"),
    ];
    let wanted: Vec<&str> = lines.iter().map(|(_, gist)| *gist).collect();
    let input = lines.map(|(line, _)| line).join(&b'\n');
    assert_eq!(gist(&filter(&input)?), wanted, "without a line feed at the end");
    let with_end = [input.as_slice(), b"\n"].concat();
    assert_eq!(gist(&filter(&with_end)?), wanted, "with one");
    assert_eq!(filter(b"")?, [] as [Value; 0]);
    assert_eq!(gist(&filter(b"\n\n")?), ["LINE_MALFORMED", "LINE_MALFORMED"]);
    Ok(())
}

#[test]
fn a_line_beyond_all_bounds_does_not_take_the_next_with_it() -> Result<()> {
    let mut input = vec![b'a'; 40 << 20];
    input.extend_from_slice(format!("\nGET {OBJECT}\n").as_bytes());
    input.extend(vec![b'b'; 17 << 20]);
    let answers = filter(&input)?;
    assert_eq!(
        gist(&answers),
        ["LINE_TOO_LONG", "storage.objects.get", "LINE_TOO_LONG"]
    );
    Ok(())
}

#[test]
fn many_lines_come_out_whole_and_in_order() -> Result<()> {
    let url = |i: usize| format!("https://storage.googleapis.com/storage/v1/b/bucket-{i}");
    let input: String = (0..20_000).map(|i| format!("GET {}\n", url(i))).collect();
    let answers = filter(input.as_bytes())?;
    assert_eq!(answers.len(), 20_000);
    for (i, answer) in answers.iter().enumerate() {
        assert_eq!(answer["url"], url(i));
    }
    Ok(())
}

#[test]
fn an_answer_comes_before_the_next_line_is_written() -> Result<()> {
    let mut child = command(&["explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("no standard input")?;
    let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
    for _ in 0..3 {
        writeln!(input, "GET {OBJECT}")?;
        let mut line = String::new();
        output.read_line(&mut line)?;
        assert_eq!(gist(&[serde_json::from_str(&line)?]), ["storage.objects.get"]);
    }
    drop(input);
    assert!(child.wait()?.success());
    Ok(())
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() -> Result<()> {
    let mut child = command(&["explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let mut input = child.stdin.take().context("no standard input")?;
    // The program ends as soon as it notices.
    while writeln!(input, "GET {OBJECT}").is_ok() {}
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    Ok(())
}

#[test]
fn kubectl_finds_it_as_a_plugin() -> Result<()> {
    let program = Path::new(env!("CARGO_BIN_EXE_kubectl-turnpike"));
    let mut kubectl = clean_command(tools::kubectl()?, Path::new("/nonexistent"));
    kubectl
        .env("PATH", program.parent().context("no directory")?)
        .args(["turnpike", "explain", "GET", OBJECT, "-o", "json"]);
    assert_eq!(
        finish(kubectl, b"")?,
        run(&["explain", "GET", OBJECT, "-o", "json"])?
    );
    Ok(())
}

#[test]
fn a_verb_alone_is_wrong_usage() -> Result<()> {
    for args in [&["explain", "GET"][..], &["explain", "-", OBJECT], &["explain"]] {
        let output = run(args)?;
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    Ok(())
}

/// A URL for a method, as its template has it.
fn url_of(method: &Method<'_>) -> String {
    let mut url = format!("https://{}", method.host());
    for segment in method.template.split('/') {
        let (body, verb) = segment.split_once(':').unwrap_or((segment, ""));
        url.push('/');
        url.push_str(match body {
            "*" => "item-1",
            // Documents stand in pairs of collection and id.
            "**" if method.template.contains("/documents/") => "alice",
            "**" => "first-1/second-2",
            literal => literal,
        });
        if !verb.is_empty() {
            url.push(':');
            url.push_str(verb);
        }
    }
    url
}

#[test]
fn every_method_of_the_catalogue_gives_itself_back() -> Result<()> {
    let catalog = Catalog::embedded()?;
    let mut input = String::new();
    let mut wanted = Vec::new();
    for method in catalog.methods() {
        input.push_str(&format!("{} {}\n", method.verb, url_of(&method)));
        wanted.push([method.id, method.api, method.version]);
    }
    let answers = filter(input.as_bytes())?;
    assert_eq!(answers.len(), wanted.len());
    let text = |answer: &Value, key| answer[key].as_str().unwrap_or_default().to_owned();
    let wrong: Vec<_> = std::iter::zip(&answers, &wanted)
        .filter(|(answer, wanted)| {
            ["method", "api", "version"].map(|key| text(answer, key)) != wanted.map(str::to_owned)
        })
        .collect();
    println!(
        "explain: {} of {} methods came back by a URL made from their template",
        answers.len() - wrong.len(),
        answers.len()
    );
    assert_eq!(wrong, [] as [(&Value, &[&str; 3]); 0]);
    Ok(())
}
