//! Approval requests as files (standalone mode): `approvals/NAME.yaml`, decided by editing
//! `status.reviews`. This process is the only one that settles and spends, so a mutex is the
//! compare-and-swap.
//!
//! A file is read again when it changed; requests whose files did not are settled from memory. What is over
//! for a week is removed. Nothing here runs on the threads that serve calls.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ResourceExt;
use tokio::sync::Semaphore;
use turnpike_compiler::{
    approval::{Found, next_status, superseded_status},
    load,
};
use turnpike_crds::{ApprovalRequest, Consumption, Phase, PolicyReference};

use super::{ApprovalStore, StoreError, hub::Hub, is_over, phase};

/// How long the file of a request that is over is kept.
const KEEP_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// A file that changed this recently may change again without a new time of change.
const UNSETTLED_FOR: Duration = Duration::from_secs(2);

/// The folder of approval requests.
#[derive(Debug)]
pub struct FileStore(Arc<Folder>);

struct Folder {
    dir: PathBuf,
    hub: Arc<Hub>,
    /// What a policy that asked is now.
    find: Box<FindPolicy>,
    /// Held while a file is read and written back.
    known: Mutex<Known>,
    /// Whose turn it is to work on files.
    turn: Semaphore,
}

/// Looks up a policy that asked for an approval.
type FindPolicy = dyn Fn(&PolicyReference) -> Found + Send + Sync;

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// The files as they were last read.
type Known = HashMap<PathBuf, Entry>;

#[derive(Debug)]
struct Entry {
    /// `None` where the file has to be read again in any case.
    stamp: Option<Stamp>,
    /// `None` where it could never be read.
    request: Option<ApprovalRequest>,
}

/// Tells one content of a file from the next.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            modified: metadata.modified()?,
            length: metadata.len(),
            inode: metadata.ino(),
        })
    }

    fn age(&self) -> Duration {
        // A time in the future has no age.
        self.modified.elapsed().unwrap_or(Duration::ZERO)
    }
}

impl FileStore {
    /// A store in this folder, which is made if it is not there. `find` says what a policy that asked for an approval
    /// is now.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(
        dir: PathBuf,
        hub: Arc<Hub>,
        find: impl Fn(&PolicyReference) -> Found + Send + Sync + 'static,
    ) -> io::Result<Arc<Self>> {
        fs::create_dir_all(&dir)?;
        let folder = Folder {
            dir,
            hub,
            find: Box::new(find),
            known: Mutex::default(),
            turn: Semaphore::new(1),
        };
        folder.refresh();
        Ok(Arc::new(Self(Arc::new(folder))))
    }

    /// Reads what changed, settles what was reviewed or is over, and reports it. A file that does not parse
    /// is named in the log, and its request stays as it was.
    pub async fn refresh(&self) {
        let folder = self.0.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || folder.refresh()).await {
            tracing::error!(%error, "the approvals were not read");
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.0.clone();
        let unavailable = |why: &dyn std::fmt::Display| StoreError::Unavailable(why.to_string());
        // In turn: one works at a time in any case, and those that wait need no thread for it.
        let _turn = self.0.turn.acquire().await.map_err(|e| unavailable(&e))?;
        match tokio::task::spawn_blocking(move || work(&folder)).await {
            Ok(done) => done,
            Err(error) => Err(unavailable(&error)),
        }
    }
}

impl Folder {
    /// Keeps out this process's other writers, and the CLI, which takes the same lock on the folder.
    fn lock(&self) -> (MutexGuard<'_, Known>, Option<File>) {
        // Whoever panicked half-way left entries that are read again or the same as before.
        let guard = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = File::open(&self.dir).and_then(|folder| folder.lock().map(|()| folder));
        // Some file systems know no locks. The CLI compares before it renames, so what is left then is a
        // window of microseconds.
        (guard, folder.ok())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.yaml"))
    }

