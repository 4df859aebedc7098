//! Requests as text, all but the head with its id, which the connection adds when it sends them.

use super::{ReadOptions, WriteOptions};
use freshet_wire::{
    protocol::{Method, codec, json},
    record::{Patch, Stamp},
};

/// A request's params under construction.
pub(super) struct Params(Vec<u8>);

impl Params {
    pub(super) fn empty() -> Self {
        Params(Vec::with_capacity(128))
    }

    pub(super) fn new(collection: &str) -> Self {
        Params::empty().text("collection", collection)
    }

    pub(super) fn text(mut self, name: &str, text: &str) -> Self {
        self.name(name);
        json::string(&mut self.0, text);
        self
    }

    pub(super) fn texts<K: AsRef<str>>(mut self, name: &str, texts: &[K]) -> Self {
        self.name(name);
        self.0.push(b'[');
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            json::string(&mut self.0, text.as_ref());
        }
        self.0.push(b']');
        self
    }

    /// `value` must be JSON text.
    pub(super) fn raw(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    pub(super) fn stamp(mut self, name: &str, stamp: Stamp) -> Self {
        self.name(name);
        match stamp {
            Stamp::ABSENT => self.0.extend_from_slice(b"\"0\""),
            _ => codec::stamp(&mut self.0, stamp),
        }
        self
    }

    pub(super) fn since<'a>(mut self, stamps: impl IntoIterator<Item = (&'a str, Stamp)>) -> Self {
        self.name("since");
        self.0.push(b'{');
        for (at, (key, stamp)) in stamps.into_iter().enumerate() {
            if at > 0 {
                self.0.push(b',');
            }
            json::string(&mut self.0, key);
            self.0.push(b':');
            codec::stamp(&mut self.0, stamp);
        }
        self.0.push(b'}');
        self
    }

    pub(super) fn read_options(self, options: ReadOptions) -> Self {
        let params = options.min_stamp.into_iter().fold(self, |params, stamp| params.stamp("min_stamp", stamp));
        match options.max_stale {
            Some(bound) => params.raw("max_stale_ms", &bound.as_millis().to_string()),
            None => params,
        }
    }

    pub(super) fn write_options(self, options: &WriteOptions) -> Self {
        let params = options.if_stamp.into_iter().fold(self, |params, stamp| params.stamp("if_stamp", stamp));
        match &options.idempotency_key {
            Some(key) => params.text("idempotency_key", key),
            None => params,
        }
    }

    /// What to merge, unless only increments are asked for; and those, their digits exactly.
    pub(super) fn patch(mut self, patch: &Patch) -> Self {
        if !patch.merge.is_empty() || patch.increment.is_empty() {
            self = self.raw("value", &patch.merge.to_text());
        }
        if patch.increment.is_empty() {
            return self;
        }
        self.name("increment");
        for (at, (column, amount)) in patch.increment.iter().enumerate() {
            self.0.push(if at > 0 { b',' } else { b'{' });
            json::string(&mut self.0, column);
            self.0.push(b':');
            self.0.extend_from_slice(amount.to_plain_string().as_bytes());
        }
        self.0.push(b'}');
        self
    }

    /// The request's tail: everything behind its id.
    pub(super) fn method(self, method: Method) -> String {
        let (name, params) = (method.name(), String::from_utf8_lossy(&self.0));
        format!("\"method\":\"{name}\",\"params\":{{{params}}}}}")
    }

    fn name(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        json::string(&mut self.0, name);
        self.0.push(b':');
    }
}

/// The whole request: `tail` as [`Params::method`] makes it, with its id before it.
pub(super) fn with_id(id: u64, tail: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{tail}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use freshet_wire::{
        protocol::{GetParams, Message, PatchParams, SubscribeParams, parse},
        record::patch::{BigDecimal, Members},
    };

    fn params<T>(text: &str, check: impl FnOnce(&freshet_wire::protocol::Request<'_>) -> T) -> T {
        let Ok(Message::One(request)) = parse(text, 1) else { panic!("no request: {text}") };
        check(&request)
    }

    #[test]
    fn requests_are_read_back_by_the_protocol() {
        let options = ReadOptions::new().min_stamp(Stamp::new(1, 7)).max_stale(Duration::from_secs(2));
        let tail = Params::new("c").text("key", "a\"b").read_options(options).method(Method::Get);
        params(&with_id(3, &tail), |request| {
            let get = GetParams::parse(request.params).expect("params");
            assert_eq!((request.id, &*get.key, get.max_stale), (Some("3"), "a\"b", Some(Duration::from_secs(2))));
        });
        let tail =
            Params::new("c").texts("keys", &["a", "b"]).since([("a", Stamp::new(2, 5))]).method(Method::Subscribe);
        params(&with_id(4, &tail), |request| {
            let subscribe = SubscribeParams::parse(request.params).expect("params");
            assert_eq!((subscribe.keys.len(), subscribe.since["a"]), (2, Stamp::new(2, 5)));
        });
    }

    #[test]
    fn patches_keep_their_digits() {
        let amount: BigDecimal = "0.10".parse().expect("a number");
        let patch = Patch::new().merge(Members::parse(r#"{"n":1e5}"#).expect("an object")).increment("price", amount);
        let options = WriteOptions::new().if_stamp(Stamp::ABSENT);
        let tail = Params::new("c").text("key", "a").patch(&patch).write_options(&options).method(Method::Patch);
        params(&with_id(1, &tail), |request| {
            let read = PatchParams::parse(request.params).expect("params");
            assert_eq!((read.patch.merge.to_text(), read.if_stamp), (r#"{"n":1e5}"#.into(), Some(Stamp::ABSENT)));
            assert_eq!(read.patch.increment["price"].to_plain_string(), "0.10");
        });
    }
}
