//! What limits each figure, in a sentence; kept by hand, beside what the profiler said.

/// The note on the figure `id`, if there is something to say.
pub fn limit_of(id: &str) -> &'static str {
    match id {
        "hits-16" => "user time is even with axum's; a read and a write system call for 16 requests are the most of it",
        "hits-1" => "the system calls: a read and a write for each request",
        "zipf-16" => {
            "the processor waits for memory three times in a row: a thread's slot, its entry, the entry's text"
        }
        "fan-out" => "a write for each socket, which both have; the states of one turn share it",
        "delivery" => "1,000 writes, one after the other",
        "burst" => "turns of 16 sockets, between which requests come in",
        "idle" => "tokio's registration, the reader's task and the connection; no buffer and no parser is kept",
        "misses" => {
            "PostgreSQL, which has half of the core and alone, with 256 keys a statement, does not reach 4x either (Beside): \
             a look into the index and a row as JSON; the node's part is L1's insert and eviction, most of all"
        }
        "writes" => {
            "PostgreSQL, which alone does no more (Beside): a row is written with a version from a trigger, captured in the \
             outbox and returned as JSON, in 64 partitions"
        }
        "writes-16x1" | "writes-p50" => {
            "a group of about six is carried out at a time, and its parts run one after the other: node, PostgreSQL, node, \
             flush; a third of both cores stays idle. A row's first use of its partition in a transaction takes PostgreSQL \
             45 us, as much as all of pgbench's transaction"
        }
        "writes-64x1" => "PostgreSQL, as with 16 connections; groups are of 20 to 30",
        "writes-64x16" => {
            "both cores: 40 us a row in PostgreSQL, of which the stamp's trigger takes 8 and the row as JSON 3, and 20 us on \
             the node"
        }
        "writes-hot" => "a statement for each write, 40 us, on one connection",
        "writes-refused" => "statements leave out what a CHECK refuses, and a second round says which",
        "writes-far" => "two round trips a group",
        "query" => "as L1 hits: a read and a write system call for the requests of one read",
        "order" => {
            "PostgreSQL, which has two thirds of the cores; alone, with both and 512 orders a statement, it does not reach \
             7.75x either (Beside): a row, its index, its version from a trigger and its row in the outbox; on the node, \
             L1's insert"
        }
        "payment" => {
            "PostgreSQL, which alone, with both cores, does no more (Beside): an update, and the idempotency key is kept, \
             which is a second row with two indexes"
        }
        "own" => "the commit's flush, and the group before, which is waited for",
        "foreign-p50" | "foreign-p99" => "the follower's polls, 5 ms apart, and the read of what changed",
        _ => "",
    }
}
