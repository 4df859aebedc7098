//! Programs that run under us: as which account, how they end, and what they said last.
//!
//! Promise: a program ends with us, also when we are killed. As root, it runs as an ordinary account.
//! Left to others: which program, where it is installed, when it is ready.

pub use account::Account;
pub use output::end_of;
pub use supervised::{Farewell, Supervised};

mod account;
mod output;
mod supervised;
