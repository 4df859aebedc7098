//! A proxy of WebSocket messages that lies: what it does to them a faulty server or cache could do.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async, connect_async, tungstenite::Message};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Node;

/// One lie. Each begins with the first occasion and goes on for all later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// None: every message is passed on.
    Nothing,
    /// Two pushes that follow each other for one key of a connection change places.
    ReorderPushes,
    /// Every tenth push is sent twice.
    RepeatPushes,
    /// After so many pushes, a connection gets no more.
    DropPushesAfter(u64),
    /// `get` is answered with the first state of the key that any answer showed.
    AnswerOldStates,
    /// Every twentieth `put` is answered by the proxy itself, so far above the newest stamp of its key, and does not reach
    /// the node.
    SwallowWrites { ahead: u64 },
    /// After so many pushes, a connection carries nothing any more, and stays open.
    HangAfter(u64),
    /// Answers and pushes that say their age no longer do.
    HideAges,
    /// A subscription begins with the first state of the key that any push showed.
    OldSnapshots,
    /// Every tenth push has the content of the one before, and its own version.
    MixContents,
    /// Every tenth push has a content that nobody wrote.
    InventContents,
    /// A refusal of `put` is turned round: it is passed on, and answered as a refusal.
    DenyWrites,
}

/// A proxy on 127.0.0.1 before a node; gone with this value.
pub struct Tampering {
    address: SocketAddr,
    _stop: DropGuard,
}

/// What one connection, or all of them, remember.
#[derive(Default)]
struct Memory {
    count: AtomicU64,
    /// The first record of each key.
    first: Mutex<HashMap<String, Value>>,
    /// The newest version of each key that was answered or pushed.
    newest: Mutex<HashMap<String, u64>>,
}

impl Tampering {
    /// Passes on to `node` what `lie` leaves as it is.
    pub async fn with(node: &Node, lie: Lie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("an address");
        let (stop, url) = (CancellationToken::new(), node.url());
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, url, lie)));
        Tampering { address, _stop: stop.drop_guard() }
    }

    pub fn url(&self) -> String {
        format!("ws://{}/v1/ws", self.address)
    }
}

async fn accept(listener: TcpListener, url: String, lie: Lie) {
    let memory = Arc::new(Memory::default());
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(carry(stream, url.clone(), lie, memory.clone()));
    }
}

/// Carries one connection until either side ends it.
async fn carry(stream: TcpStream, url: String, lie: Lie, memory: Arc<Memory>) -> Option<()> {
    let mut client = accept_async(stream).await.ok()?;
    let (mut server, _) = connect_async(url).await.ok()?;
    let mut connection =
        Connection { lie, memory, methods: HashMap::new(), pushes: 0, held: HashMap::new(), last: None };
    loop {
        if matches!(lie, Lie::HangAfter(most) if connection.pushes > most) {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            said = client.next() => match said?.ok()? {
                Message::Text(text) => {
                    let request: Value = serde_json::from_str(&text).ok()?;
                    match connection.answers_itself(&request) {
                        Some(answer) => client.send(Message::text(answer.to_string())).await.ok()?,
                        None => server.send(Message::Text(text)).await.ok()?,
                    }
                }
                other => server.send(other).await.ok()?,
            },
            heard = server.next() => match heard?.ok()? {
                Message::Text(text) => {
                    let message: Value = serde_json::from_str(&text).ok()?;
                    for message in connection.tampered(message) {
                        client.send(Message::text(message.to_string())).await.ok()?;
                    }
                }
                other => client.send(other).await.ok()?,
            },
        }
    }
}

fn without_ages(message: &mut Value) {
    match message {
        Value::Object(members) => {
            members.remove("stale_ms");
            members.values_mut().for_each(without_ages);
        }
        Value::Array(values) => values.iter_mut().for_each(without_ages),
        _ => {}
    }
}

struct Connection {
    lie: Lie,
    memory: Arc<Memory>,
    /// The method of each request.
    methods: HashMap<u64, String>,
    pushes: u64,
    /// The push of each key that is held back; of old snapshots, the keys that had one.
    held: HashMap<String, Value>,
    last: Option<Value>,
}

