//! What `/metrics` says of a node's process and of how long its answers took.

use serde_json::json;

use crate::harness::{Process, Socket, until};

#[tokio::test]
async fn metrics_name_the_release_and_the_process_and_time_writes_and_the_reads_that_l1_had_not() {
    // The filter would deny an absent key.
    let node = Process::start(&[("FRESHET__TIERS__FILTER__ENABLED", "false")]).await;
    let mut socket = Socket::at(&node.url()).await;
    socket.ok("put", json!(["products", "a", {"name": "x", "price": 1}])).await;
    socket.refused("put", json!(["products", "b", {"name": "x", "price": "much"}])).await;
    assert_eq!(node.metric(r#"freshet_service_write_seconds_count{outcome="committed"}"#).await, 1.0);
    assert_eq!(node.metric(r#"freshet_service_write_seconds_count{outcome="refused"}"#).await, 1.0);
    let answered =
        async |source: &str| node.metric(&format!("freshet_tiers_answers_total{{source=\"{source}\"}}")).await;
    until("L1 answers", async || {
        socket.ok("get", json!(["products", "a"])).await;
        answered("local").await > 0.0
    })
    .await;
    // Only the store knows that it is absent.
    socket.ok("get", json!(["products", "c"])).await;
    let (timed, stored) =
        (node.metric(r#"freshet_tiers_read_seconds_count{source="store"}"#).await, answered("store").await);
    assert!(timed == stored && stored > 0.0, "{timed} times of {stored} answers");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(node.metric(&format!("freshet_build_info{{version=\"{version}\"}}")).await, 1.0);
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"] {
        assert!(node.metric(name).await > 0.0, "{name}");
    }
}
