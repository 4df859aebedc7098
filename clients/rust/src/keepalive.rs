//! Whether the server still lives.

use std::time::Duration;

use tokio::time::Instant;

use super::Options;

/// The least time for anything here, whatever the options say.
const LEAST: Duration = Duration::from_millis(10);

/// Asks for a sign of life after a silence, and gives the connection up when none comes.
#[derive(Debug)]
pub(super) struct Keepalive {
    interval: Duration,
    timeout: Duration,
    asked: Option<Instant>,
}

/// What to do about a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing: something was heard.
    Nothing,
    /// Ask for a sign of life.
    Ping,
    /// Leave.
    Close,
}

impl Keepalive {
    pub(super) fn new(options: &Options) -> Self {
        Keepalive { interval: options.heartbeat.max(LEAST), timeout: options.heartbeat_timeout.max(LEAST), asked: None }
    }

    /// When to look again, if nothing is heard after `heard`.
    pub(super) fn due(&self, heard: Instant) -> Instant {
        match self.asked.filter(|&asked| heard < asked) {
            Some(asked) => asked + self.timeout,
            None => heard + self.interval,
        }
    }

    /// Looks: the server was last heard at `heard`.
    pub(super) fn take(&mut self, heard: Instant) -> Due {
        let is_asked = self.asked.is_some_and(|asked| heard < asked);
        match (Instant::now() >= self.due(heard), is_asked) {
            (false, _) => Due::Nothing,
            (true, true) => Due::Close,
            (true, false) => {
                self.asked = Some(Instant::now());
                Due::Ping
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_about_and_then_ends_the_connection() {
        let mut keepalive = Keepalive::new(&Options::new());
        let heard = Instant::now();
        assert_eq!(keepalive.due(heard), heard + Duration::from_secs(15));
        advance(Duration::from_secs(15)).await;
        assert_eq!(keepalive.take(heard), Due::Ping);
        assert_eq!(keepalive.take(heard), Due::Nothing, "asked once");
        advance(Duration::from_secs(9)).await;
        let answered = Instant::now();
        advance(Duration::from_secs(2)).await;
        assert_eq!(keepalive.take(answered), Due::Nothing);
        advance(Duration::from_secs(13)).await;
        assert_eq!(keepalive.take(answered), Due::Ping);
        advance(Duration::from_secs(10)).await;
        assert_eq!(keepalive.take(answered), Due::Close);
    }
}
