//! The `freshet` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A miss or a write makes a dozen small allocations, many of them freed by another thread.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    freshet::cli::main()
}
