//! `freshet load products products.jsonl.gz`

use std::{
    collections::HashSet,
    future::Future,
    io::IsTerminal,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Error, Output, ServerArgs,
    lines::{Line, Lines},
    pretty::harmless,
};
use crate::{
    client::{self, Client, WriteOptions},
    protocol::json,
    record::patch::Members,
    resilience::{Backoff, Deadline},
};

/// How many bad lines are shown; further ones are only counted.
const SHOWN_MAX: u64 = 20;

/// What to load.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The collection.
    collection: String,
    /// A file of JSON objects, one a line, plain or gzip; `-` reads stdin.
    file: String,
    /// The member that holds the key; unless given, the first one of the first line.
    #[arg(long, value_name = "MEMBER")]
    key_column: Option<String>,
    /// How many writes are on their way at once.
    #[arg(long, default_value = "256")]
    in_flight: NonZeroUsize,
    /// How long to go on trying to write a line while the server is busy or away.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    patience: Duration,
}

/// Puts each line's object under its key. Lines of the same key are written in their order. A write whose outcome is
/// unknown is repeated: a whole row put twice is the same row, but for what another writer did in between.
///
/// # Errors
/// [`Error::Lines`] when any line failed; each was reported with its number. A server that stays away ends the load.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let mut lines = Lines::open(&args.file)?;
    let client = server.connect().await?;
    let mut load = Load::new(args, &lines);
    let ended = load.write_all(&client, &mut lines).await;
    client.close().await;
    load.bar.finish_and_clear();
    let summary = load.summary();
    output.summary(&summary, &summary.text())?;
    ended?;
    match load.failed {
        0 => Ok(()),
        failed => Err(Error::Lines { failed, total: failed + load.loaded }),
    }
}

/// A load under way.
struct Load {
    args: Args,
    began: Instant,
    bar: ProgressBar,
    loaded: u64,
    failed: u64,
    /// The keys of the writes under way: another write to one of them waits.
    busy: HashSet<String>,
}

/// A line understood.
struct Row {
    number: u64,
    key: String,
    value: String,
}

/// What became of a row.
type Done = (u64, String, Result<(), client::Error>);

impl Load {
    fn new(args: Args, lines: &Lines) -> Self {
        let bar = bar(lines.total_bytes);
        Load { args, began: Instant::now(), bar, loaded: 0, failed: 0, busy: HashSet::new() }
    }

    async fn write_all(&mut self, client: &Client, lines: &mut Lines) -> Result<(), Error> {
        let mut writes = FuturesUnordered::new();
        let mut held: Option<Row> = None;
        let mut more = true;
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        let mut ended = Ok(());
        loop {
            if let Some(row) = held.take_if(|row| !self.busy.contains(&row.key)) {
                writes.push(self.write(client, row));
            }
            let room = writes.len() < self.args.in_flight.get();
            tokio::select! {
                line = lines.next(), if more && room && held.is_none() => match line {
                    Ok(Some(line)) => held = self.row(line),
                    Ok(None) => more = false,
                    Err(error) => (more, ended) = (false, Err(error)),
                },
                Some(done) = writes.next() => if let Err(error) = self.done(done, lines) {
                    (more, held, ended) = (false, None, Err(error));
                },
                _ = &mut interrupted, if more => {
                    (more, held, ended) = (false, None, Err(Error::Ended("interrupted".into())));
                }
                else => return ended,
            }
        }
    }

    /// Understands `line`, or reports it.
    fn row(&mut self, line: Line) -> Option<Row> {
        let number = line.number;
        match line.text.and_then(|text| Ok((self.key(&text)?, text))) {
            Ok((key, value)) => Some(Row { number, key, value }),
            Err(problem) => {
                self.bad(number, &problem);
                None
            }
        }
    }

    fn key(&mut self, text: &str) -> Result<String, String> {
        let members = Members::parse(text).map_err(|error| format!("no JSON object: {error}"))?;
        if self.args.key_column.is_none() {
            let first = members.iter().next().map(|(name, _)| name.to_owned()).ok_or("an empty object")?;
            self.bar.suspend(|| eprintln!("freshet: taking {first:?} for the key; --key-column names another"));
            self.args.key_column = Some(first);
        }
        let column = self.args.key_column.as_deref().unwrap_or_default();
        let raw = members.get(column).ok_or_else(|| format!("no member {column:?}"))?;
        key_text(raw).ok_or_else(|| format!("{column:?} is neither a string nor an integer"))
    }

    fn write(&mut self, client: &Client, row: Row) -> impl Future<Output = Done> + use<> {
        self.busy.insert(row.key.clone());
        let (client, collection) = (client.clone(), self.args.collection.clone());
        let patience = Deadline::after(self.args.patience);
        async move {
            let written = put(&client, &collection, &row, patience).await;
            (row.number, row.key, written)
        }
    }

    /// Counts a finished write. `Err` when the server is gone, so that there is no use in going on.
    fn done(&mut self, (number, key, written): Done, lines: &Lines) -> Result<(), Error> {
        self.busy.remove(&key);
        self.bar.set_position(lines.read_bytes());
        match written {
            Ok(()) => self.loaded += 1,
            Err(error) => {
                self.bad(number, &format!("{key:?}: {error}"));
                if matches!(error, client::Error::Disconnected | client::Error::Timeout) {
                    return Err(error.into());
                }
            }
        }
        self.bar.set_message(format!("{} loaded, {} failed", self.loaded, self.failed));
        Ok(())
    }

    fn bad(&mut self, number: u64, problem: &str) {
        self.failed += 1;
        let problem = harmless(problem);
        self.bar.suspend(|| match self.failed {
            ..=SHOWN_MAX => eprintln!("freshet: line {number}: {problem}"),
            failed if failed == SHOWN_MAX + 1 => eprintln!("freshet: further bad lines are only counted"),
            _ => {}
        });
    }

