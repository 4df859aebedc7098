//! Requests and their answers, in a closed or an open loop, from one thread.
//!
//! Promises: in a closed loop every connection always has its number of requests in flight; in an open loop requests
//! have their moments whatever the server does, and a time counts from the intended moment, so that a server that
//! stalls is not spared the requests it delayed. Every answer is matched with its request and seen to be a result; one
//! in [`CHECKED_EVERY`] is read in full.

use std::{collections::VecDeque, num::NonZeroUsize};

use hdrhistogram::Histogram;
use mio::{Events, Poll, Token};
use serde::Serialize;

use super::{
    Error, Outcome,
    answer::{self, Incoming},
    clock::{Clock, ClockArgs},
    report::{Errors, Latency, histogram, usage_text},
    socket::Socket,
    target::Target,
    usage::{Meter, Usage},
};
use crate::cli::figures::{counted, grouped};

/// Reading every record in full would make the client what limits.
const CHECKED_EVERY: u64 = 64;
/// An interval of the series, in nanoseconds.
const INTERVAL: u64 = 100_000_000;
/// The longest that answers are waited for after the window.
const DRAIN_LIMIT: u64 = 10_000_000_000;

/// Options of the load.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// How many connections.
    #[arg(long, default_value = "16")]
    pub(super) connections: NonZeroUsize,
    /// How many requests each has under way at a time, at most.
    #[arg(long, default_value = "1")]
    pub(super) in_flight: NonZeroUsize,
    /// Requests a second over all connections, sent at their moments whatever the server does (an open loop). Unless
    /// given, each answer is followed by the next request (a closed loop).
    #[arg(long)]
    pub(super) rate: Option<f64>,
    #[command(flatten)]
    pub(super) clock: ClockArgs,
    /// Also tell how much of a processor this process and those below it use, such as the node's. May be repeated.
    #[arg(long, value_name = "PID")]
    pub(super) pid: Vec<u32>,
    /// Take answers in the order of the requests and do not look at them: for servers that say a fixed text.
    #[arg(long, hide = true)]
    pub(super) any_answer: bool,
}

/// Makes requests and judges answers.
pub(super) trait Requests {
    /// Appends a request's JSON text. What is returned comes back with the answer.
    fn write(&mut self, out: &mut Vec<u8>, id: usize) -> u32;

    /// Reads an answer's result in full.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self, tag: u32, result: &[u8]) -> Result<(), String>;
}

/// A moment of the run.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    at_ms: u64,
    answers_per_s: f64,
    p99_us: f64,
}

/// What a load came to.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    scenario: &'static str,
    connections: usize,
    in_flight: usize,
    offered_per_s: Option<f64>,
    seconds: f64,
    answers: u64,
    answers_per_s: f64,
    latency: Latency,
    errors: Errors,
    checked: u64,
    usage: Usage,
    series: Vec<Point>,
}

impl Outcome for Report {
    fn text(&self) -> String {
        let Report { scenario, connections, in_flight, seconds, latency, errors, usage, .. } = self;
        let connections = counted(*connections, "connection");
        let offered = match self.offered_per_s {
            None => "closed loop".to_owned(),
            Some(rate) => format!("open loop at {}/s", grouped(rate as u64)),
        };
        format!(
            "{scenario}: {connections} x {in_flight} in flight, {offered}, {seconds:.1} s\n  {}/s, {}\n  {}, {} read in \
             full\n  {}",
            grouped(self.answers_per_s as u64),
            latency.text(),
            counted(errors.count as usize, "error"),
            grouped(self.checked),
            usage_text(usage)
        )
    }

    fn errors(&self) -> &Errors {
        &self.errors
    }
}

/// A request under way.
#[derive(Clone, Copy)]
struct Sent {
    /// When it was due, in nanoseconds of the clock.
    due: u64,
    tag: u32,
}

struct Client {
    socket: Socket,
    /// By id.
    sent: Vec<Option<Sent>>,
    free: Vec<usize>,
    /// The ids in the order sent; kept only where answers do not name their request.
    order: VecDeque<usize>,
    /// Requests that were due while none was free.
    late: VecDeque<u64>,
}

/// What was counted.
struct Tally {
    times: Histogram<u64>,
    answers: u64,
    errors: Errors,
    checked: u64,
    seen: u64,
    interval: Histogram<u64>,
    interval_began: u64,
    series: Vec<Point>,
}

