//! The file that keeps the last acknowledged sequence number.
//!
//! It may lag: acknowledged events are then read once more. It is replaced by
//! rename, so it is whole or absent; one that is unreadable counts as absent,
//! which republishes what is still there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

const NAME: &str = "cursor.json";

#[derive(Serialize, Deserialize)]
struct Cursor {
    acked: u64,
}

/// The last acknowledged number; 0 when there is none.
pub(super) fn load(dir: &Path) -> io::Result<u64> {
    match fs::read(dir.join(NAME)) {
        Ok(bytes) => Ok(match serde_json::from_slice::<Cursor>(&bytes) {
            Ok(cursor) => cursor.acked,
            Err(error) => {
                tracing::warn!(%error, "the spool's cursor is unreadable; events may be published again");
                0
            }
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// Replaces the cursor, durably.
pub(super) fn store(dir: &Path, acked: u64) -> io::Result<()> {
    let new = dir.join("cursor.json.new");
    let mut file = File::create(&new)?;
    serde_json::to_writer(&mut file, &Cursor { acked })?;
    file.write_all(b"\n")?;
    file.sync_data()?;
    fs::rename(&new, dir.join(NAME))?;
    File::open(dir)?.sync_all()
}
