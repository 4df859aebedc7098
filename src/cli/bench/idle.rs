//! `freshet bench idle`: what a connection weighs that watches a record and does nothing.

use std::{
    num::NonZeroUsize,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    Error, Outcome, delivery::subscribe, fill::FillArgs, keys, report::Errors, socket::Socket, target::Target,
    usage::resident_bytes,
};
use crate::cli::figures::{counted, grouped, size};

/// Connections opened first, so that what a node allocates once is not counted.
const FIRST: usize = 500;
/// Memory counts as settled when it has been the same this long.
const SETTLED: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(20);

/// How many connections.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    /// How many connections are weighed.
    #[arg(long, default_value = "10000")]
    connections: NonZeroUsize,
    /// How many records they watch, each connection one.
    #[arg(long, default_value = "100")]
    keys: NonZeroUsize,
    /// The node's process, on this machine.
    #[arg(long, value_name = "PID")]
    pid: u32,
    #[command(flatten)]
    pub(super) fill: FillArgs,
    /// The collection.
    #[arg(long, default_value = "products")]
    pub(super) collection: String,
}

impl Args {
    pub(super) fn keys(&self) -> Vec<String> {
        keys::generated(self.keys.get())
    }
}

/// What the connections weigh.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    scenario: &'static str,
    connections: usize,
    resident_before: u64,
    resident_after: u64,
    bytes_per_connection: f64,
    errors: Errors,
}

impl Outcome for Report {
    fn text(&self) -> String {
        format!(
            "idle: {}, each watching a record\n  {} bytes each (the node's memory went from {} to {})",
            counted(self.connections, "connection"),
            grouped(self.bytes_per_connection as u64),
            size(self.resident_before),
            size(self.resident_after),
        )
    }

    fn errors(&self) -> &Errors {
        &self.errors
    }
}

/// Opens connections, and weighs the node before and after. Memory of the kernel's, such as socket buffers, is not in it.
///
/// # Errors
/// [`Error`] when a connection cannot be opened, or the process is not there.
pub(super) fn run(args: &Args, keys: &[String], target: &Target) -> Result<Report, Error> {
    let mut errors = Errors::default();
    let mut sockets = Vec::new();
    open(&mut sockets, FIRST, args, keys, target)?;
    wait_for_states(&mut sockets, &mut errors)?;
    let resident_before = settled(args.pid)?;
    open(&mut sockets, FIRST + args.connections.get(), args, keys, target)?;
    wait_for_states(&mut sockets[FIRST..], &mut errors)?;
    let resident_after = settled(args.pid)?;
    let grown = resident_after.saturating_sub(resident_before) as f64;
    Ok(Report {
        scenario: "idle",
        connections: args.connections.get(),
        resident_before,
        resident_after,
        bytes_per_connection: grown / args.connections.get() as f64,
        errors,
    })
}

fn open(sockets: &mut Vec<Socket>, count: usize, args: &Args, keys: &[String], target: &Target) -> Result<(), Error> {
    while sockets.len() < count {
        let mut socket = Socket::open(target)?;
        socket.queue(subscribe(&args.collection, &keys[sockets.len() % keys.len()]).as_bytes());
        socket.flush()?;
        sockets.push(socket);
    }
    Ok(())
}

/// Each gets the answer and a snapshot.
fn wait_for_states(sockets: &mut [Socket], errors: &mut Errors) -> Result<(), Error> {
    let (until, mut scratch) = (Instant::now() + LIMIT, Vec::new());
    for socket in sockets {
        let mut messages = 0;
        while messages < 2 && Instant::now() < until {
            let before = messages;
            socket.receive(&mut scratch, |_| messages += 1)?;
            if messages == before {
                thread::sleep(Duration::from_millis(1));
            }
        }
        if messages < 2 {
            errors.add(|| "a connection got no snapshot within 20 s".to_owned());
        }
    }
    Ok(())
}

fn settled(pid: u32) -> Result<u64, Error> {
    let read = || resident_bytes(pid).ok_or_else(|| Error::Wrong(format!("there is no process {pid} to weigh")));
    let until = Instant::now() + LIMIT;
    let (mut bytes, mut since) = (read()?, Instant::now());
    while since.elapsed() < SETTLED && Instant::now() < until {
        thread::sleep(SETTLED / 10);
        let now = read()?;
        if now != bytes {
            (bytes, since) = (now, Instant::now());
        }
    }
    Ok(bytes)
}
