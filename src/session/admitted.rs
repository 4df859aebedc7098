//! A request under way. A long one counts for several, since its text is held until it is answered.

use std::sync::Arc;

use super::Connection;

/// A request counts once, and once more for each so many bytes of its text.
const BYTES_OF_ONE: usize = 32 * 1024;

/// A request under way: counted in when made, and out when dropped.
pub(super) struct Admitted {
    connection: Arc<Connection>,
    weight: usize,
}

impl Admitted {
    /// A request of `bytes`.
    pub(super) fn new(connection: Arc<Connection>, bytes: usize) -> Self {
        let weight = 1 + bytes / BYTES_OF_ONE;
        connection.admission.begin(weight);
        Admitted { connection, weight }
    }

    /// The connection it came over.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connection.end_request(self.weight);
    }
}
