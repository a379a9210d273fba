//! What every file must be: documented, short enough, and free of tests that wait or hide.

use super::File;

/// Longer files are split.
const MAX_LINES: usize = 800;
/// A line with this in it or in the comment above it may sleep in a test; the reason follows.
const SLEEP_ALLOWED: &str = "tidy-allow(sleep):";
/// How many lines a loop that polls may have before its pause.
const POLL_LINES: usize = 12;
/// Crates whose functions take the time as an input.
const CLOCKLESS: [&str; 3] = ["policy/src/", "compiler/src/", "audit/src/"];
/// Files that are made by a command, and what their head says.
const GENERATED: [(&str, &str); 1] = [("crds/yaml/", "# Generated from")];

/// What is wrong with a file, each with its place.
pub(super) fn check(file: &File) -> Vec<String> {
    let mut wrong = Vec::new();
    if file.path.ends_with(".rs") {
        wrong.extend(module_doc(file));
        wrong.extend(length(file));
        wrong.extend(ignored_tests(file));
        wrong.extend(sleeping_tests(file));
        wrong.extend(clocks(file));
    }
    if file.path.ends_with("Cargo.toml") {
        wrong.extend(lints(file));
    }
    wrong.extend(generated(file));
    wrong.extend(order_words(file));
    wrong
}

fn module_doc(file: &File) -> Option<String> {
    let first = file.text.lines().find(|line| !line.trim().is_empty());
    let documented = first.is_some_and(|line| line.starts_with("//!"));
    (!documented).then(|| format!("{}: opens without `//!`, which says what it is for", file.path))
}

fn length(file: &File) -> Option<String> {
    let lines = file.text.lines().count();
    (lines > MAX_LINES).then(|| format!("{}: {lines} lines, more than {MAX_LINES}", file.path))
}

fn ignored_tests(file: &File) -> Vec<String> {
    at_lines(
        file,
        |line| line.trim_start().starts_with("#[ignore"),
        "a test that is ignored tests nothing",
    )
}

/// Sleeps in tests: files of tests, and unit tests, which come last in their file. The pause of
/// a loop that looks at a condition is no such sleep.
fn sleeping_tests(file: &File) -> Vec<String> {
    let is_test_file = file.path.contains("/tests/") || file.path.ends_with("/tests.rs");
    let from = if is_test_file {
        Some(0)
    } else {
        unit_tests(&file.text)
    };
    let Some(from) = from else { return Vec::new() };
    let lines: Vec<&str> = file.text.lines().collect();
    let mut wrong = Vec::new();
    for (number, line) in lines.iter().enumerate().skip(from) {
        let sleeps = line.contains("thread::sleep(") || line.contains("time::sleep(");
        let excused =
            line.contains(SLEEP_ALLOWED) || excused_above(&lines[..number]) || polls(&lines[..number]);
        if sleeps && !excused {
            wrong.push(format!(
                "{}:{}: a test that sleeps; wait for a condition with a bound",
                file.path,
                number + 1
            ));
        }
    }
    wrong
}

/// The comment above a line excuses it.
fn excused_above(above: &[&str]) -> bool {
    let comment = above
        .iter()
        .rev()
        .take_while(|line| line.trim_start().starts_with("//"));
    comment.into_iter().any(|line| line.contains(SLEEP_ALLOWED))
}

/// A loop began a few lines above.
fn polls(above: &[&str]) -> bool {
    let starts = |line: &str| {
        ["for ", "while ", "loop "]
            .iter()
            .any(|word| line.starts_with(word))
    };
    above
        .iter()
        .rev()
        .take(POLL_LINES)
        .any(|line| starts(line.trim_start()) && line.ends_with('{'))
}

fn clocks(file: &File) -> Vec<String> {
    if !CLOCKLESS.iter().any(|start| file.path.starts_with(start)) || file.path.ends_with("/tests.rs") {
        return Vec::new();
    }
    let end = unit_tests(&file.text).unwrap_or(usize::MAX);
    let clocks = [
        "SystemTime::now(",
        "Instant::now(",
        "Timestamp::now(",
        "Zoned::now(",
    ];
    let reads =
        |line: &str| clocks.iter().any(|clock| line.contains(clock)) && !line.trim_start().starts_with("//");
    let lines = file
        .text
        .lines()
        .take(end)
        .enumerate()
        .filter(|(_, line)| reads(line));
    lines
        .map(|(number, _)| {
            format!(
                "{}:{}: reads a clock; the time is an input here",
                file.path,
                number + 1
            )
        })
        .collect()
}

fn lints(file: &File) -> Option<String> {
    if file.text.contains("[workspace]") {
        return None;
    }
    let inherits = file
        .text
        .split("[lints]")
        .nth(1)
        .is_some_and(|rest| rest.trim_start().starts_with("workspace = true"));
    (!inherits).then(|| format!("{}: does not inherit the workspace's lints", file.path))
}

