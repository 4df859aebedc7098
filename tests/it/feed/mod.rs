//! Committed changes reach every screen: from any writer, in order, over every loss of the way.

mod backlog;
mod follower;
mod marks;
mod prune;
mod races;
mod relay;
mod resync;
mod ways;

/// `count` keys that begin with `prefix`.
fn keys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}
