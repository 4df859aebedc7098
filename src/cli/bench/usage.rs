//! Who had the processor: a figure that the client limits should say so.

use std::{collections::HashMap, fs, time::Instant};

use nix::{
    sys::resource::{UsageWho, getrusage},
    unistd::{SysconfVar, sysconf},
};
use serde::Serialize;

/// A client that is busier than this may have been the limit.
const BUSY: f64 = 0.95;

/// Shares of one processor over a window: 1.0 is one core, all of the time.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Usage {
    /// This process, without the time it only spun for the next intended moment.
    pub(super) client: f64,
    /// The processes that were named, each with those below it.
    pub(super) servers: Vec<Server>,
    /// Whether the client may have been what limits.
    pub(super) is_client_busy: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Server {
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) share: f64,
}

/// Measures from its making on.
pub(super) struct Meter {
    began: Instant,
    own: f64,
    servers: Vec<(u32, f64)>,
}

impl Meter {
    pub(super) fn new(pids: &[u32]) -> Self {
        let times = Times::read();
        let servers = pids.iter().map(|&pid| (pid, times.of_tree(pid))).collect();
        Meter { began: Instant::now(), own: own_seconds(), servers }
    }

    /// The shares since then; `spun` are seconds in which the client only waited for the clock.
    pub(super) fn read(&self, spun: f64) -> Usage {
        let wall = self.began.elapsed().as_secs_f64().max(1e-9);
        let times = Times::read();
        let client = ((own_seconds() - self.own - spun) / wall).max(0.0);
        let share = |&(pid, before): &(u32, f64)| Server {
            pid,
            name: times.name_of(pid),
            share: ((times.of_tree(pid) - before) / wall).max(0.0),
        };
        Usage { client, servers: self.servers.iter().map(share).collect(), is_client_busy: client > BUSY }
    }
}

fn own_seconds() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0.0 };
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// Processor time of every process. Those that end in between are not counted.
///
/// # Source
/// proc(5): `/proc/pid/stat`, fields 2, 4, 14 and 15.
struct Times(HashMap<u32, Process>);

struct Process {
    name: String,
    parent: u32,
    seconds: f64,
}

impl Times {
    fn read() -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let process = |pid| Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, ticks)?));
        Times(pids.filter_map(process).collect())
    }

    fn of_tree(&self, root: u32) -> f64 {
        self.0.iter().filter(|(pid, _)| self.is_below(**pid, root)).map(|(_, process)| process.seconds).sum()
    }

    fn is_below(&self, pid: u32, root: u32) -> bool {
        let mut at = pid;
        while at != root {
            match self.0.get(&at) {
                Some(process) if process.parent != 0 => at = process.parent,
                _ => return false,
            }
        }
        true
    }

    fn name_of(&self, pid: u32) -> String {
        self.0.get(&pid).map_or_else(|| "gone".to_owned(), |process| process.name.clone())
    }
}

fn parse(stat: &str, ticks: f64) -> Option<Process> {
    // The name is in parentheses and may hold any, so the last one ends it.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process { name, parent: number(1)?.try_into().ok()?, seconds: (number(11)? + number(12)?) as f64 / ticks })
}

/// Memory that `pid` has in use, in bytes, shared pages included.
///
/// # Source
/// proc(5): `/proc/pid/statm`, field 2.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten()?;
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "17 (a) b (c)) S 4 1 1 0 -1 0 9 9 9 9 150 50 0 0 20 0 1 0 99 0 0";
        let process = parse(stat, 100.0).expect("a process");
        assert_eq!((process.name.as_str(), process.parent, process.seconds), ("a) b (c)", 4, 2.0));
        assert!(parse("17 (a) S", 100.0).is_none());
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pid = std::process::id();
        let meter = Meter::new(&[pid]);
        let until = Instant::now() + std::time::Duration::from_millis(50);
        while Instant::now() < until {
            std::hint::black_box(0);
        }
        let usage = meter.read(0.0);
        assert!(usage.client > 0.0 && usage.servers[0].name != "gone");
        assert!(resident_bytes(pid).expect("memory") > 100_000);
    }
}
