//! What messages look like, for answers that have to be masked: descriptors of the APIs that agents use, and those
//! of a file that the operator of a gateway adds.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use prost_reflect::{DescriptorError, DescriptorPool, MessageDescriptor, MethodDescriptor};

/// Largest file of descriptors, unpacked: all of Google's together have 22 MB.
const MOST_BYTES: u64 = 64 << 20;

/// Why descriptors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorsError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no set of descriptors, or contradicts the built-in ones.
    #[error(
        "{path} is no google.protobuf.FileDescriptorSet (protoc --include_imports --descriptor_set_out): {source}"
    )]
    Set {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DescriptorError,
    },
}

/// All descriptors at hand.
#[derive(Debug, Clone, Default)]
pub struct Descriptors {
    pool: DescriptorPool,
}

impl Descriptors {
    /// The built-in descriptors, and those of a file; files that both have are taken from the built-in ones.
    ///
    /// # Errors
    /// [`DescriptorsError`] names the file.
    pub fn load(added: Option<&Path>) -> Result<Self, DescriptorsError> {
        static DATA: &[u8] = include_bytes!("../../data/descriptors.gz");
        let built_in = Path::new("the built-in descriptors");
        let mut pool = DescriptorPool::new();
        add(&mut pool, built_in, &unpacked(built_in, DATA)?)?;
        if let Some(path) = added {
            let bytes = std::fs::read(path).map_err(|source| DescriptorsError::File {
                path: path.to_owned(),
                source,
            })?;
            add(&mut pool, path, &bytes)?;
        }
        Ok(Self { pool })
    }

    /// What a method answers with; `service` and `method` as in the request's path.
    pub(crate) fn output(&self, service: &str, method: &str) -> Option<MessageDescriptor> {
        self.method(service, method).map(|m| m.output())
    }

    /// What a method takes.
    pub(crate) fn input(&self, service: &str, method: &str) -> Option<MessageDescriptor> {
        self.method(service, method).map(|m| m.input())
    }

    fn method(&self, service: &str, method: &str) -> Option<MethodDescriptor> {
        let service = self.pool.get_service_by_name(service)?;
        let mut methods = service.methods();
        methods.find(|m| m.name() == method)
    }
}

fn unpacked(path: &Path, data: &[u8]) -> Result<Vec<u8>, DescriptorsError> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(data)
        .take(MOST_BYTES)
        .read_to_end(&mut plain)
        .map_err(|source| DescriptorsError::File {
            path: path.to_owned(),
            source,
        })?;
    Ok(plain)
}

fn add(pool: &mut DescriptorPool, path: &Path, set: &[u8]) -> Result<(), DescriptorsError> {
    pool.decode_file_descriptor_set(set)
        .map_err(|source| DescriptorsError::Set {
            path: path.to_owned(),
            source,
        })
}
