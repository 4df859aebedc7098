//! A scenario on either store.

/// Declares each scenario twice: `name::on_postgres` and `name::in_memory`. Two worker threads, as a node has
/// several: what races there shall race here.
macro_rules! both {
    ($($(#[$meta:meta])* async fn $name:ident($kind:ident) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn scenario($kind: $crate::harness::Kind) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                scenario($crate::harness::Kind::Postgres).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_memory() {
                scenario($crate::harness::Kind::Memory).await;
            }
        }
    )*};
}

pub(crate) use both;
