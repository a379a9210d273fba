//! What the table of gRPC methods adds to the catalogue: ids of RPCs that no REST method stands for, and hosts
//! that discovery does not list. Neither makes a REST request known.

use super::{Catalog, LoadError};
use crate::{call::MethodIndex, grpc::Additions};

impl Catalog {
    /// The service that a host (lower case, no port) stands for.
    pub(crate) fn service_of_host(&self, host: &str) -> Option<&'static str> {
        self.host(host).map(|host| host.service)
    }

    /// Merges ids and hosts; rows keep their ids and get new numbers.
    pub(super) fn add(&mut self, additions: Additions) -> Result<(), LoadError> {
        for host in additions.hosts {
            if !self.services.contains_key(host) {
                let root = self.trie.root();
                self.services.insert(host, root);
            }
        }
        let mut ids = self.ids.clone();
        for id in additions.ids {
            ids.push(id.leak());
        }
        ids.sort_unstable();
        ids.dedup();
        ids.shrink_to_fit();
        // Both lists are sorted, so that one walk finds every place.
        let mut places = Vec::with_capacity(self.ids.len());
        let mut at = 0;
        for id in &self.ids {
            at += ids
                .get(at..)
                .and_then(|rest| rest.iter().position(|other| other == id))
                .ok_or(LoadError::Format)?;
            places.push(MethodIndex(u32::try_from(at).map_err(|_| LoadError::Format)?));
        }
        for row in &mut self.rows {
            row.id = *places.get(row.id.as_usize()).ok_or(LoadError::Format)?;
        }
        self.ids = ids;
        Ok(())
    }
}
