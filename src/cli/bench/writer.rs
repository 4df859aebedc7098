//! Who changes the records that are watched: this process through the node, or `psql` behind the node's back.
//!
//! Every write adds one to `stock`, so that a pushed state says how many writes it shows, in whatever order they were
//! carried out.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use mio::{Registry, Token};

use super::{
    Error,
    answer::{self, Incoming},
    report::Errors,
    socket::Socket,
    target::Target,
};

/// A source of writes.
pub(super) enum Writer {
    Node(NodeWriter),
    Psql(PsqlWriter),
}

/// Writes through the node.
pub(super) struct NodeWriter {
    socket: Socket,
    collection: String,
}

/// Writes by as many `psql` processes, each statement a transaction.
pub(super) struct PsqlWriter {
    sessions: Vec<Session>,
    answers: mpsc::Receiver<Result<(usize, Instant), String>>,
    collection: String,
    key_column: String,
}

struct Session {
    psql: Child,
    stdin: Option<ChildStdin>,
    /// The numbers of the statements given to it, for the thread that reads its answers.
    given: mpsc::Sender<usize>,
}

impl Writer {
    /// Writes through the node at `target`.
    pub(super) fn node(target: &Target, collection: &str, registry: &Registry, token: Token) -> Result<Self, Error> {
        let mut socket = Socket::open(target)?;
        socket.register(registry, token)?;
        Ok(Writer::Node(NodeWriter { socket, collection: collection.to_owned() }))
    }

    /// Writes by `sessions` processes of `psql`.
    pub(super) fn psql(url: &str, collection: &str, key_column: &str, sessions: usize) -> Result<Self, Error> {
        let (answer, answers) = mpsc::channel();
        let sessions = (0..sessions).map(|_| Session::start(url, &answer)).collect::<Result<_, _>>()?;
        let (collection, key_column) = (collection.to_owned(), key_column.to_owned());
        Ok(Writer::Psql(PsqlWriter { sessions, answers, collection, key_column }))
    }

    /// Starts write `number`.
    pub(super) fn write(&mut self, number: usize, key: &str) -> Result<(), Error> {
        match self {
            Writer::Node(node) => node.write(number, key),
            Writer::Psql(psql) => psql.write(number, key),
        }
    }

    /// Hands the number of each write that was answered to `each`, with the moment where that is known better than now.
    pub(super) fn answers(
        &mut self,
        scratch: &mut Vec<u8>,
        errors: &mut Errors,
        mut each: impl FnMut(usize, Option<Instant>),
    ) -> Result<(), Error> {
        match self {
            Writer::Node(NodeWriter { socket, .. }) => {
                socket.receive(scratch, |text| match answer::read(text) {
                    Some(Incoming::Result { id, .. }) => each(id, None),
                    Some(Incoming::Notification) => {}
                    _ => errors.add(|| format!("a write: {}", answer::refusal(text))),
                })?;
                socket.flush()
            }
            Writer::Psql(psql) => {
                while let Ok(answer) = psql.answers.try_recv() {
                    match answer {
                        Ok((number, at)) => each(number, Some(at)),
                        Err(problem) => errors.add(|| problem),
                    }
                }
                Ok(())
            }
        }
    }
}

impl NodeWriter {
    fn write(&mut self, number: usize, key: &str) -> Result<(), Error> {
        let collection = &self.collection;
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":{number},"method":"patch","params":{{"collection":"{collection}","key":"{key}","increment":{{"stock":1}}}}}}"#
        );
        self.socket.queue(text.as_bytes());
        self.socket.flush()
    }
}

impl PsqlWriter {
    fn write(&mut self, number: usize, key: &str) -> Result<(), Error> {
        let count = self.sessions.len();
        let session = &mut self.sessions[number % count];
        let (table, column) = (quoted(&self.collection, '"'), quoted(&self.key_column, '"'));
        let statement = format!("UPDATE {table} SET stock = stock + 1 WHERE {column} = {};\n", quoted(key, '\''));
        let stdin = session.stdin.as_mut().expect("it is taken at the end only");
        // A reader that has gone is told by the pipe below.
        let _ = session.given.send(number);
        stdin.write_all(statement.as_bytes()).map_err(Error::system("write to psql"))
    }
}

impl Session {
    fn start(url: &str, answer: &mpsc::Sender<Result<(usize, Instant), String>>) -> Result<Self, Error> {
        let mut psql = Command::new("psql")
            .args(["-X", "-v", "ON_ERROR_STOP=1", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::system("start psql, which comes with PostgreSQL's client programs"))?;
        let (given, numbers) = mpsc::channel();
        let lines = BufReader::new(psql.stdout.take().expect("stdout is piped")).lines();
        let answer = answer.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let at = Instant::now();
                let Ok(number) = numbers.try_recv() else { return };
                let said = if line == "UPDATE 1" { Ok((number, at)) } else { Err(format!("psql said {line:?}")) };
                if answer.send(said).is_err() {
                    return;
                }
            }
        });
        let stdin = psql.stdin.take();
        Ok(Session { psql, stdin, given })
    }
}

impl Drop for Session {
    /// psql ends when its input does.
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.psql.wait());
    }
}

/// `name` in quotes as SQL wants them.
fn quoted(name: &str, quote: char) -> String {
    format!("{quote}{}{quote}", name.replace(quote, &format!("{quote}{quote}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_for_sql() {
        assert_eq!([quoted("a\"b", '"'), quoted("it's", '\'')], [r#""a""b""#, "'it''s'"]);
    }
}
