//! Freshet's wire format: JSON-RPC 2.0 in text frames, read from and written into plain byte buffers. No I/O.
//!
//! For: everything that knows what a message looks like, so that `session`, `gateway` and `client` need not.
//!
//! Promises: reading borrows from the text and never copies a value, and a record's bytes are never parsed on
//! the way out; the quick path ([`plain_get`]) agrees with the full one ([`parse`] and [`GetParams`]) on every text
//! it accepts (`quick_scan_agrees_with_serde`); whatever a client sends, the answer is a value or a [`Rejected`],
//! never a panic (`any_text_is_parsed_or_rejected`); every number is passed on as the text it came in.
//!
//! Leaves to others: which collections, keys and columns exist (`service`), how long a message or a list of keys
//! may be (`session`), and what a code means for a connection.
//!
//! # Source
//! JSON-RPC 2.0 specification; RFC 8259 (JSON); RFC 6455 (WebSocket) for frames and close codes.

pub mod close;
pub mod codec;
pub mod error;
pub mod frame;
pub mod json;
mod lexer;
pub mod message;
pub mod methods;
pub mod request;
pub mod scan;

pub use close::CloseCode;
pub use error::{Code, RpcError};
pub use message::{Message, parse, parse_single};
pub use methods::{
    Asked, DeleteParams, DescribeParams, FreshnessParams, GetManyParams, GetParams, ListParams, Method, PatchParams,
    PutParams, SubscribeParams, UnsubscribeParams,
};
pub use request::{Rejected, Request};
pub use scan::{PlainGet, plain_get};
