//! A word that no other run uses.

use rand::Rng as _;

/// Eight hexadecimal digits, for keys that must be new.
pub(super) fn run_word() -> String {
    format!("{:08x}", rand::rng().random::<u32>())
}
