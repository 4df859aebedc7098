//! What disturbs a run is counted and is no violation.

use std::{process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{RUN, is_written, rows, verify};
use crate::harness::{
    Kind, Link, Node, Proxy, database,
    node::config,
    tampering::{Lie, Tampering},
    terminal::freshet,
    within,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_drain_and_come_back_and_links_that_break_are_no_violations() {
    let database = database().await;
    let link = Proxy::to(&database.url()).await;
    let (a, b) = (Node::over(&link.url(), config()).await, Node::over(&database.url(), config()).await);
    let (first, second, url) = (a.url(), b.url(), database.url());
    let mut again = config();
    again.gateway.listen = b.address();
    let run = ["--seconds", "14", "--keys", "24", &first, &second, "--database-url", &url];
    let faults = async {
        is_written(&database).await;
        b.stop().await;
        let b = Node::over(&database.url(), again).await;
        link.set(Link::Cut);
        tokio::time::sleep(Duration::from_secs(1)).await;
        link.set(Link::Pass);
        tokio::time::sleep(Duration::from_secs(1)).await;
        link.set(Link::BlackHole);
        // Longer than answers may be old without saying so.
        tokio::time::sleep(Duration::from_secs(5)).await;
        link.set(Link::Pass);
        b
    };
    let (ran, _b) = tokio::join!(verify(&run), faults);
    ran.is_clean();
    let disturbances = &ran.report["disturbances"];
    assert!(
        disturbances["disconnects"].as_u64() >= Some(4) && disturbances["drains"].as_u64() >= Some(4),
        "{disturbances}"
    );
    assert_eq!((ran.report["away"].as_array().map(Vec::len), rows(&database).await), (Some(0), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stays_away_is_named_and_its_subscriptions_are_not_judged() {
    let database = database().await;
    let (a, b) = (Node::over(&database.url(), config()).await, Node::over(&database.url(), config()).await);
    let (first, second, url) = (a.url(), b.url(), database.url());
    let run = [&RUN[..], &[&second, &first, "--database-url", &url, "--settle", "1s"]].concat();
    let death = async {
        is_written(&database).await;
        b.stop().await;
    };
    let (ran, ()) = tokio::join!(verify(&run), death);
    ran.is_clean();
    assert_eq!((&ran.report["away"][0], rows(&database).await), (&second.into(), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_the_run_early_which_is_judged_and_cleaned_up() {
    let node = Node::start(Kind::Postgres).await;
    let (url, base) = (node.url(), node.database().url());
    let words = ["--format", "json", "verify", "--seconds", "600", &url, "--database-url", &base];
    let mut command = tokio::process::Command::from(freshet(&words));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().expect("it starts");
    is_written(node.database()).await;
    let id = child.id().expect("it runs").cast_signed();
    kill(Pid::from_raw(id), Signal::SIGINT).expect("signal");
    let output = within("it ends", child.wait_with_output()).await.expect("an output");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!((output.status.code(), &report["verdict"]), (Some(0), &"clean".into()), "{report}");
    assert_eq!(rows(node.database()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_no_violation() {
    let database = database().await;
    let node = Node::over(&database.url(), config()).await;
    let proxy = Tampering::with(&node, Lie::HangAfter(40)).await;
    let (silent, direct, url) = (proxy.url(), node.url(), database.url());
    let run = [&RUN[..], &[&direct, &silent, "--database-url", &url, "--timeout", "1s", "--settle", "1s"]].concat();
    let ran = verify(&run).await;
    ran.is_clean();
    assert!(ran.report["disturbances"]["timeouts"].as_u64() > Some(0), "{}", ran.report["disturbances"]);
    assert_eq!(rows(&database).await, 0);
}
