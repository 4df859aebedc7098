//! Changes on their way to the sockets that watch: how many arrive, and how late.
//!
//! Promises: writes have their moments whatever the server does, and a time counts from the intended moment. What was
//! offered is counted beside what was delivered, because a server that skips states is fast in states and not in frames.
//! Every watcher must see rising states and end on the last one; one that does not is an error.

use std::{collections::VecDeque, num::NonZeroUsize, time::Instant};

use hdrhistogram::Histogram;
use memchr::memmem::Finder;
use mio::{Events, Poll, Token};
use serde::Serialize;

use super::{
    Error, Outcome, answer,
    clock::{Clock, ClockArgs},
    fill::FillArgs,
    report::{Errors, Latency, histogram, usage_text},
    socket::Socket,
    target::Target,
    usage::{Meter, Usage},
    writer::Writer,
};
use crate::cli::{
    self, ServerArgs,
    figures::{counted, grouped},
};

/// Sockets looked at before writer and probe get their turn again.
const TURN: usize = 16;
/// The longest that a snapshot, or the last state, is waited for.
const LIMIT: u64 = 20_000_000_000;
/// What a push begins with.
const PUSH: &[u8] = br#"{"jsonrpc":"2.0","method":"freshet_subscription""#;

/// Options of every delivery.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DeliveryArgs {
    #[command(flatten)]
    clock: ClockArgs,
    #[command(flatten)]
    fill: FillArgs,
    /// The collection; its records need a number `stock`.
    #[arg(long, default_value = "products")]
    pub(super) collection: String,
    /// Also tell how much of a processor this process and those below it use, such as the node's. May be repeated.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
}

impl DeliveryArgs {
    /// Puts the records of `keys`, if that was asked for.
    pub(super) async fn fill(&self, server: &ServerArgs, keys: &[String]) -> Result<(), cli::Error> {
        self.fill.run(server, &self.collection, keys).await
    }
}

/// What is watched, and how it is changed.
pub(super) struct Plan<'a> {
    pub(super) scenario: &'static str,
    /// Watcher `n` watches key `n % keys.len()`; writes take the keys in turns.
    pub(super) keys: Vec<String>,
    pub(super) watchers: NonZeroUsize,
    /// Writes a second.
    pub(super) rate: f64,
    /// Gets a second on a connection of their own.
    pub(super) probe_rate: Option<f64>,
    pub(super) args: &'a DeliveryArgs,
}

/// What a delivery came to.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    scenario: &'static str,
    watchers: usize,
    keys: usize,
    seconds: f64,
    offered_per_s: f64,
    /// Writes due in the window, and those among them that were answered by its end.
    offered: u64,
    answered: u64,
    /// Frames that reached sockets in the window.
    delivered: u64,
    delivered_per_s: f64,
    /// Frames a watcher got for each state it could have got: 1 where none was skipped.
    states_per_offered: f64,
    /// From a write's intended moment to a socket that got it.
    latency: Latency,
    /// From a write's intended moment to its answer.
    write_latency: Latency,
    /// From a write's answer to a socket that got it; 0 where the socket was first.
    after_answer: Latency,
    /// Gets on another connection, due while a change was on its way to watchers, and while none was.
    probe_busy: Option<Latency>,
    probe_quiet: Option<Latency>,
    errors: Errors,
    usage: Usage,
}

impl Outcome for Report {
    fn text(&self) -> String {
        let Report { scenario, seconds, errors, usage, latency, write_latency, after_answer, .. } = self;
        let mut text = format!(
            "{scenario}: {} of {}, {} writes/s offered, {seconds:.1} s\n  {} states/s delivered, {:.3} of those offered\n  \
             write to socket: {}\n  write to answer: {}\n  answer to socket: {}",
            counted(self.watchers, "watcher"),
            counted(self.keys, "record"),
            grouped(self.offered_per_s as u64),
            grouped(self.delivered_per_s as u64),
            self.states_per_offered,
            latency.text(),
            write_latency.text(),
            after_answer.text(),
        );
        for (name, probe) in [("during a change", &self.probe_busy), ("otherwise", &self.probe_quiet)] {
            if let Some(probe) = probe {
                text.push_str(&format!("\n  gets {name}: {}", probe.text()));
            }
        }
        format!("{text}\n  {}\n  {}", counted(errors.count as usize, "error"), usage_text(usage))
    }

    fn errors(&self) -> &Errors {
        &self.errors
    }
}

