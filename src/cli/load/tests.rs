//! Loads against a server of a few lines that does exactly what a test tells it to.

use std::{collections::HashSet, fs, path::Path};

use clap::Parser as _;
use serde_json::{Value, json};

use super::*;
use crate::{
    cli::{Format, output::tests::Printed},
    client::testing::Server,
};

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// A folder with a source in it.
struct Source(tempfile::TempDir, &'static str);

impl Source {
    fn new(name: &'static str, text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(name), text).expect("written");
        Source(folder, name)
    }

    fn path(&self) -> String {
        self.0.path().join(self.1).display().to_string()
    }

    fn args(&self, more: &[&str]) -> Args {
        let path = self.path();
        let line = ["load", "products", &path, "--in-flight", "4", "--patience", "2s"];
        Line::try_parse_from(line.iter().chain(more)).expect("a line").args
    }

    fn rejected(&self) -> Vec<Value> {
        let text = fs::read_to_string(format!("{}.products.rejected", self.path())).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn is_unfinished(&self) -> bool {
        Path::new(&format!("{}.products.progress", self.path())).exists()
    }
}

/// What a server was asked to put, with the idempotency keys.
type Puts = Vec<(String, String)>;

/// Answers each `put` by what `answer` makes of its key: an error's code, or none. Goes away when that is 0.
async fn serve(node: &Server, mut answer: impl FnMut(&str) -> Option<i32>) -> Puts {
    let mut peer = node.accept().await;
    let mut put = Vec::new();
    while let Some((id, method, params)) = peer.request().await {
        if method == "describe" {
            let columns = json!([{"name": "sku", "kind": "plain"}, {"name": "n", "kind": "plain"}]);
            let description = json!({"collection": "products", "key_column": "sku", "key_type": "text"});
            let mut description = description.as_object().expect("an object").clone();
            description.insert("columns".into(), columns);
            peer.answer(id, description.into()).await;
            continue;
        }
        let key = params["key"].as_str().expect("a key").to_owned();
        put.push((format!("{key}={}", params["value"]), params["idempotency_key"].to_string()));
        match answer(&key) {
            Some(0) => break,
            Some(code) => peer.refuse(id, code, json!({"reason": "no", "retry_after_ms": 1, "column": "n"})).await,
            None => peer.answer(id, json!({"key": key, "version": 1, "stamp": "1.1"})).await,
        }
    }
    put
}

async fn load(args: Args, answer: impl FnMut(&str) -> Option<i32>) -> (Result<(), Error>, Puts, String) {
    let (node, url) = Server::start().await;
    let (mut output, printed) = Printed::output(Format::Human);
    let server = ServerArgs::at(url);
    let served = async {
        let puts = serve(&node, answer).await;
        drop(node);
        puts
    };
    let (done, puts) = tokio::join!(run(args, &server, &mut output), served);
    (done, puts, printed.text())
}

fn values(puts: &Puts) -> Vec<&str> {
    puts.iter().map(|(value, _)| value.as_str()).collect()
}

#[tokio::test]
async fn bad_rows_are_written_down_and_the_rest_is_loaded() {
    let rows = "{\"sku\":\"a\"}\nnope\n{\"sku\":true}\n{\"x\":1}\n\n{\"sku\":7}\n{\"sku\":\"refused\"}\n";
    let source = Source::new("p.jsonl", rows);
    let (done, puts, printed) = load(source.args(&[]), |key| (key == "refused").then_some(-32005)).await;
    let error = done.expect_err("bad rows");
    assert!(matches!(error, Error::Lines { failed: 4, total: 6 }), "{error:?}");
    assert_eq!(error.exit_code(), 1);
    assert_eq!(values(&puts), [r#"a={"sku":"a"}"#, r#"7={"sku":7}"#, r#"refused={"sku":"refused"}"#]);
    assert!(printed.starts_with("loaded 2 records into products in "), "{printed}");
    let rejected = source.rejected();
    assert_eq!(rejected.iter().map(|row| row["line"].as_u64()).collect::<Vec<_>>(), [2, 3, 4, 7].map(Some));
    assert_eq!((&rejected[3]["column"], &rejected[3]["row"]), (&json!("n"), &json!({"sku": "refused"})));
    assert!(!source.is_unfinished(), "what is done leaves nothing to go on with");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_under_the_same_idempotency_key() {
    let source = Source::new("p.jsonl", "{\"sku\":1}\n{\"sku\":2}\n{\"sku\":3}\n");
    let mut refusals = 5;
    let (done, puts, _) = load(source.args(&[]), |_| {
        refusals -= 1;
        (refusals >= 0).then_some(-32009)
    })
    .await;
    done.expect("all loaded");
    assert_eq!(puts.len(), 8);
    assert_eq!(puts.iter().map(|(_, name)| name).collect::<HashSet<_>>().len(), 3);
}

#[tokio::test]
async fn rows_of_one_key_keep_their_order_even_when_refused_once() {
    let rows = (0..20).map(|n| format!("{{\"sku\":\"a\",\"n\":{n}}}\n")).collect::<Vec<_>>().concat();
    let mut turn = 0;
    let (done, puts, _) = load(Source::new("p.jsonl", &rows).args(&[]), |_| {
        turn += 1;
        (turn % 2 == 1).then_some(-32009)
    })
    .await;
    done.expect("all loaded");
    let expected: Vec<_> = (0..40).map(|at| format!("a={{\"n\":{},\"sku\":\"a\"}}", at / 2)).collect();
    assert_eq!(values(&puts), expected);
}

#[tokio::test]
async fn an_ended_load_goes_on_without_losing_or_renaming_a_row() {
    let rows = (0..40).map(|n| format!("{{\"sku\":\"k{n}\"}}\n")).collect::<Vec<_>>().concat();
    let source = Source::new("p.jsonl", &format!("no row\n{rows}"));
    let mut answered = 0;
    let (done, first, _) = load(source.args(&[]), |_| {
        answered += 1;
        (answered > 20).then_some(0)
    })
    .await;
    let ended = done.expect_err("the server went away");
    assert_eq!(ended.exit_code(), 69, "{ended}");
    assert!(source.is_unfinished());

    let (elsewhere, ..) = load(source.args(&[]), |_| None).await;
    assert!(elsewhere.expect_err("another server").to_string().contains("--resume"));
    let (done, second, printed) = load(source.args(&["--resume"]), |_| None).await;
    assert!(matches!(done, Err(Error::Lines { failed: 1, total: 41 })), "{done:?}");
    assert!(printed.contains(" before, 1 row rejected"), "{printed}");
    assert_eq!(source.rejected().len(), 1);
    let both: HashSet<_> = first.iter().chain(&second).collect();
    assert_eq!(both.len(), 40, "every row under one name");
    assert!(second.len() < 30, "what was settled is passed over: {}", second.len());
    assert!(!source.is_unfinished());
}

#[tokio::test]
async fn csv_is_told_by_its_name_and_its_fields_by_the_collection() {
    let source = Source::new("p.CSV", "sku,n\na,1\nb,\nc\n");
    let (done, puts, _) = load(source.args(&[]), |_| None).await;
    assert!(matches!(done, Err(Error::Lines { failed: 1, total: 3 })), "{done:?}");
    assert_eq!(values(&puts), [r#"a={"n":"1","sku":"a"}"#, r#"b={"n":null,"sku":"b"}"#]);
    assert_eq!(source.rejected()[0]["row"], json!({"sku": "c"}));
}
