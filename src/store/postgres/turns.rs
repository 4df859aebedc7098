//! Turns at a held row: of the writes of one key that wait for it, one at a time may occupy a connection.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::record::RecordId;

/// Who waits for a turn at each key, in the order they came. Cheap to clone.
///
/// There is a line only while somebody has a turn, and it is no longer than the key's writes under way.
#[derive(Clone, Default)]
pub struct Turns {
    lines: Arc<Mutex<HashMap<RecordId, VecDeque<oneshot::Sender<Turn>>>>>,
}

impl Turns {
    /// Joins the line of `id`. The turn comes when those before have dropped theirs, or given up waiting by dropping
    /// the receiver.
    pub fn join(&self, id: &RecordId) -> oneshot::Receiver<Turn> {
        let (give, turn) = oneshot::channel();
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get_mut(id) {
            line.push_back(give);
            return turn;
        }
        lines.insert(id.clone(), VecDeque::new());
        drop(lines);
        drop(give.send(Turn { turns: self.clone(), id: id.clone() }));
        turn
    }

    /// The next in line who still waits; without one the line is gone.
    fn next(&self, id: &RecordId) -> Option<oneshot::Sender<Turn>> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(id)?;
        while let Some(give) = line.pop_front() {
            if !give.is_closed() {
                return Some(give);
            }
        }
        lines.remove(id);
        None
    }
}

/// The right to wait for a key's row; dropping it passes it on.
pub struct Turn {
    turns: Turns,
    id: RecordId,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(give) = self.turns.next(&self.id) {
            // One who gives up in this moment drops the turn, which passes it on again.
            drop(give.send(Turn { turns: self.turns.clone(), id: self.id.clone() }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{CollectionId, Key};

    fn id(key: &str) -> RecordId {
        RecordId::new(CollectionId(0), Key::from_database(key))
    }

    #[test]
    fn turns_at_a_key_come_one_at_a_time_and_in_order() {
        let turns = Turns::default();
        let mut line: Vec<_> = (0..3).map(|_| turns.join(&id("a"))).collect();
        turns.join(&id("b")).try_recv().expect("another key has its own line");
        for n in 0..3 {
            let turn = line[n].try_recv().expect("its turn");
            assert!(line[n + 1..].iter_mut().all(|later| later.try_recv().is_err()));
            drop(turn);
        }
        assert!(turns.lines.lock().is_empty());
    }

    #[test]
    fn who_gives_up_is_passed_by() {
        let turns = Turns::default();
        let first = turns.join(&id("a")).try_recv().expect("its turn");
        let mut line: VecDeque<_> = (0..10_000).map(|_| turns.join(&id("a"))).collect();
        let mut last = line.pop_back().expect("ten thousand");
        drop(line);
        drop(first);
        drop(last.try_recv().expect("its turn"));
        drop(turns.join(&id("a")));
        assert!(turns.lines.lock().is_empty(), "a turn that nobody took is passed on");
    }
}
