//! `freshet verify`, as the real binary: it finds nothing where nothing is wrong, and each planted fault by the promise
//! that the fault breaks.

mod arguments;
mod disturbances;
mod faults;
mod healthy;

use serde_json::Value;

use crate::harness::{TestDatabase, terminal::freshet, until, within};

/// What a run came to.
pub struct Ran {
    code: i32,
    report: Value,
    said: String,
}

/// Runs `freshet verify` with `words`, in JSON.
pub async fn verify(words: &[&str]) -> Ran {
    let mut command = tokio::process::Command::from(freshet(&["--format", "json", "verify"]));
    let output =
        within("freshet verify ends", command.args(words).kill_on_drop(true).output()).await.expect("it starts");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let code = output.status.code().expect("an exit");
    Ran { code, report, said: String::from_utf8_lossy(&output.stderr).into_owned() }
}

impl Ran {
    /// The claims that were violated.
    fn violated(&self) -> Vec<&str> {
        let claims = self.report["claims"].as_array().unwrap_or_else(|| panic!("no report: {}", self.said));
        let violated = claims.iter().filter(|claim| claim["violations"].as_u64() > Some(0));
        violated.map(|claim| claim["claim"].as_str().expect("a name")).collect()
    }

    #[track_caller]
    pub fn is_clean(&self) {
        assert_eq!((self.code, &self.report["verdict"]), (0, &"clean".into()), "{}\n{:#}", self.said, self.report);
        for claim in self.report["claims"].as_array().expect("claims") {
            assert!(claim["checked"].as_u64() > Some(0), "{claim}");
        }
    }

    #[track_caller]
    fn says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}\n{}", self.said, self.report);
        for part in parts {
            assert!(self.said.contains(part), "{part:?} is not said in:\n{}", self.said);
        }
    }
}

async fn rows(database: &TestDatabase) -> i64 {
    database.value("SELECT count(*) FROM products").await
}

/// Waits until a run has made its records, however long that takes, and writes.
async fn is_written(database: &TestDatabase) {
    let changed = "SELECT count(*) FROM products WHERE freshet_version > 100";
    until("it writes", async || database.value::<i64>(changed).await > 0).await;
}

/// Of a short run: after it every key is read once more, when no write is young any more.
const RUN: [&str; 4] = ["--seconds", "4", "--keys", "16"];
