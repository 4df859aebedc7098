//! The client: `freshet bench` on the second core, the same for every server.

use std::process::Command;

use serde_json::Value;

use super::{
    pace::Pace,
    process::{Ended, freshet, silent},
};

/// The core of the client; servers have the first.
pub const CORE: &str = "1";

/// Which cores the client has.
#[derive(Clone, Copy, Debug)]
pub enum Cores {
    /// [`CORE`].
    Own,
    /// All, as the servers.
    All,
}

impl Cores {
    /// For `taskset -c`.
    pub fn list(self) -> &'static str {
        match self {
            Cores::Own => CORE,
            Cores::All => "0-1023",
        }
    }
}

/// One run's report.
#[derive(Clone, Debug)]
pub struct Report(pub Value);

/// Runs `freshet bench` with `scenario`'s words against `url`.
///
/// # Errors
/// What the command said, also when an answer was wrong: a figure with wrong answers is none.
pub fn bench(url: &str, scenario: &[&str], pids: &[u32], pace: &Pace) -> Result<Report, String> {
    bench_on(Cores::Own, url, scenario, pids, pace)
}

/// Begins patches with `value`, so many a second, until what is returned is dropped.
pub fn patches(url: &str, value: &str, rate: f64, pace: &Pace) -> Result<Ended, String> {
    let duration = format!("{}s", (pace.warm_up_seconds + pace.seconds).ceil() + 5.0);
    let mut command = Command::new("taskset");
    command.args(["-c", Cores::All.list()]).arg(freshet()).args(["--url", url, "bench", "patch", "--keys", "10000"]);
    command.args(["--value", value, "--connections", "4", "--in-flight", "64"]);
    command.args(["--rate", &format!("{rate:.0}"), "--duration", &duration]);
    silent(&mut command)
}

/// [`bench`] on other cores.
pub fn bench_on(cores: Cores, url: &str, scenario: &[&str], pids: &[u32], pace: &Pace) -> Result<Report, String> {
    let mut command = Command::new("taskset");
    command.args(["-c", cores.list()]).arg(freshet()).args([
        "--format",
        "json",
        "--url",
        url,
        "--timeout",
        "60s",
        "bench",
    ]);
    command.args(scenario).args(pace.arguments(scenario[0]));
    for pid in pids {
        command.args(["--pid", &pid.to_string()]);
    }
    let output = command.output().map_err(|error| format!("taskset (of util-linux) does not start: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let report = serde_json::from_slice(&output.stdout).map_err(|error| format!("no report: {error}"))?;
    Ok(Report(report))
}

impl Report {
    /// A number, by its path such as `/latency/p99_us`.
    pub fn number(&self, path: &str) -> f64 {
        self.0.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path} in {}", self.0))
    }

    /// Microseconds of the servers' processor time for each of what `path` counts a second. Unlike a rate it hardly
    /// depends on who else is busy on the machine.
    pub fn cost_us(&self, path: &str) -> f64 {
        let servers = self.0["usage"]["servers"].as_array().into_iter().flatten();
        let share: f64 = servers.filter_map(|server| server["share"].as_f64()).sum();
        share * 1e6 / self.number(path)
    }

    /// The processor's use, for people.
    pub fn usage(&self) -> String {
        let usage = &self.0["usage"];
        let mut text = format!("client {:.2}", usage["client"].as_f64().unwrap_or_default());
        for server in usage["servers"].as_array().into_iter().flatten() {
            let name = server["name"].as_str().unwrap_or_default();
            text.push_str(&format!(", {name} {:.2}", server["share"].as_f64().unwrap_or_default()));
        }
        text
    }
}
