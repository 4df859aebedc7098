//! The reading half of a [`Session`]: answers to their callers, states to their subscriptions.

use std::time::Duration;

use futures_util::{StreamExt, stream::SplitStream};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::{
    Error,
    connection::Socket,
    incoming::{self, Incoming},
    pending::{Call, Kind},
    session::{End, Session},
};
use freshet_wire::protocol::CloseCode;

/// How long to leave a subscription alone that the server refused for now and gave no time for.
const RETRY_WAIT: Duration = Duration::from_secs(1);

impl Session<'_> {
    /// Reads until the server has closed, or breaks the protocol.
    pub(super) async fn read(&self, mut stream: SplitStream<Socket>) -> End {
        let mut end = End::Lost("the server closed the connection without a word".into());
        // Until `None`, also after a close frame: only then is the close clean.
        while let Some(message) = stream.next().await {
            self.news.lock().heard = Instant::now();
            let handled = match message {
                Ok(Message::Text(text)) => self.handle(&text).map_err(|error| error.to_string()),
                Ok(Message::Close(frame)) => {
                    end = closed(frame.as_ref());
                    Ok(())
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(reason) = handled {
                return End::Lost(reason);
            }
        }
        end
    }

    fn handle(&self, text: &str) -> Result<(), serde_json::Error> {
        match incoming::read(text)? {
            Incoming::Answer(id, answer) => {
                let call = self.pending.lock().take(id);
                if let Some(call) = call {
                    self.answered(call, answer);
                }
            }
            Incoming::State(id, record) => {
                self.shared.pushed(&id, &record);
            }
            Incoming::Freshness(told) => self.shared.told(&told),
            Incoming::Drain(wait) => {
                self.news.lock().drain_at = Some(Instant::now() + wait);
                (self.on_drain)(wait);
                self.shared.nudge.notify_one();
            }
            Incoming::Other => {}
        }
        Ok(())
    }

    fn answered(&self, call: Call, answer: Result<Box<RawValue>, Error>) {
        match (call.kind, &answer) {
            (Kind::Subscribe(number), Ok(id)) => {
                // A server may choose numbers for ids; they come back as they are.
                let id = serde_json::from_str(id.get()).unwrap_or_else(|_| id.get().to_owned());
                self.shared.confirmed(number, id);
            }
            (Kind::Subscribe(number), Err(error)) => self.not_subscribed(number, error),
            _ => call.answer(answer),
        }
    }

    fn not_subscribed(&self, number: u64, error: &Error) {
        let refusal = error.refusal().cloned();
        if !error.is_retryable() {
            return self.shared.refused(number, refusal);
        }
        let wait = refusal.and_then(|refusal| refusal.retry_after).unwrap_or(RETRY_WAIT);
        self.shared.postponed(number);
        self.news.lock().later.push((Instant::now() + wait, number));
        self.shared.nudge.notify_one();
    }
}

/// What a close frame means for coming back.
fn closed(frame: Option<&CloseFrame>) -> End {
    let Some(frame) = frame else {
        return End::Lost("the server closed the connection".into());
    };
    let number = u16::from(frame.code);
    let reason = format!("the server closed the connection: {number} {}", frame.reason);
    match (CloseCode::from_number(number), number) {
        (Some(CloseCode::TooBig), _) => End::TooLarge(reason),
        // It tells of a client that was away, which coming back mends.
        (Some(CloseCode::HeartbeatMissed), _) => End::Lost(reason),
        (_, 4400..=4499) => End::Refused(reason),
        _ => End::Lost(reason),
    }
}
