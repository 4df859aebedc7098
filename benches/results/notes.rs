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
            "PostgreSQL and the node share the core; a miss is a task, and enters L1 through moka's lock for its key"
        }
        "writes" | "order" | "payment" => {
            "PostgreSQL, which takes most of the core: a row trigger (SECURITY DEFINER alone is 5 us a row), the outbox, a \
             lock before and a read after each row"
        }
        "own" => "the commit's flush, and the group before, which is waited for",
        "foreign-p50" | "foreign-p99" => "the follower's polls, 5 ms apart, and the read of what changed",
        _ => "",
    }
}
