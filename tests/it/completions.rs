//! The completion script, in a real bash.

use std::process::Command;

use crate::harness::{folder, terminal::freshet};

/// What bash would complete the last of `words` to.
fn completed(script: &str, words: &[&str]) -> Vec<String> {
    let line = format!(
        "source {script}; COMP_WORDS=({words}); COMP_CWORD={at}; _freshet freshet {last} {previous}; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        at = words.len() - 1,
        last = format_args!("'{}'", words[words.len() - 1]),
        previous = words[words.len() - 2],
    );
    let ran = Command::new("bash").args(["--norc", "-c", &line]).output().expect("bash is installed");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).expect("text").lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_their_values() {
    let folder = folder();
    let script = folder.path().join("freshet.bash");
    let ran = freshet(&["completions", "bash"]).output().expect("run");
    std::fs::write(&script, ran.stdout).expect("written");
    let script = script.display().to_string();
    assert_eq!(completed(&script, &["freshet", "wat"]), ["watch"]);
    assert_eq!(completed(&script, &["freshet", "shard"]), ["shards", "shard-of"]);
    assert_eq!(completed(&script, &["freshet", "watch", "--keys"]), ["--keys-from"]);
    assert_eq!(completed(&script, &["freshet", "load", "--input-format", ""]), ["jsonl", "csv"]);
    let shells = completed(&script, &["freshet", "completions", ""]);
    assert!(["bash", "zsh", "fish", "elvish", "powershell"].iter().all(|shell| shells.iter().any(|s| s == shell)));
}
