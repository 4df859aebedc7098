//! The requests of a connection that are under way, and which answer is whose.

use std::collections::VecDeque;

use super::{Requests, tally::Tally};
use crate::cli::bench::answer::{self, Incoming};

/// Each has a place, whose number is its id.
pub(super) struct InFlight {
    sent: Vec<Option<Sent>>,
    free: Vec<usize>,
    /// The ids in the order sent; kept only where answers do not name their request.
    order: Option<VecDeque<usize>>,
}

#[derive(Clone, Copy)]
struct Sent {
    /// When it was due, in nanoseconds of the clock.
    due: u64,
    tag: u32,
}

impl InFlight {
    /// Places for `places` requests. Answers that are `ordered` are taken in the order of the requests and not looked at.
    pub(super) fn new(places: usize, ordered: bool) -> Self {
        let (sent, free) = (vec![None; places], (0..places).rev().collect());
        InFlight { sent, free, order: ordered.then(VecDeque::new) }
    }

    /// How many wait for their answers.
    pub(super) fn len(&self) -> usize {
        self.sent.iter().flatten().count()
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Takes a place for the request that `write` makes of its id, giving the request's tag. False when there is none.
    pub(super) fn begin(&mut self, due: u64, write: impl FnOnce(usize) -> u32) -> bool {
        let Some(id) = self.free.pop() else { return false };
        self.sent[id] = Some(Sent { due, tag: write(id) });
        if let Some(order) = &mut self.order {
            order.push_back(id);
        }
        true
    }

    /// Matches a message with its request, which ends: when that was due. What is wrong with it goes to `tally`.
    pub(super) fn end(&mut self, text: &[u8], requests: &impl Requests, tally: &mut Tally) -> Option<u64> {
        if let Some(order) = &mut self.order {
            let id = order.pop_front()?;
            return self.release(id).map(|sent| sent.due);
        }
        match answer::read(text) {
            Some(Incoming::Result { id, result }) => {
                let Some(sent) = self.release(id) else {
                    tally.errors.add(|| format!("an answer to request {id}, which is not under way"));
                    return None;
                };
                tally.sample(|| requests.check(sent.tag, result));
                Some(sent.due)
            }
            Some(Incoming::Refused { id: Some(id) }) if id < self.sent.len() => {
                tally.errors.add(|| answer::refusal(text));
                self.release(id).map(|sent| sent.due)
            }
            Some(Incoming::Notification) => None,
            _ => {
                tally.errors.add(|| format!("no answer: {}", String::from_utf8_lossy(text)));
                None
            }
        }
    }

    /// Makes the place of request `id` free, if one is under way there.
    fn release(&mut self, id: usize) -> Option<Sent> {
        let sent = self.sent.get_mut(id)?.take()?;
        self.free.push(id);
        Some(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct AnyRequests;

    impl Requests for AnyRequests {
        fn write(&mut self, _: &mut Vec<u8>, _: usize) -> u32 {
            0
        }

        fn check(&self, _: u32, _: &[u8]) -> Result<(), String> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_ends_the_request_it_names_and_no_other() {
        let (mut in_flight, mut tally) = (InFlight::new(2, false), Tally::new(false, 0));
        assert!(in_flight.begin(10, |id| id as u32) && in_flight.begin(20, |id| id as u32));
        assert!(in_flight.is_full() && !in_flight.begin(30, |id| id as u32));
        let mut end = |text: &str| {
            let due = in_flight.end(text.as_bytes(), &AnyRequests, &mut tally);
            (due, in_flight.len(), tally.errors.count)
        };
        assert_eq!(end(r#"{"jsonrpc":"2.0","method":"freshet_subscription","params":{}}"#), (None, 2, 0));
        assert_eq!(end(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), (Some(20), 1, 0));
        assert_eq!(end(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), (None, 1, 1));
        assert_eq!(end(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), (None, 1, 2));
        assert_eq!(end(r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32010}}"#), (Some(10), 0, 3));
        assert_eq!(end("nonsense"), (None, 0, 4));
    }

    #[test]
    fn ordered_answers_end_requests_in_their_order() {
        let (mut in_flight, mut tally) = (InFlight::new(2, true), Tally::new(false, 0));
        assert!(in_flight.begin(10, |id| id as u32) && in_flight.begin(20, |id| id as u32));
        let mut end = || in_flight.end(b"hello", &AnyRequests, &mut tally);
        assert_eq!([end(), end(), end()], [Some(10), Some(20), None]);
        assert_eq!(tally.errors.count, 0);
    }
}
