//! Gets at a steady rate on a connection of their own: what a delivery costs those who only read.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use mio::{Registry, Token};

use crate::cli::bench::{
    Error, answer,
    clock::{self, Clock},
    report::{Errors, histogram},
    socket::Socket,
    target::Target,
};

pub(super) struct Probe {
    socket: Socket,
    /// The request.
    get: String,
    rate: f64,
    made: u64,
    /// When each get under way was due, and whether a change was on its way then.
    under_way: VecDeque<(u64, bool)>,
    pub(super) busy: Histogram<u64>,
    pub(super) quiet: Histogram<u64>,
}

impl Probe {
    /// Opens a connection for `rate` gets a second.
    pub(super) fn open(
        target: &Target,
        registry: &Registry,
        token: Token,
        rate: f64,
        collection: &str,
        key: &str,
    ) -> Result<Self, Error> {
        let mut socket = Socket::open(target)?;
        socket.register(registry, token)?;
        let get = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"get","params":{{"collection":"{collection}","key":"{key}"}}}}"#
        );
        let under_way = VecDeque::new();
        Ok(Probe { socket, get, rate, made: 0, under_way, busy: histogram(), quiet: histogram() })
    }

    pub(super) fn next_due(&self) -> u64 {
        clock::moment(self.made, self.rate)
    }

    /// Sends the gets that are due and times the answers that have come.
    pub(super) fn turn(
        &mut self,
        clock: &Clock,
        is_busy: bool,
        scratch: &mut Vec<u8>,
        errors: &mut Errors,
    ) -> Result<(), Error> {
        while self.next_due() <= clock.now().min(clock.end) {
            self.under_way.push_back((self.next_due(), is_busy));
            self.made += 1;
            self.socket.queue(self.get.as_bytes());
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
