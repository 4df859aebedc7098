//! `freshet bench` against a real node: what it reports adds up, and a wrong answer is no figure.

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Kind, Node, within};

/// Runs `freshet bench` with `words` and gives its exit code, its report and what it said on stderr.
async fn bench(url: &str, words: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshet"));
    command.args(["--format", "json", "--url", url, "bench"]).args(words);
    let output = within("freshet bench ends", command.output()).await.expect("freshet starts");
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_counts_every_answer_and_finds_none_wrong() {
    let node = Node::start(Kind::Memory).await;
    for words in [
        &["get", "--fill", "--keys", "50", "--zipf", "0.99", "--in-flight", "4"][..],
        &["get", "--keys", "50", "--rate", "500"],
        &["patch", "--keys", "50", "--idempotent"],
        &["put"],
    ] {
        let words = [words, &["--connections", "4", "--duration", "300ms", "--warm-up", "50ms"]].concat();
        let (code, report, said) = bench(&node.url(), &words).await;
        assert_eq!((code, &report["errors"]["count"]), (Some(0), &0.into()), "{words:?}: {said}");
        assert!(report["answers"].as_u64() > Some(0) && report["latency"]["p99_us"].as_f64() > Some(0.0), "{report}");
    }
}

/// Far more than a node built for tests answers, so that requests wait for a place before, in and after the window.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_due_in_the_window_of_an_open_loop_is_counted_once() {
    let node = Node::start(Kind::Memory).await;
    let load = ["get", "--fill", "--keys", "50", "--rate", "1000000", "--connections", "64", "--in-flight", "64"];
    let (code, report, said) =
        bench(&node.url(), &[&load[..], &["--duration", "300ms", "--warm-up", "10ms"]].concat()).await;
    assert_eq!((code, &report["errors"]["count"]), (Some(0), &0.into()), "{said}");
    let [answers, unsent, times] = ["/answers", "/unsent", "/latency/count"]
        .map(|figure| report.pointer(figure).and_then(Value::as_u64).unwrap_or_else(|| panic!("{figure} of {report}")));
    assert!(answers > 0 && unsent > 0, "{answers} answered, {unsent} unsent");
    assert_eq!((answers + unsent, times), (300_000, 300_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_watcher_of_a_delivery_gets_every_state() {
    let node = Node::start(Kind::Postgres).await;
    let database = node.database.as_ref().expect("a database of its own").url();
    let run = ["--rate", "100", "--duration", "500ms", "--warm-up", "100ms"];
    for words in [
        &["fan-out", "--fill", "--subscribers", "20", "--probe", "100"][..],
        &["latency", "--fill", "--keys", "10"],
        &["latency", "--keys", "10", "--writers", "2", "--database-url", &database],
    ] {
        let words = [words, &run].concat();
        let (code, report, said) = bench(&node.url(), &words).await;
        assert_eq!((code, &report["errors"]["count"]), (Some(0), &0.into()), "{words:?}: {said}");
        assert!(report["offered"].as_u64() >= Some(49) && report["delivered"].as_u64() > Some(0), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_record_fail_the_run_and_say_what_to_do() {
    let node = Node::start(Kind::Memory).await;
    let run = ["get", "--keys", "5", "--duration", "300ms", "--warm-up", "0ms"];
    let (code, report, said) = bench(&node.url(), &run).await;
    assert_eq!(code, Some(1));
    assert!(report["errors"]["count"].as_u64() > Some(0) && said.contains("--fill"), "{said}");
    let (code, _, said) = bench("ws://127.0.0.1:9/v1/ws", &run).await;
    assert_eq!(code, Some(69), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_is_none_is_refused_by_its_options_name() {
    for option in ["--rate", "--probe"] {
        for rate in ["0", "-1", "nan", "inf", "many"] {
            let (code, _, said) = bench("ws://127.0.0.1:9/v1/ws", &["fan-out", option, rate]).await;
            assert!(code == Some(2) && said.contains(option) && said.contains("above 0"), "{option} {rate}: {said}");
        }
    }
    for scenario in ["get", "latency"] {
        let (code, _, said) = bench("ws://127.0.0.1:9/v1/ws", &[scenario, "--rate", "0"]).await;
        assert!(code == Some(2) && said.contains("--rate"), "{scenario}: {said}");
    }
}
