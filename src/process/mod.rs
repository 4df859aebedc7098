//! Programs that run under us: as which account, and how they end.
//!
//! Promise: as root, a program runs as an ordinary account.
//! Left to others: which program, where it is installed, when it is ready.

pub use account::Account;

mod account;
