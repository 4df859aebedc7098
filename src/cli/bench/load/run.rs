//! A load under way: one thread that sends and receives in turns.

use std::collections::VecDeque;

use mio::{Events, Poll, Token};

use super::{LoadArgs, Report, Requests, in_flight::InFlight, tally::Tally};
use crate::cli::{
    bench::{
        Error,
        clock::{Clock, moment},
        report::Latency,
        socket::Socket,
        target::Target,
        usage::{Meter, Usage},
    },
    figures::grouped,
};

/// The longest that answers are waited for after the window.
const DRAIN_LIMIT: u64 = 10_000_000_000;

pub(super) struct Run<'a, R> {
    args: &'a LoadArgs,
    requests: R,
    connections: Vec<Connection>,
    poll: Poll,
    clock: Clock,
    tally: Tally,
    text: Vec<u8>,
    scratch: Vec<u8>,
    /// Requests that have had their moment, in an open loop.
    due: u64,
    usage: Usage,
}

struct Connection {
    socket: Socket,
    in_flight: InFlight,
    /// Requests that were due while there was no place for them.
    late: VecDeque<u64>,
}

impl<'a, R: Requests> Run<'a, R> {
    /// Connects. The time begins after that.
    pub(super) fn open(args: &'a LoadArgs, target: &Target, requests: R) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::system("wait for sockets"))?;
        let open = |n| {
            let mut socket = Socket::open(target)?;
            socket.register(poll.registry(), Token(n))?;
            let in_flight = InFlight::new(args.in_flight.get(), args.any_answer);
            Ok(Connection { socket, in_flight, late: VecDeque::new() })
        };
        let connections = (0..args.connections.get()).map(open).collect::<Result<_, Error>>()?;
        let clock = Clock::start(&args.clock);
        Ok(Run {
            args,
            requests,
            connections,
            poll,
            tally: Tally::new(args.rate.is_some(), clock.start),
            clock,
            text: Vec::new(),
            scratch: Vec::new(),
            due: 0,
            usage: Usage::default(),
        })
    }

    /// Sends and receives until the window ends, then waits for what is still on its way.
    pub(super) fn run(&mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(1024);
        let mut meter = None;
        if self.args.rate.is_none() {
            self.fill_all()?;
        }
        loop {
            let now = self.clock.now();
            if meter.is_none() && now >= self.clock.start {
                meter = Some(Meter::new(&self.args.pid));
            }
            // Also those whose moment came while the last turn was made.
            self.offer(now.min(self.clock.end.saturating_sub(1)))?;
            if now >= self.clock.end {
                break;
            }
            self.turn(&mut events, self.next_due())?;
            let answers = self.tally.answers;
            self.clock.show(now, || format!("{} answers", grouped(answers)));
        }
        self.usage = meter.map(|meter| meter.read(self.clock.spun_seconds())).unwrap_or_default();
        self.drain(&mut events)?;
        self.clock.finish();
        Ok(())
    }

    /// Waits for sockets, no longer than until `due`, and handles what they bring.
    fn turn(&mut self, events: &mut Events, due: Option<u64>) -> Result<(), Error> {
        let (wait, began) = (self.clock.wait(due), self.clock.now());
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            polled => polled.map_err(Error::system("wait for sockets"))?,
        }
        if events.is_empty() && wait.is_zero() {
            self.clock.spun_since(began);
        }
        for event in events.iter() {
            let n = event.token().0;
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.receive(n)?;
            }
            self.connections[n].socket.flush()?;
        }
        Ok(())
    }

    /// In a closed loop, the first requests of every connection.
    fn fill_all(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        for n in 0..self.connections.len() {
            for _ in 0..self.args.in_flight.get() {
                self.send(n, now);
            }
            self.connections[n].socket.flush()?;
        }
        Ok(())
    }

    fn next_due(&self) -> Option<u64> {
        self.args.rate.map(|rate| moment(self.due, rate))
    }

    /// In an open loop, the requests whose moment has come.
    fn offer(&mut self, now: u64) -> Result<(), Error> {
        while let Some(due) = self.next_due().filter(|&due| due <= now) {
            let n = (self.due % self.connections.len() as u64) as usize;
            self.due += 1;
            if self.connections[n].in_flight.is_full() {
                self.connections[n].late.push_back(due);
            } else {
                self.send(n, due);
                self.connections[n].socket.flush()?;
            }
        }
        Ok(())
    }

    /// Queues a request on connection `n`, which has room for it.
    fn send(&mut self, n: usize, due: u64) {
        let Connection { socket, in_flight, .. } = &mut self.connections[n];
        self.text.clear();
        if in_flight.begin(due, |id| self.requests.write(&mut self.text, id)) {
            socket.queue(&self.text);
        }
    }

    /// Takes what connection `n` brings, and follows it with what comes next.
    fn receive(&mut self, n: usize) -> Result<(), Error> {
        let Connection { socket, in_flight, .. } = &mut self.connections[n];
        let now = self.clock.now();
        let is_sending = now < self.clock.end;
        let mut next = 0;
        socket.receive(&mut self.scratch, |text| {
            if let Some(due) = in_flight.end(text, &self.requests, &mut self.tally) {
                self.tally.record(&self.clock, now, due);
                next += 1;
            }
        })?;
        // After the window, what waits for a place is left to be counted as unsent.
        for _ in 0..if is_sending { next } else { 0 } {
            let late = self.connections[n].late.pop_front();
            let due = if self.args.rate.is_none() { Some(now) } else { late };
            if let Some(due) = due {
                self.send(n, due);
            }
        }
        Ok(())
    }

    /// Waits for the answers that are still due. Those that do not come are errors.
    fn drain(&mut self, events: &mut Events) -> Result<(), Error> {
        let outstanding =
            |run: &Self| -> usize { run.connections.iter().map(|connection| connection.in_flight.len()).sum() };
        let until = self.clock.now() + DRAIN_LIMIT;
        for due in self.connections.iter_mut().flat_map(|connection| connection.late.drain(..)) {
            self.tally.record_unsent(&self.clock, due);
        }
        while outstanding(self) > 0 && self.clock.now() < until {
            self.turn(events, None)?;
        }
        for _ in 0..outstanding(self) {
            self.tally.errors.add(|| "a request stayed without an answer for 10 s".to_owned());
        }
        Ok(())
    }

    pub(super) fn report(self, scenario: &'static str) -> Report {
        let seconds = self.clock.window_seconds();
        Report {
            scenario,
            connections: self.args.connections.get(),
            in_flight: self.args.in_flight.get(),
            offered_per_s: self.args.rate,
            seconds,
            answers: self.tally.answers,
            answers_per_s: self.tally.answers as f64 / seconds,
            unsent: self.tally.unsent,
            latency: Latency::of(&self.tally.times),
            errors: self.tally.errors,
            checked: self.tally.checked,
            usage: self.usage,
            series: self.tally.series,
        }
    }
}
