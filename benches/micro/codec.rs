//! Reading a plain `get` and writing its answer, beside serde_json.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use freshet::{
    protocol::{GetParams, Message, PlainGet, codec, parse, plain_get},
    record::{Stamp, State},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

const REQUEST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"get","params":{"collection":"products","key":"85123A"}}"#;
const VALUE_LEN: usize = 420;
const BATCH_MAX: usize = 8;

/// A request as a program would declare it that knows this method only.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    method: &'a str,
    params: Params<'a>,
}

#[derive(Deserialize)]
struct Params<'a> {
    collection: &'a str,
    key: &'a str,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'a str,
    id: u32,
    result: Record<'a>,
}

#[derive(Serialize)]
struct Record<'a> {
    key: &'a str,
    version: u64,
    stamp: String,
    value: &'a RawValue,
}

/// Reads a request.
pub fn read(c: &mut Criterion) {
    let typed: Request<'_> = serde_json::from_str(REQUEST).expect("a request");
    let expected = PlainGet { id: typed.id.get(), collection: typed.params.collection, key: typed.params.key };
    assert_eq!((plain_get(REQUEST), typed.method), (Some(expected), "get"));

    let mut group = c.benchmark_group("read a get");
    group.throughput(Throughput::Bytes(REQUEST.len() as u64));
    group.bench_function("plain_get", |b| b.iter(|| plain_get(black_box(REQUEST)).is_some()));
    group.bench_function("parse", |b| {
        b.iter(|| {
            let Ok(Message::One(request)) = parse(black_box(REQUEST), BATCH_MAX) else { panic!("no request") };
            GetParams::parse(request.params).is_ok()
        });
    });
    group.bench_function("serde_json, typed", |b| {
        b.iter(|| serde_json::from_str::<Request<'_>>(black_box(REQUEST)).is_ok());
    });
    group.bench_function("serde_json, Value", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(black_box(REQUEST)).is_ok());
    });
    group.finish();
}

/// Writes the answer of a get.
pub fn write(c: &mut Criterion) {
    let text = format!(r#"{{"name":"{}","price":295}}"#, "x".repeat(VALUE_LEN - 24));
    let state = State { stamp: Stamp::new(1, 4_077), value: Some(Bytes::from(text.clone())) };
    let value = RawValue::from_string(text).expect("JSON");
    let typed = || Record { key: "85123A", version: 4_077, stamp: state.stamp.to_string(), value: &value };
    let ours = |out: &mut Vec<u8>| codec::result(out, "7", |out| codec::record(out, "85123A", &state, None, false));
    let theirs = |out: &mut Vec<u8>| {
        let answer = Answer { jsonrpc: "2.0", id: 7, result: typed() };
        serde_json::to_writer(out, &answer).expect("a vector takes everything");
    };
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    assert_eq!(written(&ours), written(&theirs));

    let mut group = c.benchmark_group("write an answer");
    group.throughput(Throughput::Bytes(written(&ours).len() as u64));
    let mut out = Vec::with_capacity(4 * VALUE_LEN);
    group.bench_function("codec", |b| {
        b.iter(|| {
            out.clear();
            ours(black_box(&mut out));
        });
    });
    group.bench_function("serde_json, typed", |b| {
        b.iter(|| {
            out.clear();
            theirs(black_box(&mut out));
        });
    });
    group.finish();
}
