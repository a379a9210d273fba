//! Child processes that cannot outlive the tests, free ports, and waiting for a condition.
//!
//! Children are started from one thread that never ends: the kernel's "kill me when my parent
//! dies" is tied to the *thread* that started a process, and test threads end early.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{
    OnceLock, PoisonError,
    atomic::{AtomicU32, Ordering},
    mpsc,
};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tempfile::TempDir;

/// How long a process may take to stop after SIGTERM, before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);
/// How much of a log goes into an error.
const LOG_TAIL: usize = 4000;

/// A running child. Dropping it stops it: SIGTERM first, SIGKILL when that does not do.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program whose standard output and error go to `dir/NAME.log`, appended.
    ///
    /// # Errors
    /// The log cannot be opened, or the program cannot be started.
    pub fn start(name: &str, dir: &Path, mut command: Command) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let open = || File::options().create(true).append(true).open(&log);
        let output = open().with_context(|| format!("open {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        die_with_parent(&mut command);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = spawn(command).with_context(|| format!("start {name} ({program})"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All it has written so far.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn output(&self) -> Result<String> {
        let bytes = fs::read(&self.log).with_context(|| format!("read {}", self.log.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Fails with the end of its log where it has ended.
    ///
    /// # Errors
    /// It has ended, or its state is not known.
    pub fn alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.tail()),
        }
    }

    /// Sends a signal, such as `libc::SIGTERM`.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&mut self, signal: i32) -> Result<()> {
        // A child that was not waited for keeps its id, so this reaches no other process.
        self.alive()?;
        kill(self.child.id(), signal).with_context(|| format!("signal {}", self.name))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not end in time.
    #[allow(clippy::disallowed_methods, reason = "drop has no runtime to wait on")]
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {timeout:?}:\n{}", self.name, self.tail());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Ends it with SIGKILL, as a crash would.
    ///
    /// # Errors
    /// The process cannot be killed or waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Ends it with SIGTERM, then SIGKILL.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn stop(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        if kill(self.child.id(), libc::SIGTERM).is_ok() && self.wait(STOP_WITHIN).is_ok() {
            return Ok(());
        }
        self.kill()
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident_memory(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = kilobytes
            .and_then(|text| text.trim().strip_suffix("kB"))
            .context("no VmRSS")?;
        Ok(kilobytes.trim().parse::<u64>()? * 1024)
    }

    fn tail(&self) -> String {
        match self.output() {
            Ok(output) => {
                let from = output.len().saturating_sub(LOG_TAIL);
                let from = (from..output.len())
                    .find(|at| output.is_char_boundary(*at))
                    .unwrap_or(0);
                output[from..].to_owned()
            }
            Err(error) => format!("({error:#})"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{}: {error:#}", self.name);
        }
    }
}

/// Where ports for servers of tests begin. The system gives its own choices, those of connections on their way
/// out among them, from 32768 on: a port from there could be taken between this function and the server's bind.
const FIRST_PORT: u32 = 12_000;
const PORTS: u32 = 20_000;

/// A TCP port of the loopback interface that nobody listens on. No other call of this process gets it, and
/// processes begin at different ones.
///
/// # Errors
/// No port is free.
pub fn free_port() -> Result<u16> {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(397);
    for _ in 0..PORTS {
        let next = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST_PORT + next % PORTS)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {FIRST_PORT} to {} is free", FIRST_PORT + PORTS)
}

/// Asks until the answer is `Ok`, or fails with the last error once `timeout` has passed.
///
/// # Errors
/// The condition did not come true in time.
pub async fn eventually<T, F, Fut>(timeout: Duration, mut condition: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let started = Instant::now();
    loop {
        let error = match condition().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if started.elapsed() >= timeout {
            return Err(error.context(format!("not within {timeout:?}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A directory of this test process below the system's temporary directory. Directories that
/// were left by processes that are gone are removed on the way, as statics are never dropped.
///
/// # Errors
/// It cannot be made.
pub fn temp_dir(name: &str) -> Result<TempDir> {
    static SWEPT: OnceLock<()> = OnceLock::new();
    let root = std::env::temp_dir().join("turnpike-tests");
    fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
    SWEPT.get_or_init(|| sweep(&root));
    let prefix = format!("{}-{name}-", std::process::id());
    tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(&root)
        .context("create a temporary directory")
}

fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            // Another test binary may sweep at the same time.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// A command without the caller's environment but for what programs need to start at all.
pub fn clean_command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("LANG", "C.UTF-8");
    for name in ["PATH", "TMPDIR", "JAVA_HOME"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}

type Spawn = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a command on the thread that never ends.
fn spawn(command: Command) -> Result<Child> {
    static SPAWNER: OnceLock<std::sync::Mutex<mpsc::Sender<Spawn>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Spawn>();
        std::thread::spawn(move || {
            for (mut command, reply) in receiver {
                // The receiver waits for the answer, so it is there.
                reply.send(command.spawn()).ok();
            }
        });
        std::sync::Mutex::new(sender)
    });
    let (reply, answer) = mpsc::channel();
    spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .map_err(|_| anyhow!("no spawner"))?;
    Ok(answer.recv().context("no spawner")??)
}

#[allow(
    unsafe_code,
    reason = "PR_SET_PDEATHSIG has no safe wrapper in the standard library"
)]
fn die_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe functions may run; prctl with
    // integer arguments is a plain system call, and making an io::Error from errno allocates
    // nothing.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
}

#[allow(unsafe_code, reason = "the standard library sends no signal but SIGKILL")]
fn kill(id: u32, signal: i32) -> Result<()> {
    let id = libc::pid_t::try_from(id)?;
    // SAFETY: kill takes two integers and touches no memory of ours.
    match unsafe { libc::kill(id, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}
