//! A node in a process of its own: for what is measured of a whole process, or done to it.

use std::{fs, net::SocketAddr, path::Path, process::Stdio, sync::Arc};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{until, within};

/// Such a node; it ends with the value.
pub struct Process {
    child: Child,
    /// The address clients connect to.
    pub public: SocketAddr,
    operations: SocketAddr,
    said: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts it with its data in memory and `settings` in its environment.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
        command.args(["serve", "--memory"]).envs(settings.iter().copied());
        Self::run(command).await
    }

    /// Starts it with the configuration in a file.
    pub async fn configured(config: &Path) -> Self {
        Self::configured_with(config, &[]).await
    }

    /// The same with `settings` in its environment.
    pub async fn configured_with(config: &Path, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
        command.args(["serve", "--config"]).arg(config).envs(settings.iter().copied());
        Self::run(command).await
    }

    async fn run(mut command: Command) -> Self {
        command
            .args(["--listen", "127.0.0.1:0", "--operations", "127.0.0.1:0"])
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("start a node");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let (public, operations) = within("the node says where it serves", async {
            let mut said = String::new();
            loop {
                let line = lines.next_line().await.expect("text");
                let line = line.unwrap_or_else(|| panic!("the node ended, and said:\n{said}"));
                said.push_str(&line);
                said.push('\n');
                if let (Some(public), Some(operations)) = (field(&line, "public="), field(&line, "operations=")) {
                    return (public, operations);
                }
            }
        })
        .await;
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        // Read on, so that the log never blocks the node.
        let log = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                log.lock().push(line);
            }
        });
        let node = Process { child, public, operations, said };
        let probe = format!("http://{operations}/livez");
        until("the node answers", async || reqwest::get(&probe).await.is_ok_and(|r| r.status().is_success())).await;
        node
    }

    /// A metric without labels, from the text that another process serves; [`Node::metric`](super::Node::metric) reads this
    /// one's.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = reqwest::get(format!("http://{}/metrics", self.operations)).await.expect("metrics");
        let text = text.text().await.expect("text");
        let line = text
            .lines()
            .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))
            .unwrap_or_default();
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// The lines that it has logged since it began to serve.
    pub fn said(&self) -> Vec<String> {
        self.said.lock().clone()
    }

    /// The WebSocket's URL.
    pub fn url(&self) -> String {
        format!("ws://{}/v1/ws", self.public)
    }

    /// Stops the process where it stands, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs").cast_signed();
        kill(Pid::from_raw(id), signal).expect("signal");
    }

    /// Pages of the process in memory, from proc(5).
    pub fn resident_bytes(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id().expect("runs"))).expect("proc");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("KiB") * 1024
    }
}

fn field(line: &str, name: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(name)?;
    rest.split_whitespace().next()?.parse().ok()
}
