//! Which keys a connection watches, and what it knows of them.

use crate::record::Stamp;

/// Keys that share a subscription.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// The keys by their places, each with the newest stamp that was pushed.
    pub(super) keys: Vec<(u32, Option<Stamp>)>,
    /// Its subscription now, as the run counts them and as the server names it.
    pub(super) subscription: Option<u32>,
    pub(super) id: Option<String>,
}

impl Group {
    /// Notes what was pushed; false if the key is none of the group's.
    pub(super) fn knows(&mut self, key: u32, stamp: Stamp) -> bool {
        let Some((_, known)) = self.keys.iter_mut().find(|(own, _)| *own == key) else { return false };
        *known = Some(stamp).max(*known);
        true
    }
}

/// One key in so many is not watched: a node reads the changes of watched keys anew, and of others it must drop what it
/// has cached.
const UNWATCHED: u32 = 4;

/// The groups of each of `links` connections: a key is watched by two of them, which lead to two nodes if there are two.
/// Of a connection's keys every other one has a subscription of its own.
pub(super) fn groups(keys: u32, links: usize) -> Vec<Vec<Group>> {
    let mut watched = vec![Vec::new(); links];
    for key in (0..keys).filter(|key| key % UNWATCHED != UNWATCHED - 1) {
        let first = key as usize % links;
        watched[first].push(key);
        if links > 1 {
            watched[(first + 1) % links].push(key);
        }
    }
    watched.into_iter().map(grouped).collect()
}

fn grouped(keys: Vec<u32>) -> Vec<Group> {
    let (mut together, mut groups) = (Group::default(), Vec::new());
    for (place, key) in keys.into_iter().enumerate() {
        match place % 2 {
            0 => together.keys.push((key, None)),
            _ => groups.push(Group { keys: vec![(key, None)], ..Group::default() }),
        }
    }
    if !together.keys.is_empty() {
        groups.push(together);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_watched_by_two_neighbouring_connections_or_by_none() {
        for (links, watchers) in [(1, 1), (2, 2), (5, 2)] {
            let groups = groups(11, links);
            assert_eq!(groups.len(), links);
            for key in 0..11 {
                let by: Vec<usize> = (0..links)
                    .filter(|&link| groups[link].iter().any(|group| group.keys.iter().any(|(own, _)| *own == key)))
                    .collect();
                let watchers = if key % UNWATCHED == UNWATCHED - 1 { 0 } else { watchers };
                assert_eq!(by.len(), watchers, "key {key} of {links}: {by:?}");
            }
        }
    }
}
