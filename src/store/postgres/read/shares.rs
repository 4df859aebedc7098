//! Who may have how many of the connections that all collections share.
//!
//! A collection has at most one statement under way for each shard and purpose, but it has many shards: were its statements
//! slow, they would soon hold every connection. So one that holds some gets another only while more are free in proportion,
//! and what becomes free goes to the collection that holds the fewest. Of 9 connections one collection has at most 6, two
//! busy ones leave 2 free once what one took alone has come back, and a collection that holds none waits for one statement to
//! end at most, however many others wait. Of 6 one would have 4, which took 15 % of its misses with 16 and 256 in flight on
//! two cores (measured as in [`pool`](crate::store::postgres::pool)); so there are 9 by default, of which a single collection opens 6.
//!
//! # Source
//! A. K. Choudhury, E. L. Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches" (IEEE/ACM Transactions
//! on Networking 6(2), 1998): who is admitted is compared with what is free, so that some room is always left for newcomers.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{resilience::Deadline, store::Error};

/// A user may hold so many times what is left free beside it.
const FREE_FACTOR: usize = 2;

/// A number of equal things, shared by users with numbers from 0 on. Cheap to clone.
#[derive(Clone)]
pub struct Shares(Arc<Mutex<State>>);

struct State {
    free: usize,
    users: Vec<User>,
    /// Counts what was given out.
    given: u64,
}

#[derive(Default)]
struct User {
    held: usize,
    /// When it was last given one, as [`State::given`] counts.
    last: u64,
    waiting: VecDeque<oneshot::Sender<Share>>,
}

/// The right to one of them, until it is dropped.
pub struct Share {
    shares: Shares,
    user: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.release(self.user);
    }
}

impl Shares {
    /// `total` of them, at least one, for so many `users`.
    pub fn new(total: usize, users: usize) -> Self {
        let users = std::iter::repeat_with(User::default).take(users).collect();
        Shares(Arc::new(Mutex::new(State { free: total.max(1), users, given: 0 })))
    }

    /// Waits for a share.
    ///
    /// # Errors
    /// [`Error::Deadline`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the queue up.
    pub async fn acquire(&self, user: usize, deadline: Deadline) -> Result<Share, Error> {
        match self.take_or_wait(user) {
            Ok(share) => Ok(share),
            Err(granted) => {
                let granted = deadline.limit(granted).await.map_err(|_| Error::Deadline)?;
                granted.map_err(|_| Error::broken("wait for a connection"))
            }
        }
    }

    fn take_or_wait(&self, user: usize) -> Result<Share, oneshot::Receiver<Share>> {
        let mut state = self.0.lock();
        if state.users[user].waiting.is_empty() && state.may_take(user) {
            state.take(user);
            return Ok(Share { shares: self.clone(), user });
        }
        let (grant, granted) = oneshot::channel();
        state.users[user].waiting.push_back(grant);
        Err(granted)
    }

    fn release(&self, user: usize) {
        let mut granted = Vec::new();
        let mut state = self.0.lock();
        state.users[user].held -= 1;
        state.free += 1;
        while let Some((user, grant)) = state.next() {
            granted.push((user, grant));
        }
        drop(state);
        // A share that is refused, as its caller has gone, is dropped and goes to the next: not under the lock.
        for (user, grant) in granted {
            drop(grant.send(Share { shares: self.clone(), user }));
        }
    }
}

impl State {
    fn may_take(&self, user: usize) -> bool {
        let held = self.users[user].held;
        self.free > 0 && (held == 0 || held < FREE_FACTOR * (self.free - 1))
    }

    fn take(&mut self, user: usize) {
        self.free -= 1;
        self.given += 1;
        (self.users[user].held, self.users[user].last) = (self.users[user].held + 1, self.given);
    }

    /// Takes a share for the one whose turn it is: of those that may have one, who holds the fewest and waits longest.
    fn next(&mut self) -> Option<(usize, oneshot::Sender<Share>)> {
        if self.free == 0 {
            return None;
        }
        for user in &mut self.users {
            while user.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                user.waiting.pop_front();
            }
        }
        let waiting = (0..self.users.len()).filter(|&user| !self.users[user].waiting.is_empty() && self.may_take(user));
        let next = waiting.min_by_key(|&user| (self.users[user].held, self.users[user].last))?;
        let grant = self.users[next].waiting.pop_front()?;
        self.take(next);
        Some((next, grant))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    impl Shares {
        fn try_take(&self, user: usize) -> Option<Share> {
            self.take_or_wait(user).ok()
        }

        fn take_all(&self, user: usize) -> Vec<Share> {
            std::iter::from_fn(|| self.try_take(user)).collect()
        }
    }

    #[test]
    fn one_user_leaves_room_for_others_and_two_leave_room_for_a_third() {
        for (total, alone) in [(1, 1), (2, 1), (3, 2), (6, 4), (8, 5), (9, 6), (12, 8)] {
            assert_eq!(Shares::new(total, 2).take_all(0).len(), alone, "of {total}");
        }
        let shares = Shares::new(6, 4);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            first.extend(shares.try_take(0));
            second.extend(shares.try_take(1));
        }
        assert_eq!((first.len(), second.len()), (2, 2));
        assert_eq!(shares.take_all(2).len(), 1);
        assert_eq!(shares.take_all(3).len(), 1, "whoever holds none may have the last");
    }

    #[tokio::test(start_paused = true)]
    async fn what_becomes_free_goes_to_the_user_that_holds_the_fewest() {
        let (shares, deadline) = (Shares::new(3, 3), Deadline::after(Duration::from_secs(1)));
        let mut first = shares.take_all(0);
        let second = shares.try_take(1).expect("one is left");
        let (greedy, newcomer) = (shares.take_or_wait(0), shares.take_or_wait(2));
        first.pop();
        let newcomer = newcomer.err().expect("none was free").try_recv().expect("it holds none");
        assert!(greedy.err().expect("none was free").try_recv().is_err());
        drop((first, second, newcomer));
        assert!(shares.acquire(0, deadline).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_wait_for_the_only_one_each_has_its_turn() {
        let shares = Shares::new(1, 2);
        let mut held = shares.try_take(0);
        let mut waiting: Vec<_> = [0, 0, 1, 1].map(|user| (user, shares.take_or_wait(user).err())).into();
        let mut order = Vec::new();
        while held.take().is_some() {
            let granted =
                waiting.iter_mut().find_map(|(user, granted)| Some((*user, granted.as_mut()?.try_recv().ok()?)));
            if let Some((user, share)) = granted {
                order.push(user);
                held = Some(share);
            }
        }
        assert_eq!(order, [1, 0, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_has_gone_costs_no_share() {
        let shares = Shares::new(1, 1);
        let held = shares.try_take(0).expect("the only one");
        let gone = shares.acquire(0, Deadline::after(Duration::from_millis(5))).await;
        assert!(matches!(gone, Err(Error::Deadline)));
        let late = shares.take_or_wait(0).err().expect("none is free");
        drop(held);
        // Granted, and dropped without being looked at.
        drop(late);
        assert!(shares.try_take(0).is_some());
    }
}
