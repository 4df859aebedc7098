//! What limits each figure, in a sentence; kept by hand, beside what the profiler said.

/// The note on the figure `id`, if there is something to say.
pub fn limit_of(id: &str) -> &'static str {
    match id {
        "hits-16" => "parsing, the look into L1 and the frame, beside the two system calls a batch",
        "hits-1" => "the system calls: a read and a write for each request",
        "zipf-16" => "cache misses of the processor: cold records, and moka's own list nodes",
        "fan-out" => "a write for each socket; states of one turn share it",
        "delivery" => "1,000 writes, one after the other",
        "burst" => "turns of 16 sockets, between which requests come in",
        "idle" => "the buffers and tasks of a connection",
        "misses" => "PostgreSQL and the node share the core; a statement brings several keys",
        "writes" => "triggers, the outbox and the row's version, beside the update itself",
        "order" | "payment" => "PostgreSQL: triggers, the outbox and the commit's flush",
        "own" => "the commit's flush",
        "foreign-p50" | "foreign-p99" => "the follower's polls, 5 ms apart, and the read of what changed",
        _ => "",
    }
}