/// Subscribes, writes and counts. `writer` makes the source of writes; the token is for its socket.
///
/// # Errors
/// [`Error`] when a connection cannot be opened or breaks. What was delivered wrongly is counted in the report.
pub(super) fn run(
    plan: &Plan<'_>,
    target: &Target,
    writer: impl FnOnce(&Poll, Token) -> Result<Writer, Error>,
) -> Result<Report, Error> {
    if plan.rate <= 0.0 || !plan.rate.is_finite() {
        return Err(Error::Wrong("--rate must be above 0".to_owned()));
    }
    let mut delivery = Delivery::open(plan, target, writer)?;
    delivery.run()?;
    Ok(delivery.report())
}

struct Watcher {
    socket: Socket,
    /// The number of the newest state seen; the snapshot's at first.
    last: Option<u64>,
}

/// A write that was made.
#[derive(Clone, Copy)]
struct Made {
    due: u64,
    answered: Option<u64>,
    /// Watchers that have not seen it yet.
    missing: u32,
}

/// Gets at a steady rate on one connection.
struct Probe {
    socket: Socket,
    rate: f64,
    made: u64,
    /// When each get under way was due, and whether a change was on its way then.
    under_way: VecDeque<(u64, bool)>,
    busy: Histogram<u64>,
    quiet: Histogram<u64>,
}

struct Delivery<'a> {
    plan: &'a Plan<'a>,
    poll: Poll,
    events: Events,
    watchers: Vec<Watcher>,
    watching: Vec<u32>,
    writer: Writer,
    probe: Option<Probe>,
    clock: Clock,
    began: Instant,
    /// What each key's `stock` was before the first write.
    bases: Vec<u64>,
    made: Vec<Made>,
    frames: u64,
    tally: Tally,
    scratch: Vec<u8>,
    stock: Finder<'static>,
}

struct Tally {
    latency: Histogram<u64>,
    write_latency: Histogram<u64>,
    after_answer: Histogram<u64>,
    errors: Errors,
    delivered: u64,
    usage: Usage,
}