fn generated(file: &File) -> Option<String> {
    let (_, head) = GENERATED.iter().find(|(start, _)| file.path.starts_with(start))?;
    let marked = file
        .text
        .lines()
        .next()
        .is_some_and(|line| line.starts_with(head));
    (!marked).then(|| {
        format!(
            "{}: is generated, and its first line does not say so (`{head} ...`)",
            file.path
        )
    })
}

/// Words that belong to the work's organisation, not to the product.
fn order_words(file: &File) -> Vec<String> {
    let parent = concat!("..", "/shared");
    let names_order = |line: &str| {
        let lower = line.to_ascii_lowercase();
        let mut after = lower.split(concat!("issue", " #")).skip(1);
        lower.contains(parent) || after.any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    at_lines(
        file,
        names_order,
        "names the order of the work, which readers of the product do not know",
    )
}

/// The line at which unit tests begin, counted from 0.
fn unit_tests(text: &str) -> Option<usize> {
    text.lines()
        .position(|line| line.trim_start().starts_with("#[cfg(test)]"))
}

fn at_lines(file: &File, wrong: impl Fn(&str) -> bool, message: &str) -> Vec<String> {
    let lines = file.text.lines().enumerate().filter(|(_, line)| wrong(line));
    lines
        .map(|(number, _)| format!("{}:{}: {message}", file.path, number + 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each check fails on the bad text, with the place, and passes the good one.
    fn compare(path: &str, bad: &str, good: &str, message: &str) {
        let file = |text: &str| File {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        assert_eq!(check(&file(bad)), [message], "{bad}");
        assert_eq!(check(&file(good)), Vec::<String>::new(), "{good}");
    }

    #[test]
    fn each_rule_names_what_breaks_it() {
        let long = |lines: usize| format!("//! Doc.\n{}", "\n".repeat(lines - 1));
        let sleep = concat!("tokio::time::", "sleep(d).await;");
        let cases: [(&str, String, String, &str); 10] = [
            (
                "a/src/x.rs",
                "fn f() {}\n".into(),
                "\n//! Doc.\nfn f() {}\n".into(),
                "a/src/x.rs: opens without `//!`, which says what it is for",
            ),
            (
                "a/src/x.rs",
                long(801),
                long(800),
                "a/src/x.rs: 801 lines, more than 800",
            ),
            (
                "a/src/x.rs",
                "//! Doc.\n#[ignore = \"slow\"]\n".into(),
                "//! Doc.\n// #[ignore]\n".into(),
                "a/src/x.rs:2: a test that is ignored tests nothing",
            ),
            (
                "tests/tests/x.rs",
                format!("//! Doc.\n{sleep}\n"),
                format!("//! Doc.\n// tidy-allow(sleep): the wait is what is tested.\n{sleep}\n"),
                "tests/tests/x.rs:2: a test that sleeps; wait for a condition with a bound",
            ),
            (
                "a/src/x.rs",
                format!("//! Doc.\n#[cfg(test)]\n{sleep}\n"),
                format!("//! Doc.\n{sleep}\n#[cfg(test)]\n"),
                "a/src/x.rs:3: a test that sleeps; wait for a condition with a bound",
            ),
            (
                "a/tests/x.rs",
                format!("//! Doc.\n{sleep}\n"),
                format!(
                    "//! Doc.\nfor _ in 0..9 {{\n    if done() {{\n        return;\n    }}\n    {sleep}\n}}\n"
                ),
                "a/tests/x.rs:2: a test that sleeps; wait for a condition with a bound",
            ),
            (
                "policy/src/x.rs",
                "//! Doc.\nlet t = Timestamp::now();\n".into(),
                "//! Doc.\n#[cfg(test)]\nlet t = Timestamp::now();\n".into(),
                "policy/src/x.rs:2: reads a clock; the time is an input here",
            ),
            (
                "a/Cargo.toml",
                "[package]\n".into(),
                "[lints]\nworkspace = true\n".into(),
                "a/Cargo.toml: does not inherit the workspace's lints",
            ),
            (
                "crds/yaml/x.yaml",
                "kind: X\n".into(),
                "# Generated from crds/src\nkind: X\n".into(),
                "crds/yaml/x.yaml: is generated, and its first line does not say so (`# Generated from ...`)",
            ),
            (
                "a.md",
                concat!("see issue", " #7\n").into(),
                "a known issue # of many\n".into(),
                "a.md:1: names the order of the work, which readers of the product do not know",
            ),
        ];
        for (path, bad, good, message) in cases {
            compare(path, &bad, &good, message);
        }
    }
}
