//! The Rust client, driven by lines of JSON: what the scenarios of `tests/js/client` use to hold it to `docs/client.md`.
//!
//! A line on stdin is a command, `{"id":1,"do":"get","client":"c1","collection":"products","key":"A"}`; a line on stdout
//! is its answer, `{"id":1,"ok":...}` or `{"id":1,"error":...}`, or an event.

use std::{collections::HashMap, error::Error as StdError, sync::Arc, time::Duration};

use freshet_client::{Client, Error, Event, Members, Options, Patch, Stamp, Status, WriteOptions};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::{runtime::Runtime, task::AbortHandle};

/// One line: what to do, and with what. Each operation takes what it needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Command {
    id: u64,
    r#do: String,
    client: String,
    url: String,
    options: Times,
    watch: String,
    collection: String,
    key: String,
    keys: Vec<String>,
    value: Option<Box<RawValue>>,
    merge: Option<Box<RawValue>>,
    increment: Option<HashMap<String, serde_json::Number>>,
    if_stamp: Option<String>,
    idempotency_key: Option<String>,
    returns: bool,
}

/// The options of a client, in milliseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Times {
    backoff_base_ms: Option<u64>,
    backoff_cap_ms: Option<u64>,
    connect_timeout_ms: Option<u64>,
    request_timeout_ms: Option<u64>,
    heartbeat_ms: Option<u64>,
    heartbeat_timeout_ms: Option<u64>,
}

/// The clients and watches by the names that they were given.
#[derive(Debug, Default)]
struct Held {
    clients: Mutex<HashMap<String, Client>>,
    watches: Mutex<HashMap<String, AbortHandle>>,
}

fn main() -> Result<(), Box<dyn StdError>> {
    let runtime = Runtime::new()?;
    let _entered = runtime.enter();
    let held = Arc::new(Held::default());
    for line in std::io::stdin().lines() {
        let command: Command = serde_json::from_str(&line?)?;
        // Taken here, in the order of the lines; what the client is asked then runs beside the rest.
        let client = held.clients.lock().get(&command.client).cloned();
        let held = held.clone();
        tokio::spawn(async move {
            let id = command.id;
            match held.run(client, command).await {
                Ok(ok) => say(&json!({"id": id, "ok": ok})),
                Err(error) => say(&json!({"id": id, "error": explained(&error)})),
            }
        });
    }
    Ok(())
}

impl Held {
    async fn run(&self, client: Option<Client>, command: Command) -> Result<Value, Error> {
        let Some(client) = client else {
            return self.open(command).await;
        };
        let if_stamp: Option<Stamp> = command.if_stamp.as_deref().and_then(|stamp| stamp.parse().ok());
        let write = WriteOptions::new().if_stamp(if_stamp).returns_value(command.returns);
        let write = match &command.idempotency_key {
            Some(key) => write.idempotency_key(key),
            None => write,
        };
        let (collection, key) = (&*command.collection, &*command.key);
        match &*command.r#do {
            "get" => client.get(collection, key).await.map(|record| json!(record)),
            "getMany" => client.get_many(collection, &command.keys).await.map(|records| json!(records)),
            "freshness" => client
                .freshness(collection, &command.keys)
                .await
                .map(|proven| json!({"isFresh": proven.fresh, "ageMs": proven.age_ms, "keys": proven.keys})),
            "put" => {
                let value = command.value.as_deref().map_or("null", RawValue::get);
                client.put(collection, key, value, write).await.map(|written| json!(written))
            }
            "patch" => client.patch(collection, key, &patch(&command), write).await.map(|written| json!(written)),
            "delete" => client.delete(collection, key, write).await.map(|written| json!(written)),
            "watch" => {
                let watching = tokio::spawn(watch(client, command.watch.clone(), command.collection, command.keys));
                self.watches.lock().insert(command.watch, watching.abort_handle());
                Ok(Value::Null)
            }
            "unwatch" => {
                self.watches.lock().remove(&command.watch).iter().for_each(AbortHandle::abort);
                Ok(Value::Null)
            }
            "close" => {
                client.close().await;
                Ok(Value::Null)
            }
            other => panic!("there is no operation {other:?}"),
        }
    }

    async fn open(&self, command: Command) -> Result<Value, Error> {
        let client = Client::connect(&command.url, options(&command.options)).await?;
        let mut status = client.status();
        let name = command.client.clone();
        tokio::spawn(async move {
            loop {
                let state = state(&status.borrow_and_update());
                say(&json!({"event": "state", "client": name, "state": state}));
                if status.changed().await.is_err() {
                    return;
                }
            }
        });
        self.clients.lock().insert(command.client, client);
        Ok(Value::Null)
    }
}

