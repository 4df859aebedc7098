//! A node of Freshet in a process of its own, running or not.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::instance::Result;

/// How long a drain may take.
///
/// # Source
/// docs/operations.md, "Drain".
const DRAIN_LIMIT: Duration = Duration::from_secs(90);

/// How a node is run, without its addresses.
type Program = Box<dyn Fn() -> Command + Send + Sync>;

/// The node. Dropping it kills it, frozen or not.
pub struct Node {
    name: String,
    /// The address clients connect to; the same at each start.
    pub public: SocketAddr,
    /// The address of health and statistics; the same at each start.
    pub operations: SocketAddr,
    program: Program,
    log: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// A node that does not run yet. What it prints goes to `NAME.log` in `folder`.
    pub fn new(
        name: &str,
        (public, operations): (SocketAddr, SocketAddr),
        folder: &Path,
        program: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        Node { name: name.to_owned(), public, operations, program: Box::new(program), log, child: None }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where what it prints is kept.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether its process is there; a frozen one counts.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Starts it, and does not wait until it is ready; does nothing where it runs.
    ///
    /// # Errors
    /// When the process cannot be made.
    pub fn start(&mut self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = (self.program)();
        command
            .args(["--listen", &self.public.to_string(), "--operations", &self.operations.to_string()])
            .env("NO_COLOR", "1")
            // Closed with us; and Ctrl-C in a terminal is for us to pass on.
            .stdin(Stdio::piped())
            .process_group(0)
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Has it send its clients away, finish what it does and end, a frozen one as well; does nothing where it is down.
    ///
    /// # Errors
    /// When it did not end in time, and was killed.
    pub async fn drain(&mut self) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(Signal::SIGTERM)?;
        self.signal(Signal::SIGCONT)?;
        let child = self.child.as_mut().ok_or("it is down")?;
        if timeout(DRAIN_LIMIT, child.wait()).await.is_err() {
            self.kill().await?;
            return Err(format!("it did not end within {} s, and was killed", DRAIN_LIMIT.as_secs()).into());
        }
        Ok(())
    }

    /// Ends it as a crash does; does nothing where it is down.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&mut self) -> Result<()> {
        match self.child.take() {
            Some(mut child) => Ok(child.kill().await?),
            None => Ok(()),
        }
    }

    /// Stops it where it stands: its connections stay, the system accepts new ones for it, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&mut self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets a frozen node go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&mut self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        // A process that has ended has no number any more, once that was noticed.
        let running = if self.is_running() { self.child.as_ref() } else { None };
        let id = running.and_then(Child::id).ok_or("it is down")?;
        Ok(kill(Pid::from_raw(id.cast_signed()), signal)?)
    }
}