    fn summary(&self) -> Summary {
        let seconds = self.began.elapsed().as_secs_f64();
        Summary { collection: self.args.collection.clone(), loaded: self.loaded, failed: self.failed, seconds }
    }
}

/// The key a member's JSON text stands for.
fn key_text(raw: &str) -> Option<String> {
    let digits = raw.strip_prefix('-').unwrap_or(raw);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(raw.to_owned());
    }
    let raw: &RawValue = serde_json::from_str(raw).ok()?;
    json::text(raw).map(|text| text.into_owned())
}

/// Puts `row`, again while that may help and `patience` lasts.
async fn put(client: &Client, collection: &str, row: &Row, patience: Deadline) -> Result<(), client::Error> {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        let error = match client.put(collection, &row.key, &row.value, WriteOptions::default()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let again = error.is_retryable() || matches!(error, client::Error::OutcomeUnknown);
        let asked = error.refusal().and_then(|refusal| refusal.retry_after);
        let wait = asked.unwrap_or_default().max(backoff.next_wait());
        if !again || wait >= patience.left() {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    collection: String,
    loaded: u64,
    failed: u64,
    seconds: f64,
}

impl Summary {
    fn text(&self) -> String {
        let Summary { collection, loaded, failed, seconds } = self;
        let rate = *loaded as f64 / seconds.max(1e-3);
        format!("loaded {loaded} records into {collection} in {seconds:.1} s ({rate:.0}/s), {failed} lines failed")
    }
}

/// A bar on stderr if that is a terminal.
fn bar(total_bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total_bytes {
        Some(total) => (ProgressBar::new(total), "{elapsed} [{bar:30}] {percent}% {msg}, {eta} left"),
        None => (ProgressBar::no_length(), "{elapsed} {spinner} {bytes} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::json;

    use super::*;
    use crate::{
        cli::{Format, output::tests::Printed},
        client::tests::Server,
    };

    fn args(file: &tempfile::NamedTempFile, key_column: Option<&str>) -> Args {
        Args {
            collection: "products".into(),
            file: file.path().to_str().expect("a path of text").into(),
            key_column: key_column.map(str::to_owned),
            in_flight: NonZeroUsize::new(4).expect("not zero"),
            patience: Duration::from_secs(5),
        }
    }

    fn file(lines: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(lines.as_bytes()).expect("written");
        file
    }

    /// Answers each `put` by what `answer` makes of its key: an error's code, or none.
    async fn serve(node: &Server, mut answer: impl FnMut(&str) -> Option<i32>) -> Vec<String> {
        let mut peer = node.accept().await;
        let mut put = Vec::new();
        while let Some((id, _, params)) = peer.request().await {
            let key = params["key"].as_str().expect("a key").to_owned();
            match answer(&key) {
                Some(code) => peer.refuse(id, code, json!({"reason": "no", "retry_after_ms": 1})).await,
                None => peer.answer(id, json!({"key": key, "version": 1, "stamp": "1.1"})).await,
            }
            put.push(format!("{key}={}", params["value"]));
        }
        put
    }

    #[tokio::test]
    async fn bad_lines_are_counted_and_the_rest_is_loaded() {
        let (node, url) = Server::start().await;
        let file = file("{\"sku\":\"a\"}\nnope\n{\"sku\":true}\n{\"x\":1}\n\n{\"sku\":7}\n{\"sku\":\"refused\"}\n");
        let (mut output, printed) = Printed::output(Format::Human);
        let server = ServerArgs::at(url);
        let load = run(args(&file, None), &server, &mut output);
        let (done, put) = tokio::join!(load, serve(&node, |key| (key == "refused").then_some(-32005)));
        let error = done.expect_err("bad lines");
        assert!(matches!(error, Error::Lines { failed: 4, total: 6 }), "{error:?}");
        assert_eq!(error.exit_code(), 1);
        assert_eq!(put, [r#"a={"sku":"a"}"#, r#"7={"sku":7}"#, r#"refused={"sku":"refused"}"#]);
        assert!(printed.text().starts_with("loaded 2 records into products in "), "{}", printed.text());
    }

    #[tokio::test]
    async fn a_busy_server_is_asked_again() {
        let (node, url) = Server::start().await;
        let file = file("{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
        let (mut output, printed) = Printed::output(Format::Json);
        let mut refusals = 5;
        let busy = |_: &str| {
            refusals -= 1;
            (refusals >= 0).then_some(-32009)
        };
        let server = ServerArgs::at(url);
        let (done, put) = tokio::join!(run(args(&file, Some("id")), &server, &mut output), serve(&node, busy));
        done.expect("all loaded");
        assert_eq!(put.len(), 8);
        assert!(printed.text().starts_with(r#"{"collection":"products","loaded":3,"failed":0,"#), "{}", printed.text());
    }

    #[tokio::test]
    async fn lines_of_one_key_keep_their_order_even_when_refused_once() {
        let (node, url) = Server::start().await;
        let file = file(&(0..20).map(|n| format!("{{\"id\":\"a\",\"n\":{n}}}\n")).collect::<String>());
        let (mut output, _printed) = Printed::output(Format::Json);
        let mut turn = 0;
        let every_other = |_: &str| {
            turn += 1;
            (turn % 2 == 1).then_some(-32009)
        };
        let server = ServerArgs::at(url);
        let (done, put) = tokio::join!(run(args(&file, Some("id")), &server, &mut output), serve(&node, every_other));
        done.expect("all loaded");
        let expected: Vec<_> = (0..40).map(|at| format!("a={{\"id\":\"a\",\"n\":{}}}", at / 2)).collect();
        assert_eq!(put, expected);
    }
}
