//! What a figure was measured on.

use std::{fs, process::Command};

use serde::Serialize;

/// The machine, the programs and the day.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory: String,
    pub kernel: String,
    pub rustc: String,
    pub postgres: String,
    pub freshet: String,
    pub date: String,
    /// How many were waiting for the two cores when the run began; above 1, somebody else was busy.
    pub load_before: String,
}

impl Machine {
    /// Looks around. `postgres` is the version of the server that was used, if any.
    pub fn look() -> Self {
        let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let mebibytes = field(&file("/proc/meminfo"), "MemTotal").split(' ').next().and_then(|n| n.parse::<u64>().ok());
        Machine {
            processor: field(&file("/proc/cpuinfo"), "model name"),
            cores: file("/proc/cpuinfo").lines().filter(|line| line.starts_with("processor")).count(),
            memory: format!("{} GiB", mebibytes.unwrap_or_default() / (1 << 20)),
            kernel: said("uname", &["-sr"]),
            rustc: said("rustc", &["--version"]),
            postgres: String::new(),
            freshet: format!("{} ({})", env!("CARGO_PKG_VERSION"), said("git", &["describe", "--always", "--dirty"])),
            date: said("date", &["-u", "+%F %H:%M UTC"]),
            load_before: file("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
