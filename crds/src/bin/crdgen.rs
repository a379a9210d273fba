//! Writes the manifests of `crds/yaml` (`turnpike-crdgen DIR`), or fails where they are stale
//! (`turnpike-crdgen --check DIR`).

use std::{env, fs, path::PathBuf, process::ExitCode};

const HEADER: &str = "# Generated from crds/src by `cargo xtask codegen`. Do not edit.\n";

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let check = args.first().is_some_and(|a| a == "--check");
    if check {
        args.remove(0);
    }
    let [dir] = args.as_slice() else {
        eprintln!("usage: turnpike-crdgen [--check] DIR");
        return ExitCode::from(2);
    };
    let mut stale = false;
    for crd in turnpike_crds::definitions() {
        let path = PathBuf::from(dir).join(format!(
            "{}.yaml",
            crd.metadata.name.as_deref().unwrap_or("unnamed")
        ));
        let wanted = match serde_saphyr::to_string(&crd) {
            Ok(yaml) => format!("{HEADER}{yaml}"),
            Err(e) => {
                eprintln!("{}: {e}", path.display());
                return ExitCode::FAILURE;
            }
        };
        if fs::read_to_string(&path).is_ok_and(|found| found == wanted) {
            continue;
        }
        if check {
            eprintln!("{} is stale: run `cargo xtask codegen`", path.display());
            stale = true;
        } else if let Err(e) = fs::write(&path, wanted) {
            eprintln!("{}: {e}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if stale {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
