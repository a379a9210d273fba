//! The few file operations that durability rests on, behind a trait, so that
//! tests can make them fail, tear and forget.

use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Creates segments and makes their names durable.
pub(super) trait Storage: Send + 'static {
    /// Creates a segment, which must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
    /// Makes created names durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A segment that is being written.
pub(super) trait SegmentFile: Send + fmt::Debug {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync_data(&mut self) -> io::Result<()>;
}

/// The operating system's files.
pub(super) struct OsStorage;

impl Storage for OsStorage {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(create_new(path)?))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl SegmentFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(self, bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.flush()?;
        File::sync_data(self)
    }
}

/// Events tell who did what: nobody but the proxy's user reads them.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(path)
}
