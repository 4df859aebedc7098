//! Messages from the server, sorted.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Error, Record, Refusal};

/// One message from the server.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// An answer to the request of that id.
    Answer(u64, Result<Box<RawValue>, Error>),
    /// A state for the subscription of that server-side id.
    State(String, Box<Record>),
    /// Subscriptions are fresh, or no longer.
    Freshness(Told),
    /// The node asks us to come back, that long from now.
    Drain(Duration),
    /// A notification this version does not know, or an answer without a usable id.
    Other,
}

/// What the server says of the freshness of subscriptions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Told {
    /// Whether they are fresh.
    pub fresh: bool,
    /// For how many milliseconds changes may be missing.
    pub age_ms: u64,
    /// The server-side ids of the subscriptions meant.
    pub subscriptions: Vec<String>,
    /// Where not all keys of a subscription are meant: those that are, by its id.
    #[serde(default)]
    pub keys: HashMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Pushed {
    subscription: String,
    result: Record,
}

#[derive(Deserialize)]
struct Drain {
    reconnect_in_ms: u64,
}

/// Reads `text`.
///
/// # Errors
/// The parser's message when the server breaks the protocol.
pub(super) fn read(text: &str) -> Result<Incoming, serde_json::Error> {
    let wire: Wire<'_> = serde_json::from_str(text)?;
    match (wire.id, wire.method.as_deref()) {
        (Some(id), None) => answer(wire.result, wire.error).map(|answer| Incoming::Answer(id, answer)),
        (None, Some("freshet_subscription")) => {
            let pushed: Pushed = params(wire.params)?;
            Ok(Incoming::State(pushed.subscription, Box::new(pushed.result)))
        }
        (None, Some("freshet_freshness")) => Ok(Incoming::Freshness(params(wire.params)?)),
        (None, Some("freshet_drain")) => {
            let drain: Drain = params(wire.params)?;
            Ok(Incoming::Drain(Duration::from_millis(drain.reconnect_in_ms)))
        }
        _ => Ok(Incoming::Other),
    }
}

fn answer(
    result: Option<&RawValue>,
    error: Option<&RawValue>,
) -> Result<Result<Box<RawValue>, Error>, serde_json::Error> {
    Ok(match error {
        Some(error) => Err(Refusal::read(error.get())?.into()),
        None => Ok(result.unwrap_or(RawValue::NULL).to_owned()),
    })
}

fn params<'a, T: Deserialize<'a>>(params: Option<&'a RawValue>) -> Result<T, serde_json::Error> {
    serde_json::from_str(params.unwrap_or(RawValue::NULL).get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sorted() {
        let read = |text: &str| read(text).expect(text);
        assert!(
            matches!(read(r#"{"jsonrpc":"2.0","id":3,"result":true}"#), Incoming::Answer(3, Ok(raw)) if raw.get() == "true")
        );
        let refused = read(r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32009,"message":"busy"}}"#);
        assert!(matches!(refused, Incoming::Answer(3, Err(Error::Rpc(refusal))) if refusal.code == -32_009));
        let told = r#"{"jsonrpc":"2.0","method":"freshet_freshness","params":{"fresh":false,"age_ms":3120,"subscriptions":["s1","s4"],"keys":{"s4":["a"]}}}"#;
        assert!(matches!(read(told), Incoming::Freshness(told) if !told.fresh && told.keys["s4"] == ["a"]));
        let drain = read(r#"{"jsonrpc":"2.0","method":"freshet_drain","params":{"reconnect_in_ms":40}}"#);
        assert!(matches!(drain, Incoming::Drain(wait) if wait == Duration::from_millis(40)));
        assert!(matches!(read(r#"{"jsonrpc":"2.0","method":"freshet_news","params":{}}"#), Incoming::Other));
        assert!(matches!(
            read(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#),
            Incoming::Other
        ));
        assert!(super::read("[").is_err());
    }
}
