//! Which of several servers is the primary, by what each says of itself.

use crate::record::Position;

/// Which history a server writes: its cluster, and the timeline since it was last promoted or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    pub(in crate::store::postgres) system_identifier: i64,
    pub(in crate::store::postgres) timeline: i32,
}

/// What a look at a server found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) struct Sighting {
    pub(in crate::store::postgres) system_identifier: i64,
    /// Of what it writes; `None` for a replica, which writes nothing.
    pub(in crate::store::postgres) timeline: Option<i32>,
    /// The timeline whose log a replica applies.
    pub(in crate::store::postgres) follows: Option<i32>,
    /// The newest mark that it shows.
    pub(in crate::store::postgres) mark: Position,
}

impl Sighting {
    /// The history that it writes, if it is a primary.
    pub(in crate::store::postgres) fn history(&self) -> Option<History> {
        let system_identifier = self.system_identifier;
        self.timeline.map(|timeline| History { system_identifier, timeline })
    }
}

/// Whether a primary of history `found` may be used where one of `known` was: a lower timeline of the same cluster is that of
/// an old primary, whose successor has taken writes since.
///
/// # Source
/// PostgreSQL, "Continuous Archiving and Point-in-Time Recovery", Timelines: each promotion takes the next number.
pub(super) fn may_follow(found: History, known: Option<History>) -> bool {
    known.is_none_or(|known| known.system_identifier != found.system_identifier || found.timeline >= known.timeline)
}

/// The primary among servers that were all looked at: of those that write, the one with the newest history. `known` is the
/// history of the last primary that was used. A cluster of another identifier counts only if no server of the known one
/// answers: it was made anew. Of equal ones the `incumbent` stays. Where no primary was met yet, a replica of a newer history
/// tells that the newest is an old primary, too.
///
/// # Errors
/// The places of two primaries of which none can be told to be the newer.
pub(in crate::store::postgres) fn primary(
    sightings: &[Option<Sighting>],
    known: Option<History>,
    incumbent: usize,
) -> Result<Option<(usize, History)>, (usize, usize)> {
    let is_known = |identifier: i64| known.is_some_and(|known| known.system_identifier == identifier);
    let has_known = sightings.iter().flatten().any(|sighting| is_known(sighting.system_identifier));
    let mut newest: Option<(usize, History)> = None;
    for (at, sighting) in sightings.iter().enumerate() {
        let Some(found) = sighting.and_then(|sighting| sighting.history()) else { continue };
        if !may_follow(found, known) || (has_known && !is_known(found.system_identifier)) {
            continue;
        }
        match newest {
            Some((other, history)) if history.system_identifier != found.system_identifier => return Err((other, at)),
            Some((_, history)) if history.timeline == found.timeline && at != incumbent => {}
            Some((_, history)) if history.timeline > found.timeline => {}
            _ => newest = Some((at, found)),
        }
    }
    // Later, a stray replica of a copy that somebody promoted must not depose the primary that is in use.
    let is_deposed = |history: History| {
        known.is_none()
            && sightings.iter().flatten().any(|other| {
                other.system_identifier == history.system_identifier
                    && other.follows.is_some_and(|timeline| timeline > history.timeline)
            })
    };
    Ok(newest.filter(|(_, history)| !is_deposed(*history)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Sighting = server(7, Some(1));
    const PROMOTED: Sighting = server(7, Some(2));
    const REPLICA: Sighting = server(7, None);
    /// Of another cluster.
    const STRANGE: Sighting = server(8, Some(1));

    const fn server(system_identifier: i64, timeline: Option<i32>) -> Sighting {
        Sighting { system_identifier, timeline, follows: None, mark: Position(1) }
    }

    fn chosen(sightings: &[Option<Sighting>], known: Option<(i64, i32)>) -> Option<usize> {
        let known = known.map(|(system_identifier, timeline)| History { system_identifier, timeline });
        primary(sightings, known, 0).expect("they can be told apart").map(|(at, _)| at)
    }

    #[test]
    fn the_primary_is_found_wherever_it_stands_in_the_list() {
        assert_eq!(chosen(&[Some(REPLICA), Some(OLD), None], None), Some(1));
        assert_eq!(chosen(&[Some(REPLICA), None], None), None);
    }

    #[test]
    fn of_two_primaries_the_promoted_one_counts_and_an_old_one_is_never_taken_again() {
        assert_eq!(chosen(&[Some(OLD), Some(PROMOTED)], Some((7, 1))), Some(1));
        assert_eq!(chosen(&[Some(OLD), Some(PROMOTED)], None), Some(1));
        assert_eq!(chosen(&[Some(OLD), None], Some((7, 2))), None);
    }

    #[test]
    fn a_replica_of_the_promoted_one_tells_of_an_old_primary_unless_that_is_in_use() {
        let follower = Sighting { follows: Some(2), ..REPLICA };
        assert_eq!(chosen(&[Some(OLD), Some(follower)], None), None);
        assert_eq!(chosen(&[Some(OLD), Some(Sighting { follows: Some(1), ..REPLICA })], None), Some(0));
        assert_eq!(chosen(&[Some(OLD), Some(follower)], Some((7, 1))), Some(0));
    }

    #[test]
    fn a_cluster_made_anew_counts_where_nothing_of_the_known_one_answers() {
        assert_eq!(chosen(&[Some(STRANGE), None], Some((7, 4))), Some(0));
        assert_eq!(chosen(&[Some(STRANGE), Some(REPLICA)], Some((7, 4))), None);
        assert_eq!(primary(&[Some(STRANGE), Some(OLD)], None, 0), Err((0, 1)));
    }

    #[test]
    fn of_two_equal_ones_the_incumbent_stays() {
        let equal = [Some(OLD), Some(OLD)];
        for incumbent in [0, 1] {
            assert_eq!(primary(&equal, None, incumbent).expect("they are one").map(|(at, _)| at), Some(incumbent));
        }
    }
}
