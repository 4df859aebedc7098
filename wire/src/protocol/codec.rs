//! Answers and notifications, written into a buffer that the caller reuses. Nothing here allocates but the
//! buffer's own growth, and a record's bytes are copied as they are.

use std::time::Duration;

use super::{RpcError, json};
use crate::record::{Stamp, State};

pub use super::frame::{frame_header, text_frame};

/// More than a record object's members before its value take, the key apart.
pub const RECORD_HEAD_BYTES_MAX: usize = 96;

/// More than what [`result`] writes around a result takes, the id apart.
pub const RESULT_HEAD_BYTES_MAX: usize = 64;

/// Writes the record object: `key`, `version`, `stamp`, `value` (`null` for an absent one), and `stale_ms` and
/// `reset` when they say something: how old the state may be where it is not proven to be fresh, and that history was lost.
pub fn record(out: &mut Vec<u8>, key: &str, state: &State, stale: Option<Duration>, reset: bool) {
    record_head(out, key, state);
    record_tail(out, stale, reset);
}

/// Writes the record object up to and with its value, which is the part that is the same for everyone.
pub fn record_head(out: &mut Vec<u8>, key: &str, state: &State) {
    identity(out, key, state.stamp);
    out.extend_from_slice(b",\"value\":");
    out.extend_from_slice(state.value.as_deref().unwrap_or(b"null"));
}

/// Writes what follows [`record_head`].
pub fn record_tail(out: &mut Vec<u8>, stale: Option<Duration>, reset: bool) {
    if let Some(millis) = stale.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)) {
        out.extend_from_slice(b",\"stale_ms\":");
        json::integer(out, millis);
    }
    if reset {
        out.extend_from_slice(b",\"reset\":true");
    }
    out.push(b'}');
}

/// Writes the answer of a `put`, `patch` or `delete`, with the record's new value if asked for.
pub fn written(out: &mut Vec<u8>, key: &str, stamp: Stamp, value: Option<&[u8]>) {
    identity(out, key, stamp);
    if let Some(value) = value {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(value);
    }
    out.push(b'}');
}

fn identity(out: &mut Vec<u8>, key: &str, stamp: Stamp) {
    out.extend_from_slice(b"{\"key\":");
    json::string(out, key);
    out.extend_from_slice(b",\"version\":");
    json::integer(out, stamp.version);
    out.extend_from_slice(b",\"stamp\":");
    self::stamp(out, stamp);
}

/// Writes a stamp as the JSON string clients send back.
pub fn stamp(out: &mut Vec<u8>, stamp: Stamp) {
    out.push(b'"');
    json::integer(out, u64::from(stamp.generation));
    out.push(b'.');
    json::integer(out, stamp.version);
    out.push(b'"');
}

/// Writes `{"records":[..]}` with what `write` makes of each of `items`.
pub fn records<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, write: impl FnMut(&mut Vec<u8>, T)) {
    page(out, items, None, write);
}

/// [`records`], and where the list goes on: `{"records":[..],"cursor":".."}`.
pub fn page<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    cursor: Option<&str>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.extend_from_slice(b"{\"records\":[");
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
    if let Some(cursor) = cursor {
        out.extend_from_slice(b",\"cursor\":");
        json::string(out, cursor);
    }
    out.push(b'}');
}

/// Writes an answer around what `result` writes. `id` is JSON text.
pub fn result<R>(out: &mut Vec<u8>, id: &str, result: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(b",\"result\":");
    let written = result(out);
    out.push(b'}');
    written
}

/// Writes an error answer. `id` is JSON text; `None` is written as `null`.
pub fn error(out: &mut Vec<u8>, id: Option<&str>, error: &RpcError) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.unwrap_or("null").as_bytes());
    out.extend_from_slice(b",\"error\":");
    error.write(out);
    out.push(b'}');
}

/// Writes the notification of a state to one subscription. `record` is a record object.
pub fn notification(out: &mut Vec<u8>, subscription: u64, record: &[u8]) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"freshet_subscription\",\"params\":{\"subscription\":");
    self::subscription(out, subscription);
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(record);
    out.extend_from_slice(b"}}");
}

/// Writes a subscription's id, as the JSON string that its client sends back.
pub fn subscription(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(b"\"s");
    json::integer(out, number);
    out.push(b'"');
}

/// A subscription of which a notification of freshness tells.
#[derive(Clone, Debug)]
pub struct Told<'a> {
    /// The subscription's number.
    pub subscription: u64,
    /// Which of its keys are meant; all where none is named.
    pub keys: Vec<&'a str>,
}

