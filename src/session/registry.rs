//! The list of open connections.

use std::sync::Arc;

use parking_lot::Mutex;
use slab::Slab;

use super::Connection;

/// Every open connection, for the sweeps that concern all of them.
#[derive(Default)]
pub(super) struct Registry {
    connections: Mutex<Slab<Arc<Connection>>>,
}

impl Registry {
    /// Adds what `make` makes of its place in the list.
    pub(super) fn add(&self, make: impl FnOnce(usize) -> Arc<Connection>) -> Arc<Connection> {
        let mut connections = self.connections.lock();
        let vacant = connections.vacant_entry();
        let connection = make(vacant.key());
        vacant.insert(connection.clone());
        connection
    }

    pub(super) fn remove(&self, place: usize) {
        let removed = self.connections.lock().try_remove(place);
        drop(removed);
    }

    pub(super) fn len(&self) -> usize {
        self.connections.lock().len()
    }

    pub(super) fn all(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().iter().map(|(_, connection)| connection.clone()).collect()
    }
}
