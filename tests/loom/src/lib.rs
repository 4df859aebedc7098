//! The files of the server that `tests` checks in every order of their threads' steps, with loom's types in place of those of
//! the standard library.
//!
//! They are the server's own files, not copies. A file joins them when it takes what threads meet at from `crate::sync`. This
//! library is no test itself, so that the files' own tests, which need the real types, stay out of it.

#![allow(dead_code, reason = "what the server uses is not all checked")]

pub use freshet_wire::{protocol, record};

mod sync;

/// Loom's threads share one thread of the system, so what is a thread's own must be loom's as well. Stands in front of the
/// standard library's macro in the files below.
macro_rules! thread_local {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = const { $value:expr };) => {
        loom::thread_local! { $(#[$attribute])* static $name: $kind = $value; }
    };
}

#[path = "../../../src/tiers"]
pub mod tiers {
    pub mod entry;
    pub mod era;
    mod seqcount;
    mod thread_cache;

    pub use thread_cache::ThreadCaches;
}

#[path = "../../../src/session"]
pub mod session {
    mod admission;
    mod send_task;

    pub use admission::Admission;
    pub use send_task::SendTask;
}