/// Runs the load.
///
/// # Errors
/// [`Error`] when a connection cannot be opened or breaks. Wrong answers are counted in the report.
pub(super) fn run<R: Requests>(
    scenario: &'static str,
    args: &LoadArgs,
    target: &Target,
    requests: R,
) -> Result<Report, Error> {
    if args.rate.is_some_and(|rate| rate <= 0.0 || !rate.is_finite()) {
        return Err(Error::Wrong("--rate must be above 0".to_owned()));
    }
    let mut load = Load::open(args, target, requests)?;
    load.run()?;
    Ok(load.report(scenario))
}

struct Load<'a, R> {
    args: &'a LoadArgs,
    requests: R,
    clients: Vec<Client>,
    poll: Poll,
    clock: Clock,
    tally: Tally,
    text: Vec<u8>,
    scratch: Vec<u8>,
    /// Requests that have had their moment, in an open loop.
    due: u64,
    usage: Usage,
}

impl<'a, R: Requests> Load<'a, R> {
    fn open(args: &'a LoadArgs, target: &Target, requests: R) -> Result<Self, Error> {
        let poll = Poll::new().map_err(Error::system("wait for sockets"))?;
        let in_flight = args.in_flight.get();
        let open = |n| {
            let mut socket = Socket::open(target)?;
            socket.register(poll.registry(), Token(n))?;
            let (sent, free) = (vec![None; in_flight], (0..in_flight).rev().collect());
            Ok(Client { socket, sent, free, order: VecDeque::new(), late: VecDeque::new() })
        };
        let clients = (0..args.connections.get()).map(open).collect::<Result<_, Error>>()?;
        Ok(Load {
            args,
            requests,
            clients,
            poll,
            clock: Clock::start(&args.clock),
            tally: Tally::new(),
            text: Vec::new(),
            scratch: Vec::new(),
            due: 0,
            usage: Usage::default(),
        })
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut events = Events::with_capacity(1024);
        let mut meter = None;
        if self.args.rate.is_none() {
            self.fill_all()?;
        }
        loop {
            let now = self.clock.now();
            if meter.is_none() && now >= self.clock.start {
                meter = Some(Meter::new(&self.args.pid));
                self.tally.begin(now);
            }
            if now >= self.clock.end {
                break;
            }
            self.offer(now)?;
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
            self.clients[n].socket.flush()?;
        }
        Ok(())
    }

    /// In a closed loop, the first requests of every connection.
    fn fill_all(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        for n in 0..self.clients.len() {
            for _ in 0..self.args.in_flight.get() {
                self.send(n, now);
            }
            self.clients[n].socket.flush()?;
        }
        Ok(())
    }

    fn moment(&self, n: u64) -> Option<u64> {
        self.args.rate.map(|rate| (n as f64 / rate * 1e9) as u64)
    }

    fn next_due(&self) -> Option<u64> {
        self.moment(self.due)
    }

    /// In an open loop, the requests whose moment has come.
    fn offer(&mut self, now: u64) -> Result<(), Error> {
        while let Some(due) = self.next_due().filter(|&due| due <= now) {
            let n = (self.due % self.clients.len() as u64) as usize;
            self.due += 1;
            if self.clients[n].free.is_empty() {
                self.clients[n].late.push_back(due);
            } else {
                self.send(n, due);
                self.clients[n].socket.flush()?;
            }
        }
        Ok(())
    }

    /// Queues a request on connection `n`, which has room for it.
    fn send(&mut self, n: usize, due: u64) {
        let client = &mut self.clients[n];
        let Some(id) = client.free.pop() else { return };
        self.text.clear();
        let tag = self.requests.write(&mut self.text, id);
        client.socket.queue(&self.text);
        client.sent[id] = Some(Sent { due, tag });
        if self.args.any_answer {
            client.order.push_back(id);
        }
    }

    /// Takes what connection `n` brings, and follows it with what comes next.
    fn receive(&mut self, n: usize) -> Result<(), Error> {
        let client = &mut self.clients[n];
        let now = self.clock.now();
        let is_sending = now < self.clock.end;
        let mut next = 0;
        client.socket.receive(&mut self.scratch, |text| {
            let taken = take(&mut client.sent, &mut client.order, &self.requests, &mut self.tally, text, self.args);
            if let Some((id, due)) = taken {
                self.tally.record(&self.clock, now, due);
                client.free.push(id);
                next += 1;
            }
        })?;
        for _ in 0..next {
            let late = self.clients[n].late.pop_front();
            let due = if self.args.rate.is_none() { Some(now) } else { late };
            if let Some(due) = due.filter(|_| is_sending) {
                self.send(n, due);
            }
        }
        Ok(())
    }