async fn watch(client: Client, name: String, collection: String, keys: Vec<String>) {
    let refused = |error: &Error| say(&json!({"event": "refused", "watch": name, "error": explained(error)}));
    let mut subscription = match client.subscribe(&collection, &keys, []).await {
        Ok(subscription) => subscription,
        Err(error) => return refused(&error),
    };
    while let Some(event) = subscription.event().await {
        match event {
            Event::State(record) => say(&json!({"event": "record", "watch": name, "record": record})),
            Event::Freshness { key, freshness } => {
                let (is_fresh, age) = (freshness.is_fresh(), freshness.age().map(|age| age.as_millis()));
                say(&json!({"event": "freshness", "watch": name, "key": key, "isFresh": is_fresh, "ageMs": age}));
            }
            _ => {}
        }
    }
    refused(&subscription.refusal().map_or(Error::Disconnected, Error::Rpc));
}

/// Sets an option.
type Set = fn(Options, Duration) -> Options;

fn options(times: &Times) -> Options {
    let given: [(Option<u64>, Set); 6] = [
        (times.backoff_base_ms, Options::backoff_base),
        (times.backoff_cap_ms, Options::backoff_limit),
        (times.connect_timeout_ms, Options::connect_timeout),
        (times.request_timeout_ms, Options::request_timeout),
        (times.heartbeat_ms, Options::heartbeat),
        (times.heartbeat_timeout_ms, Options::heartbeat_timeout),
    ];
    let set = |options, (ms, set): (Option<u64>, Set)| match ms {
        Some(ms) => set(options, Duration::from_millis(ms)),
        None => options,
    };
    given.into_iter().fold(Options::new(), set)
}

fn patch(command: &Command) -> Patch {
    let merge = command.merge.as_deref().map_or("{}", RawValue::get);
    let amount = |(column, amount): (&String, &serde_json::Number)| {
        (column.clone(), amount.to_string().parse().expect("a JSON number is a decimal"))
    };
    Patch {
        merge: Members::parse(merge).expect("the scenario merges an object"),
        increment: command.increment.iter().flatten().map(amount).collect(),
    }
}

fn state(status: &Status) -> Value {
    match status {
        Status::Connected => json!({"status": "open"}),
        Status::Draining(wait) => json!({"status": "open", "reconnectInMs": wait.as_millis()}),
        Status::Reconnecting { reason, wait } => {
            json!({"status": "waiting", "retryInMs": wait.as_millis(), "reason": reason})
        }
        other => json!({"status": "closed", "reason": format!("{other:?}")}),
    }
}

fn explained(error: &Error) -> Value {
    let (code, reason) = match error {
        Error::Rpc(refusal) => {
            return json!({"code": refusal.code, "reason": refusal.reason, "data": refusal.data});
        }
        Error::Timeout => (-32_011, "deadline"),
        Error::OutcomeUnknown => (-32_012, "outcome_unknown"),
        Error::Disconnected => (0, "closed"),
        _ => (0, "other"),
    };
    json!({"code": code, "reason": reason, "data": {}, "message": error.to_string()})
}

fn say(message: &Value) {
    println!("{message}");
}