/// Writes the notification that subscriptions, or some keys of them, are fresh, or no longer: what the client has of them is
/// proven up to `age` ago.
pub fn freshness(out: &mut Vec<u8>, is_fresh: bool, age: Duration, told: &[Told<'_>]) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"freshet_freshness\",\"params\":{");
    proven(out, is_fresh, age);
    out.extend_from_slice(b",\"subscriptions\":");
    list(out, told, |out, told| subscription(out, told.subscription));
    if told.iter().any(|told| !told.keys.is_empty()) {
        out.extend_from_slice(b",\"keys\":{");
        for (at, told) in told.iter().filter(|told| !told.keys.is_empty()).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            subscription(out, told.subscription);
            out.push(b':');
            list(out, &told.keys, |out, key| json::string(out, key));
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
}

/// Writes how far the state of `keys` is proven, as an object; `keys` are left out where there are none.
pub fn freshness_of(out: &mut Vec<u8>, is_fresh: bool, age: Duration, keys: &[&str]) {
    out.push(b'{');
    proven(out, is_fresh, age);
    if !keys.is_empty() {
        out.extend_from_slice(b",\"keys\":");
        list(out, keys, |out, key| json::string(out, key));
    }
    out.push(b'}');
}

fn proven(out: &mut Vec<u8>, is_fresh: bool, age: Duration) {
    out.extend_from_slice(if is_fresh { b"\"fresh\":true,\"age_ms\":" } else { b"\"fresh\":false,\"age_ms\":" });
    json::integer(out, u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
}

fn list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Writes the notification that asks a client to come back, in `reconnect_in_ms`, to another node.
pub fn drain(out: &mut Vec<u8>, reconnect_in_ms: u64) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"method\":\"freshet_drain\",\"params\":{\"reconnect_in_ms\":");
    json::integer(out, reconnect_in_ms);
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::protocol::Code;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    fn state(version: u64, value: &'static str) -> State {
        State { stamp: Stamp::new(1, version), value: Some(Bytes::from_static(value.as_bytes())) }
    }

    #[test]
    fn an_answer_is_what_the_protocol_shows() {
        let answer = text(|out| {
            result(out, "7", |out| record(out, "85123A", &state(17, r#"{"price":2.50}"#), None, false));
        });
        assert_eq!(
            answer,
            r#"{"jsonrpc":"2.0","id":7,"result":{"key":"85123A","version":17,"stamp":"1.17","value":{"price":2.50}}}"#
        );
    }

    #[test]
    fn absence_staleness_and_reset_are_said() {
        let absent = State::absent(Stamp::new(2, 9));
        assert_eq!(
            text(|out| record(out, "a\"b", &absent, Some(Duration::from_millis(1_500)), true)),
            r#"{"key":"a\"b","version":9,"stamp":"2.9","value":null,"stale_ms":1500,"reset":true}"#
        );
    }

    #[test]
    fn a_notification_is_what_the_protocol_shows() {
        let mut body = Vec::new();
        record(&mut body, "85123A", &state(18, "{}"), None, false);
        let pushed = text(|out| notification(out, 1, &body));
        let expected = r#"{"jsonrpc":"2.0","method":"freshet_subscription","params":{"subscription":"s1","result":{"key":"85123A","version":18,"stamp":"1.18","value":{}}}}"#;
        assert_eq!(pushed, expected);
        let drained = text(|out| drain(out, 750));
        assert_eq!(drained, r#"{"jsonrpc":"2.0","method":"freshet_drain","params":{"reconnect_in_ms":750}}"#);
    }

    #[test]
    fn freshness_names_subscriptions_and_keys_where_not_all_are_meant() {
        let age = Duration::from_millis(3_120);
        let whole = [1, 4].map(|subscription| Told { subscription, keys: vec![] });
        assert_eq!(
            text(|out| freshness(out, false, age, &whole)),
            r#"{"jsonrpc":"2.0","method":"freshet_freshness","params":{"fresh":false,"age_ms":3120,"subscriptions":["s1","s4"]}}"#
        );
        let part = [Told { subscription: 1, keys: vec![] }, Told { subscription: 4, keys: vec!["a", "b\""] }];
        assert_eq!(
            text(|out| freshness(out, true, Duration::ZERO, &part)),
            r#"{"jsonrpc":"2.0","method":"freshet_freshness","params":{"fresh":true,"age_ms":0,"subscriptions":["s1","s4"],"keys":{"s4":["a","b\""]}}}"#
        );
        assert_eq!(text(|out| freshness_of(out, false, age, &["a"])), r#"{"fresh":false,"age_ms":3120,"keys":["a"]}"#);
        assert_eq!(text(|out| freshness_of(out, true, age, &[])), r#"{"fresh":true,"age_ms":3120}"#);
    }

    #[test]
    fn writes_are_answered_with_their_stamp_and_the_value_if_asked() {
        let stamp = Stamp::new(1, 18);
        assert_eq!(text(|out| written(out, "a", stamp, None)), r#"{"key":"a","version":18,"stamp":"1.18"}"#);
        assert_eq!(
            text(|out| written(out, "a", stamp, Some(b"{}"))),
            r#"{"key":"a","version":18,"stamp":"1.18","value":{}}"#
        );
    }

    #[test]
    fn an_error_without_an_id_is_answered_with_null() {
        let answer = text(|out| error(out, None, &RpcError::new(Code::ParseError, "no")));
        let expected =
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no","data":{"reason":"parse_error"}}}"#;
        assert_eq!(answer, expected);
    }

    proptest! {
        #[test]
        fn lists_of_records_are_json_whatever_the_keys(keys in prop::collection::vec(any::<String>(), 0..4)) {
            let list = text(|out| records(out, &keys, |out, key| record(out, key, &state(1, "{}"), None, false)));
            let list: Value = serde_json::from_str(&list).expect("JSON");
            let read: Vec<_> = list["records"].as_array().expect("a list").iter().map(|r| r["key"].as_str()).collect();
            prop_assert_eq!(read, keys.iter().map(|key| Some(key.as_str())).collect::<Vec<_>>());
        }
    }
}
