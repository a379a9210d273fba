//! Approval requests of a standalone proxy: `DIR/approvals/NAME.yaml`.
//!
//! A review is an edit of a file that the proxy watches and rewrites. So it is written beside and renamed
//! into place, only over the very text that was read, and one reviewer at a time: reviewers lock the
//! folder. The proxy does not take that lock; it settles what it finds, and finds either file whole.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use kube::ResourceExt as _;
use turnpike_compiler::load;
use turnpike_crds::{ApprovalRequest, ApprovalRequestStatus, Phase, Review};

use super::{Listing, Me, is_over, phase};
use crate::args::Target;

/// How often a file may change under our hands before we give up.
const ATTEMPTS: usize = 20;

pub(crate) struct Directory {
    approvals: PathBuf,
    namespace: Option<String>,
    as_user: Option<String>,
    as_group: Vec<String>,
}

impl Directory {
    pub(super) fn open(dir: &Path, target: &Target) -> Result<Self> {
        let approvals = dir.join("approvals");
        if !approvals.is_dir() && !dir.join("turnpike.yaml").is_file() {
            bail!(
                "{} is no folder of a standalone proxy: it has neither turnpike.yaml nor approvals/; name the folder \
                 that `turnpike-proxy standalone --init` made",
                dir.display()
            );
        }
        Ok(Self {
            approvals,
            namespace: target.namespace.clone(),
            as_user: target.as_user.clone(),
            as_group: target.as_group.clone(),
        })
    }

    pub(super) fn place(&self, all_namespaces: bool) -> String {
        match &self.namespace {
            Some(namespace) if !all_namespaces => {
                format!("{} of namespace {namespace}", self.approvals.display())
            }
            _ => self.approvals.display().to_string(),
        }
    }

    /// The folder as it was named.
    pub(super) fn shown(&self) -> String {
        let folder = self.approvals.parent().unwrap_or(&self.approvals);
        folder.display().to_string()
    }

    pub(super) fn list(&self, all_namespaces: bool) -> Result<Listing> {
        let mut listing = Listing::default();
        let entries = match fs::read_dir(&self.approvals) {
            Ok(entries) => entries,
            // The proxy makes the folder at its first start.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(listing),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", self.approvals.display()));
            }
        };
        for entry in entries {
            let path = entry
                .with_context(|| format!("cannot read {}", self.approvals.display()))?
                .path();
            if path.extension() != Some(OsStr::new("yaml")) {
                continue;
            }
            match read(&path) {
                Ok(Some((request, _))) => {
                    if all_namespaces || self.is_mine(&request) {
                        listing.requests.push(request);
                    }
                }
                Ok(None) => {}
                Err(error) => listing.unreadable.push(format!("{error:#}")),
            }
        }
        Ok(listing)
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<ApprovalRequest>> {
        let found = read(&self.path(name))?;
        Ok(found.map(|(request, _)| request).filter(|r| self.is_mine(r)))
    }

    pub(super) fn me(&self) -> Result<Me> {
        let from_environment = || {
            ["USER", "LOGNAME"]
                .iter()
                .find_map(|name| std::env::var(name).ok())
        };
        let is_name = |name: &String| !name.trim().is_empty();
        let name = self
            .as_user
            .clone()
            .or_else(|| from_environment().filter(is_name))
            .or_else(login_name)
            .filter(is_name)
            .context("who are you? Neither $USER nor the system's list of users says; give your name with --as NAME")?;
        Ok(Me {
            name,
            groups: self.as_group.clone(),
        })
    }

    pub(super) fn review(&self, request: &ApprovalRequest, me: &str, review: &Review) -> Result<()> {
        let name = request.name_any();
        let path = self.path(&name);
        let _lock = lock(&self.approvals)?;
        for _ in 0..ATTEMPTS {
            let Some((mut now, text)) = read(&path)? else {
                bail!("approval request {name} was removed meanwhile; your review was not written");
            };
            if now.spec != request.spec {
                bail!("approval request {name} is another one now; look at it again before you decide");
            }
            if phase(&now) != Phase::Pending || is_over(&now, Timestamp::now()) {
                bail!("approval request {name} was decided meanwhile; your review was not written");
            }
            let status = now.status.get_or_insert_with(ApprovalRequestStatus::default);
            status.reviews.insert(me.to_owned(), review.clone());
            let fresh = render(&now, &text)?;
            if replace(&path, &text, &fresh).with_context(|| format!("cannot write {}", path.display()))? {
                return Ok(());
            }
        }
        bail!(
            "{} changes all the time; your review was not written, try again",
            path.display()
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.approvals.join(format!("{name}.yaml"))
    }

    fn is_mine(&self, request: &ApprovalRequest) -> bool {
        let namespace = request.metadata.namespace.as_deref();
        self.namespace.is_none() || self.namespace.as_deref() == namespace
    }
}

/// The name of the user that this process runs as. Containers often have no $USER.
fn login_name() -> Option<String> {
    let uid = fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

/// A request and the text it was read from; `None` where there is no such file.
fn read(path: &Path) -> Result<Option<(ApprovalRequest, String)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let request = load::approval_request(&text).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "{} is no approval request: {}",
            path.display(),
            problems.join("; ")
        )
    })?;
    if path.file_stem() != request.metadata.name.as_deref().map(OsStr::new) {
        bail!(
            "{} holds the approval request {}; rename the file to that name",
            path.display(),
            request.name_any()
        );
    }
    Ok(Some((request, text)))
}

/// One reviewer at a time. The lock ends with the value.
fn lock(dir: &Path) -> Result<File> {
    let context = || format!("cannot lock {}", dir.display());
    let folder = File::open(dir).with_context(context)?;
    match folder.lock() {
        // Some network file systems lock no folders; there, only the comparison before the rename protects.
        Err(error) if error.kind() != ErrorKind::Unsupported => Err(error).with_context(context),
        _ => Ok(folder),
    }
}

/// The file's new text: the comment that it began with, and the request.
fn render(request: &ApprovalRequest, before: &str) -> Result<String> {
    let head: String = before
        .split_inclusive('\n')
        .take_while(|line| line.starts_with('#'))
        .collect();
    let body = serde_saphyr::to_string(request).context("cannot write the request as YAML")?;
    let text = format!("{head}{body}");
    // Whatever a name or a reason holds, it must not come back as something else.
    match load::approval_request(&text) {
        Ok(back) if back == *request => Ok(text),
        _ => bail!(
            "the request with your review does not survive being written as YAML; leave odd characters away"
        ),
    }
}

/// Replaces a file's text by another, unless it is no longer the text that was read. Whoever reads the file
/// sees one or the other whole.
fn replace(path: &Path, before: &str, after: &str) -> io::Result<bool> {
    let temporary = path.with_extension(format!("yaml.{}", std::process::id()));
    let written = write_new(&temporary, after).and_then(|()| {
        fs::set_permissions(&temporary, fs::metadata(path)?.permissions())?;
        if fs::read(path)? != before.as_bytes() {
            return Ok(false);
        }
        fs::rename(&temporary, path)?;
        Ok(true)
    });
    if !matches!(written, Ok(true)) {
        // It may not have been made; what failed is what counts.
        fs::remove_file(&temporary).ok();
    }
    written
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
