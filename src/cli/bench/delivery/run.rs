//! A delivery under way: one thread that writes, watches and probes in turns.

use std::time::Instant;

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};

use super::{Plan, Report, probe::Probe, schedule::Schedule, watchers::Watchers};
use crate::cli::{
    bench::{
        Error,
        clock::Clock,
        report::{Errors, Latency, histogram},
        target::Target,
        usage::{Meter, Usage},
        writer::Writer,
    },
    figures::grouped,
};

/// Sockets looked at before writer and probe get their turn again.
const TURN: usize = 16;
/// The longest that a snapshot, or the last state, is waited for.
const LIMIT: u64 = 20_000_000_000;

pub(super) struct Run<'a> {
    plan: &'a Plan<'a>,
    poll: Poll,
    events: Events,
    watchers: Watchers,
    writer: Writer,
    probe: Option<Probe>,
    clock: Clock,
    began: Instant,
    schedule: Schedule,
    frames: u64,
    tally: Tally,
    scratch: Vec<u8>,
}

struct Tally {
    latency: Histogram<u64>,
    write_latency: Histogram<u64>,
    after_answer: Histogram<u64>,
    errors: Errors,
    delivered: u64,
    usage: Usage,
}

impl<'a> Run<'a> {
    /// Connects, subscribes and waits for the snapshots. The time begins after that.
    pub(super) fn open(
        plan: &'a Plan<'a>,
        target: &Target,
        writer: impl FnOnce(&Poll, Token) -> Result<Writer, Error>,
    ) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::system("wait for sockets"))?;
        let (registry, collection, count) = (poll.registry(), &plan.args.collection, plan.watchers.get());
        let watchers = Watchers::open(target, registry, collection, &plan.keys, count)?;
        let writer = writer(&poll, Token(count))?;
        let probe = |rate| Probe::open(target, registry, Token(count + 1), rate, collection, &plan.keys[0]);
        let probe = plan.probe_rate.map(probe).transpose()?;
        let mut run = Run {
            plan,
            poll,
            events: Events::with_capacity(TURN),
            watchers,
            writer,
            probe,
            clock: Clock::start(&plan.args.clock),
            began: Instant::now(),
            schedule: Schedule::new(plan.rate),
            frames: 0,
            tally: Tally::new(),
            scratch: Vec::new(),
        };
        run.wait_for_snapshots()?;
        // The subscriptions took their time; the run begins now.
        (run.clock, run.began) = (Clock::start(&plan.args.clock), Instant::now());
        Ok(run)
    }

    /// Counting begins at what the snapshots show.
    fn wait_for_snapshots(&mut self) -> Result<(), Error> {
        while self.watchers.without_snapshot() > 0 {
            self.turn(None)?;
            if self.clock.now() > LIMIT {
                let missing = self.watchers.without_snapshot();
                return Err(Error::Wrong(format!(
                    "{missing} watchers got no state with a number \"stock\"; `--fill` puts the records first"
                )));
            }
        }
        self.watchers.begin();
        Ok(())
    }

    /// Writes and counts until the window ends, then waits for what is still on its way.
    pub(super) fn run(&mut self) -> Result<(), Error> {
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

    fn next_due(&self) -> u64 {
        let probe = self.probe.as_ref().map_or(u64::MAX, Probe::next_due);
        self.schedule.next_due().min(probe)
    }

    fn write_due(&mut self, now: u64) -> Result<(), Error> {
        while self.schedule.next_due() <= now {
            let n = self.schedule.len();
            let key = n % self.plan.keys.len();
            self.schedule.make(self.watchers.of_key(key));
            self.writer.write(n, &self.plan.keys[key])?;
        }
        Ok(())
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

    fn receive(&mut self, n: usize) -> Result<(), Error> {
        let received = self.watchers.receive(n, &mut self.scratch, &mut self.tally.errors)?;
        self.frames += received.frames;
        let Some(write) = received.shown.and_then(|write| self.schedule.show(write)) else { return Ok(()) };
        if self.clock.is_in_window(write.due) {
            let now = self.clock.now();
            self.tally.latency.saturating_record(now.saturating_sub(write.due));
            let waited = write.answered.map_or(0, |answered| now.saturating_sub(answered));
            self.tally.after_answer.saturating_record(waited);
        }
        Ok(())
    }

    fn take_answers(&mut self) -> Result<(), Error> {
        let Run { writer, scratch, tally, schedule, clock, began, .. } = self;
        let Tally { errors, write_latency, .. } = tally;
        let now = clock.now();
        writer.answers(scratch, errors, |number, at| {
            let at = at.map_or(now, |at| u64::try_from(at.duration_since(*began).as_nanos()).unwrap_or(now));
            if let Some(write) = schedule.answer(number, at).filter(|write| clock.is_in_window(write.due)) {
                write_latency.saturating_record(at.saturating_sub(write.due));
            }
        })
    }

    fn turn_of_probe(&mut self) -> Result<(), Error> {
        let Some(probe) = &mut self.probe else { return Ok(()) };
        if self.schedule.len() == 0 {
            return Ok(());
        }
        probe.turn(&self.clock, self.schedule.is_under_way(), &mut self.scratch, &mut self.tally.errors)
    }

    /// Waits until everybody has the last state of what they watch.
    fn settle(&mut self) -> Result<(), Error> {
        let (until, writes) = (self.clock.now() + LIMIT, self.schedule.len());
        while self.watchers.behind(writes) > 0 && self.clock.now() < until {
            self.turn(None)?;
        }
        for _ in 0..self.watchers.behind(writes) {
            self.tally.errors.add(|| "a watcher did not end on the last state within 20 s".to_owned());
        }
        Ok(())
    }

    pub(super) fn report(self) -> Report {
        let (seconds, tally) = (self.clock.window_seconds(), self.tally);
        let (offered, answered) = self.schedule.offered_and_answered(&self.clock);
        let (watchers, keys) = (self.plan.watchers.get(), self.plan.keys.len());
        let possible = offered as f64 * watchers as f64 / keys as f64;
        let (busy, quiet) = self.probe.map(|probe| (probe.busy, probe.quiet)).unzip();
        Report {
            scenario: self.plan.scenario,
            watchers,
            keys,
            seconds,
            offered_per_s: self.plan.rate,
            offered,
            answered,
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
