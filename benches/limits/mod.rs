//! Servers that do nothing but move messages: what the machine and the framework allow, measured in the same run.
//!
//! - `echo`: axum's WebSocket as its documentation shows it.
//! - `tuned`: the same with a small read buffer, answers fed and flushed in batches, and a broadcast that keeps the last
//!   64 states for slow watchers, as many as Freshet does at the most.
//! - `bare`: one thread around epoll, without a framework.
//!
//! All know the same three paths: `/v1/ws` answers every message with a fixed text, as long as an answer of Freshet's;
//! `/watch` answers the first message as a subscription is answered, and then receives what is said; each message to
//! `/say` is a patch that adds one to `stock`, answered and told to all watchers.

mod bare;
mod echo;
mod tuned;

/// Serves `name` on `address` until the process is killed.
pub fn serve(name: &str, address: &str) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match name {
        "echo" => runtime().block_on(echo::serve(address)),
        "tuned" => runtime().block_on(tuned::serve(address)),
        "bare" => bare::serve(address),
        _ => panic!("there is no limit server {name:?}"),
    }
}

/// What makes texts as long as Freshet's of the measured records.
const NAME_CHARS: usize = 420;

/// The answer to anything.
fn answer() -> String {
    let name = "x".repeat(NAME_CHARS);
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"result":{{"key":"K00000","version":1000,"stamp":"1.1000","value":{{"sku":"K00000","name":"{name}","currency":"GBP","price":100,"stock":1000000,"attributes":{{}}}}}}}}"#
    )
}

/// The answer to a subscription.
const SUBSCRIBED: &str = r#"{"jsonrpc":"2.0","id":1,"result":"s1"}"#;

/// A state, as a watcher gets it.
fn push(stock: u64) -> String {
    let name = "x".repeat(NAME_CHARS);
    format!(
        r#"{{"jsonrpc":"2.0","method":"freshet_subscription","params":{{"subscription":"s1","result":{{"key":"K00000","version":1000,"stamp":"1.1000","value":{{"sku":"K00000","name":"{name}","currency":"GBP","price":100,"stock":{stock},"attributes":{{}}}}}}}}}}"#
    )
}

/// The answer to a patch.
fn patched(patch: &str) -> String {
    let id = patch.split_once(r#""id":"#).map_or("0", |(_, rest)| rest);
    let id = &id[..id.find(|c: char| !c.is_ascii_digit()).unwrap_or(id.len())];
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"key":"K00000","version":1000,"stamp":"1.1000"}}}}"#)
}
