//! Writes the manifests of all custom resource definitions into a directory: `turnpike-crdgen DIR`.
//! `cargo xtask codegen` calls it and keeps the committed copies up to date.

use std::{env, fs, path::Path, process::ExitCode};

const HEADER: &str = "# Generated from crds/src by `cargo xtask codegen`. Do not edit.\n";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let [directory] = args.as_slice() else {
        eprintln!("usage: turnpike-crdgen DIR");
        return ExitCode::from(2);
    };
    match write(Path::new(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("turnpike-crdgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> Result<(), String> {
    for definition in turnpike_crds::definitions() {
        let name = definition
            .metadata
            .name
            .as_deref()
            .ok_or("a definition has no name")?;
        let path = directory.join(format!("{name}.yaml"));
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let yaml = serde_saphyr::to_string(&definition).map_err(|error| wrong(&error))?;
        fs::write(&path, format!("{HEADER}{yaml}")).map_err(|error| wrong(&error))?;
    }
    Ok(())
}
