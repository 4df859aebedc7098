//! One connection's life: what leaves and what arrives, noted in the order of the wire.

use std::{collections::HashMap, time::Duration};

use serde_json::{Value, json, value::RawValue};
use tokio::sync::{mpsc, oneshot};

use super::{
    history::{Event, Micros, Pushed},
    link::{Answered, Call, Command, Failure},
    plan::Plan,
    watch::Group,
};
use crate::{
    client::{
        self, Record,
        raw::{Heard, Incoming, Raw},
    },
    record::Stamp,
};

/// How a session ended.
pub(super) struct End {
    pub(super) reason: String,
    /// When the node asked to be asked again.
    pub(super) come_back: Option<Duration>,
}

/// A connection at work.
pub(super) struct Session<'a> {
    plan: &'a Plan,
    number: u32,
    raw: Raw,
    groups: &'a mut [Group],
    pending: HashMap<u64, Pending>,
    /// The group of each subscription that was granted, with its number; ended ones stay, for what comes late.
    granted: HashMap<String, (usize, u32)>,
    next_id: u64,
    come_back: Option<Duration>,
}

/// What an answer is for.
enum Pending {
    Call { answer: oneshot::Sender<Answered>, sent: Micros },
    Subscribe { group: usize, subscription: u32 },
    Unsubscribe,
}

impl<'a> Session<'a> {
    pub(super) fn new(plan: &'a Plan, number: u32, raw: Raw, groups: &'a mut [Group]) -> Self {
        let (pending, granted) = (HashMap::new(), HashMap::new());
        Session { plan, number, raw, groups, pending, granted, next_id: 1, come_back: None }
    }

    /// Resumes the subscriptions and serves `commands` until the connection ends.
    pub(super) async fn run(mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        let reason = match self.serve(commands).await {
            Ok(never) => match never {},
            Err(reason) => reason,
        };
        self.give_up(&reason);
        End { reason, come_back: self.come_back }
    }

    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<std::convert::Infallible, String> {
        for group in 0..self.groups.len() {
            self.subscribe(group, true).await?;
        }
        loop {
            tokio::select! {
                heard = self.raw.next() => self.hear(heard)?,
                command = commands.recv() => match command {
                    Some(Command::Call(call)) => self.call(call).await?,
                    Some(Command::Renew { group, resumes }) => self.renew(group, resumes).await?,
                    None => return Err("the run is over".to_owned()),
                },
            }
        }
    }

    async fn call(&mut self, call: Call) -> Result<(), String> {
        let Call { method, params, answer } = call;
        // Its caller has given up, and counts on it not being carried out later.
        if answer.is_closed() {
            return Ok(());
        }
        let sent = self.plan.recorder.now();
        self.send(method, &params, Pending::Call { answer, sent }).await
    }

    async fn send(&mut self, method: &str, params: &Value, pending: Pending) -> Result<(), String> {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, pending);
        let text = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        self.raw.send(text).await
    }

    async fn renew(&mut self, group: usize, resumes: bool) -> Result<(), String> {
        match (self.groups[group].id.take(), self.groups[group].subscription) {
            // It is being granted.
            (None, Some(_)) => return Ok(()),
            // It was refused.
            (None, None) => {}
            (Some(id), _) => {
                self.end(group);
                self.send("unsubscribe", &json!({"id": id}), Pending::Unsubscribe).await?;
            }
        }
        self.subscribe(group, resumes).await
    }

    async fn subscribe(&mut self, group: usize, resumes: bool) -> Result<(), String> {
        let place = group;
        let group = &mut self.groups[place];
        // `since` is the highest stamp that is known; an absence at version 0 has none.
        let since = |(key, known): &(u32, Option<Stamp>)| (*key, known.filter(|stamp| resumes && stamp.version > 0));
        let keys: Vec<_> = group.keys.iter().map(since).collect();
        let subscription = self.plan.recorder.subscribe(self.number, &keys);
        group.subscription = Some(subscription);
        let params = self.plan.subscription(&keys);
        self.send("subscribe", &params, Pending::Subscribe { group: place, subscription }).await
    }

    /// The group's subscription counts no more.
    fn end(&mut self, group: usize) {
        let group = &mut self.groups[group];
        group.id = None;
        if let Some(subscription) = group.subscription.take() {
            self.plan.recorder.end(subscription);
        }
    }

    /// The connection is over: what is unanswered stays so.
    fn give_up(&mut self, reason: &str) {
        for group in 0..self.groups.len() {
            self.end(group);
        }
        let ended = self.plan.recorder.now();
        for pending in std::mem::take(&mut self.pending).into_values() {
            if let Pending::Call { answer, sent } = pending {
                let result = Err(Failure::Lost(reason.to_owned()));
                // A caller whose time is over does not listen any more.
                let _ = answer.send(Answered { session: self.number, sent, ended, result });
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<(), String> {
        match heard {
            Heard::Message(Incoming::Answer(id, result)) => self.answered(id, result),
            Heard::Message(Incoming::State(id, record)) => self.pushed(&id, &record),
            Heard::Message(Incoming::Drain(wait)) => {
                self.come_back = Some(wait);
                self.plan.recorder.disturb(|disturbances| disturbances.drains += 1);
            }
            // It is told of what may be missing, which the ages of answers say as well.
            Heard::Message(Incoming::Freshness(_)) => {}
            Heard::Message(other) => self.stray(format!("{other:?}")),
            Heard::Unreadable(text) => self.stray(text),
            Heard::Ended(reason) => return Err(reason),
        }
        Ok(())
    }

    fn answered(&mut self, id: u64, result: Result<Box<RawValue>, client::Error>) {
        let ended = self.plan.recorder.now();
        match self.pending.remove(&id) {
            Some(Pending::Call { answer, sent }) => {
                let result = result.map_err(|error| match error {
                    client::Error::Rpc(refusal) => Failure::Refused(refusal),
                    other => Failure::Lost(other.to_string()),
                });
                let _ = answer.send(Answered { session: self.number, sent, ended, result });
            }
            Some(Pending::Subscribe { group, subscription }) => self.granted(group, subscription, result),
            Some(Pending::Unsubscribe) => {}
            None => self.stray(format!("an answer to request {id}, which is not awaited: {result:?}")),
        }
    }

    fn granted(&mut self, group: usize, subscription: u32, result: Result<Box<RawValue>, client::Error>) {
        let id = result.ok().and_then(|id| serde_json::from_str::<String>(id.get()).ok());
        match id {
            Some(id) => {
                self.granted.insert(id.clone(), (group, subscription));
                self.groups[group].id = Some(id);
            }
            None => {
                self.plan.recorder.disturb(|disturbances| {
                    *disturbances.refusals.entry("subscribe".to_owned()).or_default() += 1;
                });
                self.end(group);
            }
        }
    }

    fn pushed(&mut self, id: &str, record: &Record) {
        let at = self.plan.recorder.now();
        let key = self.plan.place(&record.key);
        let (Some(&(group, subscription)), Some(key)) = (self.granted.get(id), key) else {
            return self.stray(format!("a push of {} for the subscription {id}", record.key));
        };
        let state = self.plan.state(record);
        if !self.groups[group].knows(key, state.stamp) {
            return self.stray(format!("a push of {}, which the subscription {id} does not watch", record.key));
        }
        let (session, reset) = (self.number, record.reset);
        self.plan.recorder.push(Pushed { subscription, key, session, at, reset, state });
    }

    fn stray(&self, text: String) {
        self.plan.recorder.event(Event::Stray { session: self.number, at: self.plan.recorder.now(), text });
    }
}