    /// Waits for the answers that are still due. Those that do not come are errors.
    fn drain(&mut self, events: &mut Events) -> Result<(), Error> {
        let outstanding =
            |load: &Self| -> usize { load.clients.iter().map(|client| client.sent.iter().flatten().count()).sum() };
        let until = self.clock.now() + DRAIN_LIMIT;
        self.clients.iter_mut().for_each(|client| {
            // Due in the window and never sent: their times would be longer than any recorded.
            for due in client.late.drain(..) {
                self.tally.record_unsent(&self.clock, due);
            }
        });
        while outstanding(self) > 0 && self.clock.now() < until {
            self.turn(events, None)?;
        }
        for _ in 0..outstanding(self) {
            self.tally.errors.add(|| "a request stayed without an answer for 10 s".to_owned());
        }
        Ok(())
    }

    fn report(self, scenario: &'static str) -> Report {
        let seconds = self.clock.window_seconds();
        Report {
            scenario,
            connections: self.args.connections.get(),
            in_flight: self.args.in_flight.get(),
            offered_per_s: self.args.rate,
            seconds,
            answers: self.tally.answers,
            answers_per_s: self.tally.answers as f64 / seconds,
            latency: Latency::of(&self.tally.times),
            errors: self.tally.errors,
            checked: self.tally.checked,
            usage: self.usage,
            series: self.tally.series,
        }
    }
}

/// Matches a message with its request: the id that is free again, and when the request was due.
fn take<R: Requests>(
    sent: &mut [Option<Sent>],
    order: &mut VecDeque<usize>,
    requests: &R,
    tally: &mut Tally,
    text: &[u8],
    args: &LoadArgs,
) -> Option<(usize, u64)> {
    if args.any_answer {
        let id = order.pop_front()?;
        return sent[id].take().map(|sent| (id, sent.due));
    }
    match answer::read(text) {
        Some(Incoming::Result { id, result }) => {
            let Some(sent) = sent.get_mut(id).and_then(Option::take) else {
                tally.errors.add(|| format!("an answer to request {id}, which is not under way"));
                return None;
            };
            tally.seen += 1;
            if tally.seen.is_multiple_of(CHECKED_EVERY) {
                tally.checked += 1;
                if let Err(problem) = requests.check(sent.tag, result) {
                    tally.errors.add(|| problem);
                }
            }
            Some((id, sent.due))
        }
        Some(Incoming::Refused { id: Some(id) }) if id < sent.len() => {
            tally.errors.add(|| answer::refusal(text));
            sent[id].take().map(|sent| (id, sent.due))
        }
        Some(Incoming::Notification) => None,
        _ => {
            tally.errors.add(|| format!("no answer: {}", String::from_utf8_lossy(text)));
            None
        }
    }
}

impl Tally {
    fn new() -> Self {
        Tally {
            times: histogram(),
            answers: 0,
            errors: Errors::default(),
            checked: 0,
            seen: 0,
            interval: histogram(),
            interval_began: 0,
            series: Vec::new(),
        }
    }

    /// The window begins: what was counted while warming up goes, but for errors.
    fn begin(&mut self, now: u64) {
        self.times.reset();
        self.interval.reset();
        self.interval_began = now;
        self.answers = 0;
    }

    /// Counts an answer. A closed loop counts what is answered in the window, an open one what was due in it.
    fn record(&mut self, clock: &Clock, now: u64, due: u64) {
        let time = now.saturating_sub(due);
        if now < clock.end {
            self.answers += 1;
            self.times.saturating_record(time);
            self.interval.saturating_record(time);
            if now >= self.interval_began + INTERVAL && now >= clock.start {
                self.close_interval(clock, now);
            }
        } else if due >= clock.start && due < clock.end {
            self.times.saturating_record(time);
        }
    }

    fn record_unsent(&mut self, clock: &Clock, due: u64) {
        if due >= clock.start {
            self.times.saturating_record(clock.now().saturating_sub(due));
        }
    }

    fn close_interval(&mut self, clock: &Clock, now: u64) {
        let seconds = (now - self.interval_began) as f64 / 1e9;
        self.series.push(Point {
            at_ms: (now - clock.start) / 1_000_000,
            answers_per_s: self.interval.len() as f64 / seconds,
            p99_us: self.interval.value_at_quantile(0.99) as f64 / 1e3,
        });
        self.interval.reset();
        self.interval_began = now;
    }
}