impl<'a> Delivery<'a> {
    fn open(
        plan: &'a Plan<'a>,
        target: &Target,
        writer: impl FnOnce(&Poll, Token) -> Result<Writer, Error>,
    ) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::system("wait for sockets"))?;
        let count = plan.watchers.get();
        let mut watching = vec![0; plan.keys.len()];
        let mut watchers = Vec::with_capacity(count);
        for n in 0..count {
            let mut socket = Socket::open(target)?;
            socket.register(poll.registry(), Token(n))?;
            let key = n % plan.keys.len();
            socket.queue(subscribe(&plan.args.collection, &plan.keys[key]).as_bytes());
            socket.flush()?;
            watching[key] += 1;
            watchers.push(Watcher { socket, last: None });
        }
        let writer = writer(&poll, Token(count))?;
        let probe = plan.probe_rate.map(|rate| Probe::open(target, rate, &poll, Token(count + 1))).transpose()?;
        let (clock, began) = (Clock::start(&plan.args.clock), Instant::now());
        let mut delivery = Delivery {
            plan,
            poll,
            events: Events::with_capacity(TURN),
            watchers,
            watching,
            writer,
            probe,
            clock,
            began,
            bases: vec![0; plan.keys.len()],
            made: Vec::new(),
            frames: 0,
            tally: Tally::new(),
            scratch: Vec::new(),
            stock: Finder::new("\"stock\":"),
        };
        delivery.wait_for_snapshots()?;
        // The subscriptions took their time; the run begins now.
        (delivery.clock, delivery.began) = (Clock::start(&plan.args.clock), Instant::now());
        Ok(delivery)
    }

    /// Counting begins at what the snapshots show.
    fn wait_for_snapshots(&mut self) -> Result<(), Error> {
        while self.watchers.iter().any(|watcher| watcher.last.is_none()) {
            self.turn(None)?;
            if self.clock.now() > LIMIT {
                let missing = self.watchers.iter().filter(|watcher| watcher.last.is_none()).count();
                return Err(Error::Wrong(format!(
                    "{missing} watchers got no state with a number \"stock\"; `--fill` puts the records first"
                )));
            }
        }
        for (n, watcher) in self.watchers.iter().enumerate() {
            let base = &mut self.bases[n % self.plan.keys.len()];
            *base = watcher.last.unwrap_or_default().max(*base);
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut started = None;
        loop {
            let now = self.clock.now();
            if started.is_none() && now >= self.clock.start {
                started = Some((Meter::new(&self.plan.args.pid), self.frames));
            }
            if now >= self.clock.end {
                break;
            }
            self.write_due(now)?;
            self.turn(Some(self.next_due()))?;
            let frames = self.frames;
            self.clock.show(now, || format!("{} states", grouped(frames)));
        }
        if let Some((meter, frames)) = started {
            self.tally.usage = meter.read(self.clock.spun_seconds());
            self.tally.delivered = self.frames - frames;
        }
        self.settle()?;
        self.clock.finish();
        Ok(())
    }

    fn moment(&self, n: usize) -> u64 {
        (n as f64 / self.plan.rate * 1e9) as u64
    }

    fn next_due(&self) -> u64 {
        let probe = self.probe.as_ref().map_or(u64::MAX, Probe::next_due);
        self.moment(self.made.len()).min(probe)
    }

    fn write_due(&mut self, now: u64) -> Result<(), Error> {
        loop {
            let (n, due) = (self.made.len(), self.moment(self.made.len()));
            if due > now {
                return Ok(());
            }
            let key = n % self.plan.keys.len();
            self.made.push(Made { due, answered: None, missing: self.watching[key] });
            self.writer.write(n, &self.plan.keys[key])?;
        }
    }

    /// A look at a few sockets, at the writer's answers and at the probe.
    fn turn(&mut self, due: Option<u64>) -> Result<(), Error> {
        let (wait, began) = (self.clock.wait(due), self.clock.now());
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            polled => polled.map_err(Error::system("wait for sockets"))?,
        }
        if self.events.is_empty() && wait.is_zero() {
            self.clock.spun_since(began);
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for n in ready {
            if n < self.watchers.len() {
                self.receive(n)?;
            }
        }
        self.take_answers()?;
        self.turn_of_probe()
    }

    /// Counts what watcher `n` got. The newest state of a read is looked into; those before it are counted.
    fn receive(&mut self, n: usize) -> Result<(), Error> {
        let Delivery { watchers, scratch, stock, tally, .. } = self;
        let (mut frames, mut newest) = (0, None);
        watchers[n].socket.receive(scratch, |text| {
            if text.starts_with(PUSH) {
                frames += 1;
                newest = stock.find(text).and_then(|at| answer::number(&text[at + 8..]));
            } else if !text.starts_with(br#"{"jsonrpc":"2.0","id":1,"result":"#) {
                tally.errors.add(|| format!("a watcher got {}", String::from_utf8_lossy(text)));
            }
        })?;
        watchers[n].socket.flush()?;
        self.frames += frames;
        match newest {
            Some(number) => self.saw(n, number as u64),
            None if frames > 0 => self.tally.errors.add(|| "a pushed state without a number \"stock\"".to_owned()),
            None => {}
        }
        Ok(())
    }

    fn saw(&mut self, watcher: usize, number: u64) {
        let now = self.clock.now();
        let last = self.watchers[watcher].last.replace(number);
        if last.is_none() {
            return;
        }
        if last >= Some(number) {
            self.tally.errors.add(|| format!("a watcher got state {number} after {}", last.unwrap_or_default()));
        }
        let (keys, key) = (self.plan.keys.len(), watcher % self.plan.keys.len());
        let nth = number.checked_sub(self.bases[key] + 1).map(|nth| nth as usize * keys + key);
        let Some(made) = nth.and_then(|n| self.made.get_mut(n)) else { return };
        made.missing = made.missing.saturating_sub(1);
        if made.due >= self.clock.start && made.due < self.clock.end {
            self.tally.latency.saturating_record(now.saturating_sub(made.due));
            let waited = made.answered.map_or(0, |answered| now.saturating_sub(answered));
            self.tally.after_answer.saturating_record(waited);
        }
    }

    fn take_answers(&mut self) -> Result<(), Error> {
        let Delivery { writer, scratch, tally, made, clock, began, .. } = self;
        let Tally { errors, write_latency, .. } = tally;
        let now = clock.now();
        writer.answers(scratch, errors, |number, at| {
            let Some(made) = made.get_mut(number) else { return };
            let at = at.map_or(now, |at| u64::try_from(at.duration_since(*began).as_nanos()).unwrap_or(now));
            made.answered = Some(at);
            if made.due >= clock.start && made.due < clock.end {
                write_latency.saturating_record(at.saturating_sub(made.due));
            }
        })
    }

    fn turn_of_probe(&mut self) -> Result<(), Error> {
        let is_busy = self.made.last().is_some_and(|made| made.missing > 0);
        let Some(probe) = &mut self.probe else { return Ok(()) };
        if self.made.is_empty() {
            return Ok(());
        }
        let text = get(&self.plan.args.collection, &self.plan.keys[0]);
        probe.turn(&self.clock, is_busy, &text, &mut self.scratch, &mut self.tally.errors)
    }

    /// Waits until everybody has the last state of what they watch.
    fn settle(&mut self) -> Result<(), Error> {
        let until = self.clock.now() + LIMIT;
        let (keys, made) = (self.plan.keys.len(), self.made.len());
        let last: Vec<u64> =
            (0..keys).map(|key| self.bases[key] + (made + keys - 1 - key) as u64 / keys as u64).collect();
        let behind = |delivery: &Self| {
            let watchers = delivery.watchers.iter().enumerate();
            watchers.filter(|(n, watcher)| watcher.last != Some(last[n % keys])).count()
        };
        while behind(self) > 0 && self.clock.now() < until {
            self.turn(None)?;
        }
        for _ in 0..behind(self) {
            self.tally.errors.add(|| "a watcher did not end on the last state within 20 s".to_owned());
        }
        Ok(())
    }

    fn report(self) -> Report {
        let (seconds, tally) = (self.clock.window_seconds(), self.tally);
        let in_window = |made: &&Made| made.due >= self.clock.start && made.due < self.clock.end;
        let offered = self.made.iter().filter(in_window).count() as u64;
        let is_answered = |made: &&Made| made.answered.is_some_and(|at| at < self.clock.end);
        let possible = offered as f64 * self.plan.watchers.get() as f64 / self.plan.keys.len() as f64;
        let (busy, quiet) = self.probe.map(|probe| (probe.busy, probe.quiet)).unzip();
        Report {
            scenario: self.plan.scenario,
            watchers: self.plan.watchers.get(),
            keys: self.plan.keys.len(),
            seconds,
            offered_per_s: self.plan.rate,
            offered,
            answered: self.made.iter().filter(in_window).filter(is_answered).count() as u64,
            delivered: tally.delivered,
            delivered_per_s: tally.delivered as f64 / seconds,
            states_per_offered: tally.delivered as f64 / possible.max(1.0),
            latency: Latency::of(&tally.latency),
            write_latency: Latency::of(&tally.write_latency),
            after_answer: Latency::of(&tally.after_answer),
            probe_busy: busy.as_ref().map(Latency::of),
            probe_quiet: quiet.as_ref().map(Latency::of),
            errors: tally.errors,
            usage: tally.usage,
        }
    }
}

