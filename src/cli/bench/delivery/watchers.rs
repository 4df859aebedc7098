//! The sockets that watch, and the newest state that each has seen.

use memchr::memmem::Finder;
use mio::{Registry, Token};

use crate::cli::bench::{Error, answer, report::Errors, socket::Socket, target::Target};

/// What a push begins with.
const PUSH: &[u8] = br#"{"jsonrpc":"2.0","method":"freshet_subscription""#;

/// Watcher `n` is of key `n % keys` and has the token `n`.
pub(super) struct Watchers {
    watchers: Vec<Watcher>,
    /// What each key's `stock` was before the first write.
    bases: Vec<u64>,
    stock: Finder<'static>,
}

struct Watcher {
    socket: Socket,
    /// The number of the newest state seen; the snapshot's at first.
    last: Option<u64>,
}

/// What a watcher got.
pub(super) struct Received {
    pub(super) frames: u64,
    /// The write, by its place among all, that its newest state shows.
    pub(super) shown: Option<usize>,
}

impl Watchers {
    /// Opens `count` sockets and subscribes them to `keys` in turns.
    pub(super) fn open(
        target: &Target,
        registry: &Registry,
        collection: &str,
        keys: &[String],
        count: usize,
    ) -> Result<Self, Error> {
        let open = |n| {
            let mut socket = Socket::open(target)?;
            socket.register(registry, Token(n))?;
            socket.queue(subscribe(collection, &keys[n % keys.len()]).as_bytes());
            socket.flush()?;
            Ok(Watcher { socket, last: None })
        };
        let watchers = (0..count).map(open).collect::<Result<_, Error>>()?;
        Ok(Watchers { watchers, bases: vec![0; keys.len()], stock: Finder::new("\"stock\":") })
    }

    pub(super) fn len(&self) -> usize {
        self.watchers.len()
    }

    /// How many watch key number `key`.
    pub(super) fn of_key(&self, key: usize) -> usize {
        self.share(self.len(), key)
    }

    /// How many got no snapshot yet.
    pub(super) fn without_snapshot(&self) -> usize {
        self.watchers.iter().filter(|watcher| watcher.last.is_none()).count()
    }

    /// Counts writes from what the snapshots show.
    pub(super) fn begin(&mut self) {
        let keys = self.bases.len();
        for (n, watcher) in self.watchers.iter().enumerate() {
            let base = &mut self.bases[n % keys];
            *base = watcher.last.unwrap_or_default().max(*base);
        }
    }

    /// Takes what watcher `n` got. The newest state of a read is looked into; those before it are counted.
    pub(super) fn receive(&mut self, n: usize, scratch: &mut Vec<u8>, errors: &mut Errors) -> Result<Received, Error> {
        let (mut frames, mut newest) = (0, None);
        let socket = &mut self.watchers[n].socket;
        socket.receive(scratch, |text| {
            if text.starts_with(PUSH) {
                frames += 1;
                newest = self.stock.find(text).and_then(|at| answer::number(&text[at + 8..]));
            } else if !text.starts_with(br#"{"jsonrpc":"2.0","id":1,"result":"#) {
                errors.add(|| format!("a watcher got {}", String::from_utf8_lossy(text)));
            }
        })?;
        socket.flush()?;
        if newest.is_none() && frames > 0 {
            errors.add(|| "a pushed state without a number \"stock\"".to_owned());
        }
        Ok(Received { frames, shown: newest.and_then(|number| self.saw(n, number as u64, errors)) })
    }

    /// Notes a state; the write that it shows, unless it is the snapshot.
    fn saw(&mut self, n: usize, number: u64, errors: &mut Errors) -> Option<usize> {
        let last = self.watchers[n].last.replace(number)?;
        if last >= number {
            errors.add(|| format!("a watcher got state {number} after {last}"));
        }
        let (keys, key) = (self.bases.len(), n % self.bases.len());
        let nth = number.checked_sub(self.bases[key] + 1)?;
        Some(nth as usize * keys + key)
    }

    /// How many have not seen the last state of what they watch, after so many `writes`.
    pub(super) fn behind(&self, writes: usize) -> usize {
        let last = |key: usize| self.bases[key] + self.share(writes, key) as u64;
        let watchers = self.watchers.iter().enumerate();
        watchers.filter(|(n, watcher)| watcher.last != Some(last(n % self.bases.len()))).count()
    }

    /// How many of `count` fall to `key` when the keys take turns.
    fn share(&self, count: usize, key: usize) -> usize {
        let keys = self.bases.len();
        (count + keys - 1 - key) / keys
    }
}

/// Asks for every state of a record.
pub(in crate::cli::bench) fn subscribe(collection: &str, key: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{{"collection":"{collection}","key":"{key}"}}}}"#)
}