    fn refresh(&self) {
        // Held until the hub knows: a request that is created in between would count as deleted.
        let (mut known, _folder) = self.lock();
        let paths: io::Result<Vec<PathBuf>> =
            fs::read_dir(&self.dir).and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect());
        let paths: Vec<PathBuf> = match paths {
            Ok(paths) => paths
                .into_iter()
                .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
                .collect(),
            Err(error) => {
                tracing::error!(dir = %self.dir.display(), %error, "cannot read the approvals");
                return;
            }
        };
        let mut before = std::mem::take(&mut *known);
        for path in paths {
            let entry = before.remove(&path);
            if let Some(entry) = self.look_at(&path, entry) {
                known.insert(path, entry);
            }
        }
        for request in before.into_values().filter_map(|entry| entry.request) {
            self.hub
                .remove(&request.namespace().unwrap_or_default(), &request.name_any());
        }
    }

    /// A file's entry as it is now; `None` when the file is gone.
    fn look_at(&self, path: &Path, before: Option<Entry>) -> Option<Entry> {
        let (stamp, mut request) = match before {
            Some(Entry { stamp, request }) => (stamp, request),
            None => (None, None),
        };
        let now = match Stamp::of(path) {
            Ok(now) => now,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "an approval request cannot be read; it stays as it was");
                return Some(Entry { stamp: None, request });
            }
        };
        if stamp.as_ref() != Some(&now) {
            match self.read(path) {
                Ok(read) if request.as_ref() == Some(&read) => {}
                Ok(read) => {
                    self.hub.put(read.clone());
                    request = Some(read);
                }
                Err(problem) => {
                    tracing::error!(file = %path.display(), problem, "an approval request cannot be read; it stays as it was");
                }
            }
        }
        let settled = now.age() > UNSETTLED_FOR;
        let mut entry = Entry {
            stamp: settled.then_some(now.clone()),
            request,
        };
        if let Some(request) = &mut entry.request {
            let now_at = Timestamp::now();
            let superseded = superseded_status(request, &*self.find, now_at);
            if let Some(status) = superseded.or_else(|| next_status(request, now_at)) {
                request.status = Some(status);
                if let Err(error) = self.write(request) {
                    tracing::error!(request = request.name_any(), %error, "cannot write an approval request");
                }
                self.hub.put(request.clone());
                entry.stamp = None;
            } else if is_done_with(request) && now.age() > KEEP_FOR {
                match fs::remove_file(path) {
                    Ok(()) => {
                        self.hub
                            .remove(&request.namespace().unwrap_or_default(), &request.name_any());
                        return None;
                    }
                    Err(error) => {
                        tracing::error!(file = %path.display(), %error, "an old approval request cannot be removed");
                    }
                }
            }
        }
        Some(entry)
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

    /// Writes a request. When it returns, the request is on the disk: an approval that was spent must not
    /// come back.
    fn write(&self, request: &ApprovalRequest) -> Result<(), StoreError> {
        let name = request.name_any();
        let unavailable = |e: String| StoreError::Unavailable(format!("approval request {name}: {e}"));
        let yaml = serde_saphyr::to_string(request).map_err(|e| unavailable(e.to_string()))?;
        let text = format!("{}{yaml}", instructions(request));
        let path = self.path(&name);
        let fresh = path.with_extension("yaml.new");
        let written = || {
            let mut file = File::create(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // Renamed into place, so that nobody ever reads half of it.
            fs::rename(&fresh, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        written().map_err(|e| unavailable(e.to_string()))
    }

    /// Writes a request and tells of it.
    fn put(&self, known: &mut Known, request: ApprovalRequest) -> Result<ApprovalRequest, StoreError> {
        self.write(&request)?;
        self.hub.put(request.clone());
        let entry = Entry {
            stamp: None,
            request: Some(request.clone()),
        };
        known.insert(self.path(&request.name_any()), entry);
        Ok(request)
    }

    fn create(&self, mut request: ApprovalRequest) -> Result<ApprovalRequest, StoreError> {
        let (mut known, _folder) = self.lock();
        if self.path(&request.name_any()).exists() {
            return Err(StoreError::Exists);
        }
        request.metadata.creation_timestamp = Some(Time(Timestamp::now()));
        request.status = next_status(&request, Timestamp::now());
        self.put(&mut known, request)
    }

    fn get(&self, name: &str) -> Result<Option<ApprovalRequest>, StoreError> {
        let path = self.path(name);
        let _locks = self.lock();
        if !path.exists() {
            return Ok(None);
        }
        self.read(&path).map(Some).map_err(StoreError::Unavailable)
    }

    fn spend(&self, request: &ApprovalRequest, by: Consumption) -> Result<ApprovalRequest, StoreError> {
        let (mut known, _folder) = self.lock();
        let mut now = self
            .read(&self.path(&request.name_any()))
            .map_err(|_| StoreError::Changed)?;
        let status = now.status.get_or_insert_default();
        if now.spec != request.spec || status.phase != Some(Phase::Approved) || status.consumption.is_some() {
            return Err(StoreError::Changed);
        }
        status.consumption = Some(by);
        if let Some(next) = next_status(&now, Timestamp::now()) {
            now.status = Some(next);
        }
        self.put(&mut known, now)
    }
}

/// Whether nothing can come of a request any more. A denial is an answer to the same call until its time is
/// over.
fn is_done_with(request: &ApprovalRequest) -> bool {
    match phase(request) {
        Phase::Consumed | Phase::Expired | Phase::Superseded => true,
        Phase::Denied => is_over(request),
        Phase::Pending | Phase::Approved => false,
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
    fn create(&self, request: ApprovalRequest) -> BoxFuture<'_, Result<ApprovalRequest, StoreError>> {
        Box::pin(self.blocking(move |folder| folder.create(request)))
    }

    fn get<'a>(
        &'a self,
        _: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<ApprovalRequest>, StoreError>> {
        let name = name.to_owned();
        Box::pin(self.blocking(move |folder| folder.get(&name)))
    }

    fn spend(
        &self,
        request: ApprovalRequest,
        by: Consumption,
    ) -> BoxFuture<'_, Result<ApprovalRequest, StoreError>> {
        Box::pin(self.blocking(move |folder| folder.spend(&request, by)))
    }
}