impl Connection {
    /// The answer, where the request shall not reach the node.
    fn answers_itself(&mut self, request: &Value) -> Option<Value> {
        let (id, method) = (request["id"].as_u64()?, request["method"].as_str()?.to_owned());
        let is_put = method == "put" && request["params"].get("if_stamp").is_none();
        self.methods.insert(id, method);
        let Lie::SwallowWrites { ahead } = self.lie else { return None };
        (is_put && self.is_nth(20)).then(|| {
            let key = &request["params"]["key"];
            let newest = self.memory.newest.lock().expect("not poisoned").get(&key.to_string()).copied();
            let version = newest.unwrap_or_default() + ahead;
            json!({"jsonrpc": "2.0", "id": id, "result": {"key": key, "version": version, "stamp": format!("1.{version}")}})
        })
    }

    fn is_nth(&self, nth: u64) -> bool {
        self.memory.count.fetch_add(1, Ordering::Relaxed) % nth == nth - 1
    }

    /// What the client gets in place of `message`.
    fn tampered(&mut self, mut message: Value) -> Vec<Value> {
        self.notes_version(&message);
        if self.lie == Lie::HideAges {
            without_ages(&mut message);
        }
        match message["id"].as_u64() {
            None if message["method"] == "freshet_subscription" => self.tampered_push(message),
            None => vec![message],
            Some(id) => {
                let method = self.methods.remove(&id).unwrap_or_default();
                vec![self.tampered_answer(&method, message)]
            }
        }
    }

    fn notes_version(&self, message: &Value) {
        let record = if message["id"].is_u64() { &message["result"] } else { &message["params"]["result"] };
        if let Some(version) = record["version"].as_u64() {
            let mut newest = self.memory.newest.lock().expect("not poisoned");
            let newest = newest.entry(record["key"].to_string()).or_default();
            *newest = version.max(*newest);
        }
    }

    fn tampered_push(&mut self, push: Value) -> Vec<Value> {
        self.pushes += 1;
        match self.lie {
            Lie::ReorderPushes => self.reordered(push),
            Lie::RepeatPushes if self.is_nth(10) => vec![push.clone(), push],
            Lie::DropPushesAfter(most) if self.pushes > most => vec![],
            Lie::OldSnapshots => vec![self.with_old_snapshot(push)],
            Lie::MixContents => vec![self.mixed(push)],
            Lie::InventContents => vec![self.invented(push)],
            _ => vec![push],
        }
    }

    /// The first state of a key passes, so that the key has one to step back from.
    fn reordered(&mut self, push: Value) -> Vec<Value> {
        let name = format!("{} {}", push["params"]["subscription"], push["params"]["result"]["key"]);
        match self.held.remove(&name) {
            Some(held) => vec![push, held],
            None if self.pushes.is_multiple_of(5) => {
                self.held.insert(name, push);
                vec![]
            }
            None => vec![push],
        }
    }

    fn with_old_snapshot(&mut self, mut push: Value) -> Value {
        let record = &push["params"]["result"];
        let name = format!("{} {}", push["params"]["subscription"], record["key"]);
        let is_snapshot = self.held.insert(name, Value::Null).is_none();
        if record["value"].is_object() {
            let mut first = self.memory.first.lock().expect("not poisoned");
            let first = first.entry(record["key"].to_string()).or_insert_with(|| record.clone()).clone();
            if is_snapshot {
                push["params"]["result"] = first;
            }
        }
        push
    }

    fn mixed(&mut self, mut push: Value) -> Value {
        let own = push["params"]["result"]["value"].clone();
        if !own.is_object() {
            return push;
        }
        if let Some(last) = self.last.replace(own)
            && self.is_nth(10)
        {
            let key = push["params"]["result"]["value"]["sku"].take();
            push["params"]["result"]["value"] = last;
            push["params"]["result"]["value"]["sku"] = key;
        }
        push
    }

    fn invented(&self, mut push: Value) -> Value {
        if push["params"]["result"]["value"].is_object() && self.is_nth(10) {
            push["params"]["result"]["value"]["stock"] = json!(2_000_000_011_u64);
        }
        push
    }

    fn tampered_answer(&self, method: &str, mut answer: Value) -> Value {
        match (self.lie, method) {
            (Lie::AnswerOldStates, "get") if answer["result"]["value"].is_object() => {
                let key = answer["result"]["key"].to_string();
                let mut first = self.memory.first.lock().expect("not poisoned");
                answer["result"] = first.entry(key).or_insert_with(|| answer["result"].clone()).clone();
            }
            (Lie::DenyWrites, "put") if answer["result"]["version"].is_u64() && self.is_nth(20) => {
                let error = json!({"code": -32011, "message": "in time", "data": {"reason": "deadline"}});
                answer = json!({"jsonrpc": "2.0", "id": answer["id"], "error": error});
            }
            _ => {}
        }
        answer
    }
}
