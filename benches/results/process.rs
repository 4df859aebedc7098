//! The program that is measured, and processes that end with their values.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// The program that is measured, and measures.
pub fn freshet() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_freshet"))
}

/// A process that is ended with its value.
pub struct Ended(pub Child);

impl Drop for Ended {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Nothing is read of it.
pub fn silent(command: &mut Command) -> Result<Ended, String> {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Ended).map_err(|error| error.to_string())
}
