//! What commands read policies from: files, folders, standard input.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// A text and what it is called in messages.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// What could not be read, and why.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) file: String,
    pub(crate) message: String,
}

/// Standard input, as compilers call it.
const STDIN: &str = "<stdin>";

/// Reads all inputs in the order of the command line, the files of a folder by their names.
pub(crate) fn read(paths: &[PathBuf]) -> Vec<Result<Input, Unreadable>> {
    paths
        .iter()
        .flat_map(|path| match path {
            _ if path.as_os_str() == "-" => vec![stdin()],
            _ if path.is_dir() => folder(path),
            _ => vec![file(path)],
        })
        .collect()
}

fn stdin() -> Result<Input, Unreadable> {
    let mut bytes = Vec::new();
    match io::stdin().lock().read_to_end(&mut bytes) {
        Ok(_) => text(STDIN.to_owned(), bytes),
        Err(error) => Err(unreadable(STDIN.to_owned(), &error)),
    }
}

fn file(path: &Path) -> Result<Input, Unreadable> {
    let name = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => text(name, bytes),
        Err(error) => Err(unreadable(name, &error)),
    }
}

/// The files that a standalone proxy would load from a folder.
fn folder(path: &Path) -> Vec<Result<Input, Unreadable>> {
    let name = path.display().to_string();
    let entries: io::Result<Vec<PathBuf>> =
        fs::read_dir(path).and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect());
    let mut files = match entries {
        Ok(entries) => entries,
        Err(error) => return vec![Err(unreadable(name, &error))],
    };
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml" || e == "yml"));
    files.sort();
    if files.is_empty() {
        let message = "the folder holds no *.yaml or *.yml file".to_owned();
        return vec![Err(Unreadable { file: name, message })];
    }
    files.iter().map(|path| file(path)).collect()
}

fn text(file: String, bytes: Vec<u8>) -> Result<Input, Unreadable> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Input { file, text }),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..at]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count()
                + 1;
            let message = format!("line {line} is not UTF-8; save the file as UTF-8");
            Err(Unreadable { file, message })
        }
    }
}

fn unreadable(file: String, error: &io::Error) -> Unreadable {
    let message = format!("cannot be read: {error}");
    Unreadable { file, message }
}
