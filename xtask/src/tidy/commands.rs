//! Commands that documents tell people to type must exist.

use clap::CommandFactory as _;

use super::File;
use crate::Cli;

const START: &str = "cargo xtask ";

/// Every `cargo xtask ...` of a document is parsed by the command line that would run it.
pub(super) fn check(file: &File) -> Vec<String> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let lines = file.text.lines().enumerate();
    let commands = lines.flat_map(|(number, line)| in_line(line).map(move |command| (number + 1, command)));
    let wrong = commands.filter_map(|(number, command)| {
        let words = format!("xtask {command}");
        let parsed = Cli::command().try_get_matches_from(words.split_whitespace());
        let error = parsed.err().filter(clap::Error::use_stderr)?;
        let reason = error.to_string();
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        Some(format!(
            "{}:{number}: `{START}{command}` does not parse: {reason}",
            file.path
        ))
    });
    wrong.collect()
}

/// The arguments of each command in a line: up to a closing backtick, a comment, or the end.
/// A trailing placeholder such as `[OPTIONS]` is not an argument.
fn in_line(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(START).map(|(at, _)| {
        let rest = &line[at + START.len()..];
        let end = rest
            .find(['`', '#', '[', '|', '&', ';', '"'])
            .unwrap_or(rest.len());
        rest[..end].trim().trim_end_matches(['.', ',', ')'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_do_not_exist_are_named() {
        let cases = [
            ("Run `cargo xtask tidy`.", 0),
            ("    cargo xtask test   # everything", 0),
            ("`cargo xtask catalog --check` and `cargo xtask setup`", 0),
            ("Run `cargo xtask fly`.", 1),
            ("`cargo xtask tidy --loudly`, or `cargo xtask nothing`", 2),
        ];
        for (text, expected) in cases {
            let found = check(&File {
                path: "README.md".to_owned(),
                text: text.to_owned(),
            });
            assert_eq!(found.len(), expected, "{text}: {found:?}");
        }
        let source = File {
            path: "a.rs".to_owned(),
            text: "cargo xtask fly".to_owned(),
        };
        assert_eq!(check(&source), Vec::<String>::new());
    }
}
