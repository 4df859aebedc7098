//! What limits each figure, in a sentence; kept by hand, beside what the profiler said.

/// The note on the figure `id`, if there is something to say.
pub fn limit_of(id: &str) -> &'static str {
    match id {
        "cold-key" => {
            "the node that gets the lease reads; the others wait for what it puts there. The audit of one answer in a thousand is \
             the second read"
        }
        "cold-node" => "Redis was brought forward while all were quiet",
        "cold-node-scans" => "the node's first reads, before it has applied a poll",
        "watched" | "watched-scans" => "the node that gets the lease reads; the others find what it has put there",
        "hits" => {
            "the node, which takes 5 to 6 µs for a record where Redis takes 1.6: L1's insert and eviction, floors, names, the \
             checksum, and a request and an answer of the client's"
        }
        "hits-misses" => "the node: PostgreSQL's part of a miss falls away, and its own hardly becomes smaller",
        "commits-p50" | "commits-p99" | "psql-p50" | "psql-p99" => {
            "PostgreSQL, which commits each change, answers the polls of the keeper and of three nodes, and reads each record once: on one \
             core with all other servers it has no time left, and statements wait for each other"
        }
        "outage-others" => {
            "five operations are given up after 30 ms each before Redis is asked no more, and gets that are due meanwhile wait"
        }
        _ => "",
    }
}