impl Probe {
    fn open(target: &Target, rate: f64, poll: &Poll, token: Token) -> Result<Self, Error> {
        let mut socket = Socket::open(target)?;
        socket.register(poll.registry(), token)?;
        Ok(Probe { socket, rate, made: 0, under_way: VecDeque::new(), busy: histogram(), quiet: histogram() })
    }

    fn next_due(&self) -> u64 {
        (self.made as f64 / self.rate * 1e9) as u64
    }

    /// Sends the gets that are due and times the answers that have come.
    fn turn(
        &mut self,
        clock: &Clock,
        is_busy: bool,
        get: &str,
        scratch: &mut Vec<u8>,
        errors: &mut Errors,
    ) -> Result<(), Error> {
        while self.next_due() <= clock.now().min(clock.end) {
            self.under_way.push_back((self.next_due(), is_busy));
            self.made += 1;
            self.socket.queue(get.as_bytes());
        }
        self.socket.flush()?;
        if self.under_way.is_empty() {
            return Ok(());
        }
        let Probe { socket, under_way, busy, quiet, .. } = self;
        socket.receive(scratch, |text| {
            if !matches!(answer::read(text), Some(answer::Incoming::Result { .. })) {
                errors.add(|| format!("a get: {}", answer::refusal(text)));
            }
            // Gets of a record in L1 are answered in order.
            if let Some((due, was_busy)) = under_way.pop_front().filter(|(due, _)| *due >= clock.start) {
                let times = if was_busy { &mut *busy } else { &mut *quiet };
                times.saturating_record(clock.now().saturating_sub(due));
            }
        })
    }
}

impl Tally {
    fn new() -> Self {
        Tally {
            latency: histogram(),
            write_latency: histogram(),
            after_answer: histogram(),
            errors: Errors::default(),
            delivered: 0,
            usage: Usage::default(),
        }
    }
}

/// Asks for every state of a record.
pub(super) fn subscribe(collection: &str, key: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{{"collection":"{collection}","key":"{key}"}}}}"#)
}

fn get(collection: &str, key: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"get","params":{{"collection":"{collection}","key":"{key}"}}}}"#)
}
