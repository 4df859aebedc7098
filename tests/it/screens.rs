//! `top` and `watch`, as the real binary, on a terminal and in a pipe.

use std::{io::Write as _, process::Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Kind, Node,
    terminal::{Terminal, freshet},
    until, within,
};

async fn put(node: &Node, key: &str, value: &str) {
    let id = node.service().record("products", key).expect("a key");
    node.service().put(id, value, freshet::service::Conditions::default()).await.expect("put");
}

#[tokio::test]
async fn top_draws_a_node_follows_it_and_gives_the_terminal_back() {
    let node = Node::start(Kind::Memory).await;
    let operations = node.operations().to_string();
    let mut terminal = Terminal::start(&["top", &operations]);
    terminal.shows("watchers").await;
    terminal.shows("commit to screen").await;
    put(&node, "a", r#"{"name":"n","price":1}"#).await;
    terminal.shows("committed").await;
    terminal.types("p");
    terminal.shows("paused").await;
    terminal.types("p");
    node.stop().await;
    terminal.shows("away for").await;
    terminal.types("q");
    assert_eq!(terminal.ended().await.code(), Some(0));
    until("the terminal is restored", async || terminal.is_restored()).await;
}

#[tokio::test]
async fn a_terminal_is_given_back_on_ctrl_c_and_on_sigterm() {
    let node = Node::start(Kind::Memory).await;
    let operations = node.operations().to_string();
    let url = node.url();
    for arguments in [vec!["top", &operations], vec!["watch", "products", "a", "--url", &url]] {
        for ends in
            [|terminal: &Terminal| terminal.types("\u{3}"), |terminal: &Terminal| terminal.signal(Signal::SIGTERM)]
        {
            let mut terminal = Terminal::start(&arguments);
            terminal.shows("leave").await;
            ends(&terminal);
            assert_eq!(terminal.ended().await.code(), Some(0), "{}", terminal.text());
            until("the terminal is restored", async || terminal.is_restored()).await;
        }
    }
}

#[tokio::test]
async fn top_tells_programs_of_one_second_and_of_a_node_that_is_away() {
    let node = Node::start(Kind::Memory).await;
    let operations = format!("http://{}", node.operations());
    let nobody = "127.0.0.1:1";
    let run = move || freshet(&["top", &operations, nobody, "--once", "--format", "json"]).output().expect("run");
    let ran = within("it ends", tokio::task::spawn_blocking(run)).await.expect("ran");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(69), "{said}");
    assert!(said.contains("cannot reach 127.0.0.1:1"), "{said}");
    let mut lines: Vec<Value> =
        String::from_utf8_lossy(&ran.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    lines.sort_by_key(|line| line["state"].to_string());
    assert_eq!((&lines[0]["state"], &lines[0]["node"]), (&"away".into(), &nobody.into()));
    assert_eq!((&lines[1]["state"], &lines[1]["fresh"]), (&"live".into(), &true.into()));
    assert!(lines[1]["local"]["capacity"].as_u64().is_some_and(|capacity| capacity > 0), "{}", lines[1]);
    node.stop().await;
}

#[tokio::test]
async fn watch_draws_a_table_in_which_changes_appear() {
    let node = Node::start(Kind::Memory).await;
    put(&node, "a", r#"{"name":"first","price":41}"#).await;
    let url = node.url();
    let arguments = ["watch", "products", "a", "gone", "--field", "price", "--field", "name", "--url", &url];
    let mut terminal = Terminal::start(&arguments);
    terminal.shows("connected").await;
    terminal.shows("first").await;
    terminal.shows("absent").await;
    put(&node, "a", r#"{"name":"second","price":1234567}"#).await;
    terminal.shows("1234567").await;
    node.stop().await;
    terminal.shows("connection lost").await;
    terminal.types("q");
    assert_eq!(terminal.ended().await.code(), Some(0));
    until("the terminal is restored", async || terminal.is_restored()).await;
}

#[tokio::test]
async fn watch_prints_lines_in_a_pipe_and_takes_keys_from_stdin() {
    let node = Node::start(Kind::Memory).await;
    put(&node, "b", r#"{"name":"n","price":1}"#).await;
    let url = node.url();
    let run = move || {
        let arguments =
            ["watch", "products", "a", "--keys-from", "-", "--count", "2", "--format", "json", "--url", &url];
        let mut child =
            freshet(&arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start freshet");
        child.stdin.take().expect("piped").write_all(b"b\n\na\n").expect("written");
        child.wait_with_output().expect("ended")
    };
    let ran = within("it ends", tokio::task::spawn_blocking(run)).await.expect("ran");
    assert_eq!(ran.status.code(), Some(0));
    let mut lines: Vec<Value> =
        String::from_utf8_lossy(&ran.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    lines.sort_by_key(|line| line["key"].to_string());
    assert_eq!((&lines[0]["key"], &lines[0]["value"]), (&"a".into(), &Value::Null));
    assert_eq!((&lines[1]["key"], &lines[1]["value"]["price"]), (&"b".into(), &1.into()));
    node.stop().await;
}
