//! This program as `freshet`: cargo does not promise that the binary is there when an example is, and an older build of it
//! could be.

use std::{io, process::ExitCode, thread};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::Command;

/// The name under which this program is `freshet`.
const FRESHET: &str = "freshet";

/// `freshet`, without arguments. It ends when its stdin is closed.
pub fn freshet() -> Command {
    // Not the path of the file: cargo may have built another one meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0(FRESHET);
    command
}

/// Whether this process was started as `freshet`.
pub fn is_freshet() -> bool {
    std::env::args_os().next().is_some_and(|name| name == FRESHET)
}

/// Is `freshet`, until it ends or whoever started it does.
pub fn run_freshet() -> ExitCode {
    // Not awaited: it waits for as long as the process lives.
    thread::spawn(|| {
        drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
        kill(Pid::this(), Signal::SIGTERM).expect("a process may signal itself");
    });
    freshet::cli::main()
}
