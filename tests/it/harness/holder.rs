//! A process that holds something until it is killed: an ignored test of this binary, run alone.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt::Display,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// What the holder is given, in its environment.
const GIVEN: &str = "FRESHET_TEST_HOLD";

/// Such a process. It also ends when the test that started it does.
pub struct Holder {
    child: Child,
    said: String,
}

impl Holder {
    /// Runs the test of this name, and returns when it calls [`hold`].
    pub fn run(test: &str, given: impl AsRef<OsStr>) -> Self {
        let mut child = Command::new(env::current_exe().expect("our own path"))
            .args(["--exact", test, "--nocapture", "--ignored"])
            .env(GIVEN, given)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the holder");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let said = lines.find_map(|line| Some(line.strip_prefix("holding ")?.to_owned()));
        Holder { child, said: said.expect("the holder did not start") }
    }

    /// What it said of what it holds.
    pub fn said(&self) -> &str {
        &self.said
    }

    pub fn id(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Ends it by SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("wait");
    }
}

/// What this process was given, where it is a holder.
pub fn given() -> Option<OsString> {
    env::var_os(GIVEN)
}

/// Tells the test that started this process, and blocks until that test is gone.
pub fn hold(said: impl Display) {
    println!("\nholding {said}");
    let _ = std::io::stdin().read(&mut [0]);
}

pub fn is_running(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits for the end of a process that is not our child.
#[track_caller]
pub fn await_end(pid: i32) {
    let until = Instant::now() + Duration::from_secs(20);
    while is_running(pid) {
        assert!(Instant::now() < until, "the server outlived its owner");
        sleep(Duration::from_millis(3));
    }
}
