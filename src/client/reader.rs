//! The reading half of a [`Session`]: answers to their callers, states to their subscriptions.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream::SplitStream};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

use super::{
    Error, Refusal,
    connection::Socket,
    incoming::{self, Incoming},
    pending::{Call, Kind},
    session::{End, Session},
    subscription::Watch,
};
use crate::protocol::CloseCode;

/// How long to leave a subscription alone that the server could not resume and gave no time for.
const RESUME_WAIT: Duration = Duration::from_secs(1);

/// The subscriptions of this connection by the server's ids.
type Routes = HashMap<String, Arc<Watch>>;

impl Session<'_> {
    /// Reads until the server has closed, or breaks the protocol.
    pub(super) async fn read(&self, mut stream: SplitStream<Socket>) -> End {
        let mut routes = Routes::new();
        let mut end = End::Lost("the server closed the connection without a word".into());
        // Until `None`, also after a close frame: only then is the close clean.
        while let Some(message) = stream.next().await {
            self.news.lock().heard = Instant::now();
            let handled = match message {
                Ok(Message::Text(text)) => self.handle(&text, &mut routes).map_err(|error| error.to_string()),
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

    fn handle(&self, text: &str, routes: &mut Routes) -> Result<(), serde_json::Error> {
        match incoming::read(text)? {
            Incoming::Answer(id, answer) => {
                let call = self.pending.lock().take(id);
                if let Some(call) = call {
                    self.answered(call, answer, routes);
                }
            }
            Incoming::State(id, record) => {
                if let Some(watch) = routes.get(&id) {
                    watch.deliver(*record);
                }
            }
            Incoming::Drain(wait) => {
                self.news.lock().drain_at = Some(Instant::now() + wait);
                (self.on_drain)(wait);
                self.shared.nudge.notify_one();
            }
            Incoming::Other => {}
        }
        Ok(())
    }

    fn answered(&self, call: Call, answer: Result<Box<RawValue>, Error>, routes: &mut Routes) {
        if let Kind::Subscribe(number) = call.kind {
            match &answer {
                Ok(id) => self.subscribed(number, id.get(), routes),
                Err(error) if !call.is_asked() => self.not_resumed(number, error),
                Err(_) => {}
            }
        }
        call.answer(answer);
    }

    fn subscribed(&self, number: u64, id: &str, routes: &mut Routes) {
        // A server may choose numbers for ids; they come back as they are.
        let id = serde_json::from_str(id).unwrap_or_else(|_| id.to_owned());
        routes.retain(|_, watch| watch.server_id().is_some());
        match self.shared.watch(number) {
            Some(watch) => {
                watch.confirm(id.clone());
                routes.insert(id, watch);
            }
            // Dropped while the answer was on its way.
            None => self.shared.forget_on_server(id),
        }
    }

    fn not_resumed(&self, number: u64, error: &Error) {
        let refusal = error.refusal().cloned();
        if !error.is_retryable() {
            return self.shared.end(number, refusal);
        }
        let wait = refusal.and_then(|refusal: Refusal| refusal.retry_after).unwrap_or(RESUME_WAIT);
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
    match CloseCode::from_number(number) {
        Some(CloseCode::TokenExpired) => End::Refused(reason),
        _ => End::Lost(reason),
    }
}
