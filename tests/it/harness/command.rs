//! A command of the real binary, run to its end.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use super::TestDatabase;

/// What a command came to.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs `freshet` without anything of the environment that would name a database.
pub fn freshet(arguments: &[&str]) -> Ran {
    freshet_with(&[], arguments)
}

/// The same with variables of its own.
pub fn freshet_with(variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
    for variable in ["DATABASE_URL", "FRESHET_CONFIG", "FRESHET_URL", "FRESHET_OPERATIONS"] {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied());
    let Output { status, stdout, stderr } = command.args(arguments).output().expect("run freshet");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ran { code: status.code().expect("an exit"), out: text(stdout), err: text(stderr) }
}

impl Ran {
    /// It ended with `code` and printed all `parts`.
    #[track_caller]
    pub fn says(&self, code: i32, parts: &[&str]) {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, code, "{all}");
        for part in parts {
            assert!(all.contains(part), "{part:?} is not said in:\n{all}");
        }
    }

    /// What it printed for programs.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

/// Runs it on one database.
pub fn on(database: &TestDatabase, arguments: &[&str]) -> Ran {
    let url = database.url();
    freshet(&[arguments, &["--database-url", &url]].concat())
}

/// A configuration of several databases in a file of its own.
pub struct Configuration {
    folder: TempDir,
    text: String,
}

impl Configuration {
    /// One of so many logical shards, without a database.
    pub fn of(shards: u32) -> Self {
        Configuration { folder: super::folder(), text: format!("shards = {shards}\n") }
    }

    /// With a database, and the shards that it shall have in the beginning; none where that is empty.
    pub fn with(mut self, name: &str, url: &str, shards: &str) -> Self {
        self.text.push_str(&format!("[[database]]\nname = \"{name}\"\nurl = \"{url}\"\n"));
        if !shards.is_empty() {
            self.text.push_str(&format!("shards = \"{shards}\"\n"));
        }
        self
    }

    /// With another key of the database that was named last.
    pub fn and(mut self, key: &str) -> Self {
        self.text.push_str(key);
        self.text.push('\n');
        self
    }

    /// Writes it, and returns its path.
    pub fn write(&self) -> String {
        let path = self.folder.path().join("freshet.toml");
        fs::write(&path, &self.text).expect("write the configuration");
        path.display().to_string()
    }

    /// Runs a command by it.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        freshet(&[arguments, &["--config", &self.write()]].concat())
    }
}
