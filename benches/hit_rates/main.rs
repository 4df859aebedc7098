//! Hit rates of L1 on real access traces, beside LRU, the optimum and a cache without a bound.
//!
//! `cargo bench --bench hit_rates` prints the report; with `-- --write` it goes to `docs/hit-rates.md`. Two traces ship
//! with the sources; `FRESHET_TRACES` may name a folder with more (`*.i32be.gz`: gzipped big-endian 32-bit keys).

mod markdown;
mod models;
mod node;
mod replay;
mod report;
mod shop;
mod trace;

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use trace::Trace;

/// Longer than a run: no limit of time is met.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);
const SHIPPED: [&str; 2] = ["web07", "web12"];
const MORE: &str = "FRESHET_TRACES";
/// What `cargo test --benches` replays, to see that everything works.
const SAMPLE: usize = 2_000;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().collect();
    let given = |name: &str| arguments.iter().any(|argument| argument == name);
    let traces = if given("--bench") { traces()? } else { vec![sample()?] };
    let report = report::report(&traces);
    if given("--write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hit-rates.md");
        return fs::write(path, report);
    }
    print!("{report}");
    Ok(())
}

fn traces() -> io::Result<Vec<(String, Trace)>> {
    let mut traces = Vec::new();
    for name in SHIPPED {
        traces.push((name.to_owned(), Trace::shipped(name)?));
    }
    for (name, path) in more()? {
        traces.push((name, Trace::read(&path)?));
    }
    Ok(traces)
}

/// The traces of the folder named by [`MORE`] that do not ship.
fn more() -> io::Result<Vec<(String, PathBuf)>> {
    let Some(folder) = env::var_os(MORE) else { return Ok(Vec::new()) };
    let named = |error: io::Error| io::Error::new(error.kind(), format!("read {MORE}={}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).map_err(named)? {
        let path = entry.map_err(named)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".i32be.gz"));
        if let Some(name) = name.filter(|name| !SHIPPED.contains(name)) {
            found.push((name.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

fn sample() -> io::Result<(String, Trace)> {
    let whole = Trace::shipped(SHIPPED[1])?;
    Ok((format!("{SAMPLE} of {}", SHIPPED[1]), Trace::new(whole.accesses.into_iter().take(SAMPLE))))
}
