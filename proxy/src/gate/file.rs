//! Approval requests as files (standalone mode): `approvals/NAME.yaml`, decided by editing
//! `status.reviews`. This process is the only one that settles and spends, so a mutex is the
//! compare-and-swap.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ResourceExt;
use turnpike_compiler::{approval::next_status, load};
use turnpike_crds::{ApprovalRequest, Consumption, Phase};

use super::{ApprovalStore, StoreError, hub::Hub, phase};

/// The folder of approval requests.
#[derive(Debug)]
pub struct FileStore {
    dir: PathBuf,
    hub: Arc<Hub>,
    /// Held while a file is read and written back.
    writing: Mutex<()>,
}

impl FileStore {
    /// A store in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: PathBuf, hub: Arc<Hub>) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&dir)?;
        let store = Arc::new(Self {
            dir,
            hub,
            writing: Mutex::new(()),
        });
        store.refresh();
        Ok(store)
    }

    /// Keeps out this process's other writers, and the CLI, which takes the same lock on the folder.
    fn lock(&self) -> (MutexGuard<'_, ()>, Option<File>) {
        let guard = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = File::open(&self.dir).and_then(|folder| folder.lock().map(|()| folder));
        // Some file systems know no locks. The CLI compares before it renames, so what is left then is a
        // window of microseconds.
        (guard, folder.ok())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.yaml"))
    }

    /// Reads every file again, settles what was reviewed or is over, and reports it all. A file that does
    /// not parse is named in the log, and its request stays as it was.
    pub fn refresh(&self) {
        // Held until the hub knows: a request that is created in between would count as deleted.
        let _guard = self.lock();
        let mut all = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(dir = %self.dir.display(), %error, "cannot read the approvals");
                return;
            }
        };
        for path in entries
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        {
            match self.read(&path) {
                Ok(request) => all.push(self.settle(request)),
                Err(problem) => {
                    tracing::error!(file = %path.display(), problem, "an approval request cannot be read; it stays as it was");
                    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
                    // The namespace is inside the file, so look for the name alone.
                    all.extend(self.hub.by_name(name));
                }
            }
        }
        self.hub.replace_all(all);
    }

    fn read(&self, path: &Path) -> Result<ApprovalRequest, String> {
        let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
        load::approval_request(&text).map_err(|problems| {
            problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; ")
        })
    }

    fn settle(&self, mut request: ApprovalRequest) -> ApprovalRequest {
        if let Some(status) = next_status(&request, Timestamp::now()) {
            request.status = Some(status);
            if let Err(error) = self.write(&request) {
                tracing::error!(request = request.name_any(), %error, "cannot write an approval request");
            }
        }
        request
    }

    fn write(&self, request: &ApprovalRequest) -> Result<(), StoreError> {
        let name = request.name_any();
        let unavailable = |e: String| StoreError::Unavailable(format!("approval request {name}: {e}"));
        let yaml = serde_saphyr::to_string(request).map_err(|e| unavailable(e.to_string()))?;
        let text = format!("{}{yaml}", instructions(request));
        let path = self.path(&name);
        let fresh = path.with_extension("yaml.new");
        // Renamed into place, so that nobody ever reads half of it.
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|e| unavailable(e.to_string()))
    }
}

fn instructions(request: &ApprovalRequest) -> String {
    if phase(request) != Phase::Pending {
        return String::new();
    }
    format!(
        "# To decide, write under status, and save:\n\
         #   reviews:\n\
         #     YOUR-NAME: {{decision: Approve, reason: \"why\"}}     # or Deny\n\
         # or run: kubectl-turnpike --config DIR approve {}\n",
        request.name_any()
    )
}

impl ApprovalStore for FileStore {
    fn create(&self, mut request: ApprovalRequest) -> BoxFuture<'_, Result<ApprovalRequest, StoreError>> {
        Box::pin(async move {
            let _guard = self.lock();
            if self.path(&request.name_any()).exists() {
                return Err(StoreError::Exists);
            }
            request.metadata.creation_timestamp = Some(Time(Timestamp::now()));
            request.status = next_status(&request, Timestamp::now());
            self.write(&request)?;
            self.hub.put(request.clone());
            Ok(request)
        })
    }

    fn get<'a>(
        &'a self,
        _: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ApprovalRequest>, StoreError>> {
        Box::pin(async move {
            let path = self.path(name);
            let _guard = self.lock();
            if !path.exists() {
                return Ok(None);
            }
            self.read(&path).map(Some).map_err(StoreError::Unavailable)
        })
    }

    fn spend(
        &self,
        request: ApprovalRequest,
        by: Consumption,
    ) -> BoxFuture<'_, Result<ApprovalRequest, StoreError>> {
        Box::pin(async move {
            let _guard = self.lock();
            let mut now = self
                .read(&self.path(&request.name_any()))
                .map_err(|_| StoreError::Changed)?;
            let status = now.status.get_or_insert_default();
            if now.spec != request.spec
                || status.phase != Some(Phase::Approved)
                || status.consumption.is_some()
            {
                return Err(StoreError::Changed);
            }
            status.consumption = Some(by);
            if let Some(next) = next_status(&now, Timestamp::now()) {
                now.status = Some(next);
            }
            self.write(&now)?;
            self.hub.put(now.clone());
            Ok(now)
        })
    }
}
