//! What single steps cost: `cargo bench --bench micro`, or of one of them `cargo bench --bench micro -- filter`.
//!
//! Each step goes through the module's own facade and is checked once before it is measured.

mod codec;
mod filter;
mod mailbox;
mod registry;
mod routing;

use std::time::Duration;

use criterion::Criterion;

/// A second each: the steps take nanoseconds to microseconds, and all of them end within two minutes.
const MEASURED: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(300);
const SAMPLES: usize = 30;

fn main() {
    let timing = Criterion::default().warm_up_time(WARM_UP).measurement_time(MEASURED).sample_size(SAMPLES);
    let mut criterion = timing.configure_from_args();
    for steps in [codec::read, codec::write, routing::routing, filter::filter, mailbox::mailbox, registry::registry] {
        steps(&mut criterion);
    }
    criterion.final_summary();
}
