//! An event in words.

use super::history::{Event, History, Micros, Outcome, State};
use crate::cli::pretty::harmless;

/// When and what, and about which key over which connection, in two lines.
pub(super) fn explain(event: &Event, history: &History) -> [String; 2] {
    let about = |key: u32, via: String| format!("{}, {via}", harmless(&history.keys[key as usize]));
    let via = |session: u32| match history.sessions.get(session as usize) {
        Some(node) => format!("connection {session} to {}", harmless(node)),
        None => "no connection".to_owned(),
    };
    let told = |at: Micros, what: String, about: String| [format!("{}  {what}", seconds(at)), about];
    match event {
        Event::Write(write) => {
            let (number, condition) = (write.number.map(|number| number.to_string()), write.if_stamp);
            let what = match (number, write.is_repeat) {
                (None, _) => "delete".to_owned(),
                (Some(number), false) => format!("write {number}"),
                (Some(number), true) => format!("repeat the write of {number}"),
            };
            let condition = condition.map(|stamp| format!(" if at {stamp}")).unwrap_or_default();
            let what =
                format!("{what}{condition}: {}, sent at {}", outcome(&write.outcome), seconds(write.sent).trim());
            told(write.ended, what, about(write.key, write.session.map_or("by SQL".to_owned(), via)))
        }
        Event::Read(read) => {
            let named = read.min_stamp.map(|stamp| format!(" with min_stamp {stamp}")).unwrap_or_default();
            let what = format!("read{named}: {}, sent at {}", state(&read.state), seconds(read.sent).trim());
            told(read.received, what, about(read.key, via(read.session)))
        }
        Event::Subscribed(opened) => {
            let since = opened.since.map(|stamp| format!(" since {stamp}")).unwrap_or_default();
            let what = format!("subscription {}{since}", opened.subscription);
            told(opened.sent, what, about(opened.key, via(opened.session)))
        }
        Event::Pushed(pushed) => {
            let reset = if pushed.reset { ", reset" } else { "" };
            let what = format!("push on subscription {}: {}{reset}", pushed.subscription, state(&pushed.state));
            told(pushed.at, what, about(pushed.key, via(pushed.session)))
        }
        Event::Ended { subscription, at } => told(*at, format!("subscription {subscription} ended"), String::new()),
        Event::Stray { session, at, text } => told(*at, harmless(text), via(*session)),
        Event::Truth(truth) => {
            let place = if truth.by_sql { "in the database" } else { "as a node answered at the end" };
            told(truth.at, format!("final: {}", state(&truth.state)), about(truth.key, place.to_owned()))
        }
    }
}

fn seconds(at: Micros) -> String {
    format!("{:>7.3} s", at as f64 / 1e6)
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Acknowledged { stamp } => format!("acknowledged at {stamp}"),
        Outcome::Refused { reason, current: None } => format!("refused, {}", harmless(reason)),
        Outcome::Refused { reason, current: Some(stamp) } => format!("refused, {}, it is at {stamp}", harmless(reason)),
        Outcome::Unknown { reason } => format!("outcome unknown, {}", harmless(reason)),
    }
}

fn state(state: &State) -> String {
    let content = match state.content.map(|content| content.number) {
        None => "absent".to_owned(),
        Some(None) => "a value without our number".to_owned(),
        Some(Some(number)) => number.to_string(),
    };
    let age = state.stale_ms.map(|millis| format!(", {millis} ms old")).unwrap_or_default();
    format!("{content} at {}{age}", state.stamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::verify::history::{Content, Read, Write},
        record::Stamp,
    };

    #[test]
    fn events_are_told_with_moments_keys_and_connections() {
        let (keys, sessions) = (vec!["k".to_owned()], vec!["ws://a".to_owned()]);
        let history = History { keys, sessions, events: vec![] };
        let (sent, ended, if_stamp) = (1_500_000, 2_000_000, Some(Stamp::new(1, 7)));
        let outcome = Outcome::Acknowledged { stamp: Stamp::new(1, 9) };
        let write = Write { key: 0, session: None, number: Some(3), if_stamp, is_repeat: false, sent, ended, outcome };
        let told = explain(&Event::Write(write), &history);
        assert_eq!(told, ["  2.000 s  write 3 if at 1.7: acknowledged at 1.9, sent at 1.500 s", "k, by SQL"]);
        let content = Some(Content { number: Some(2), digest: None });
        let state = State { stamp: Stamp::new(1, 8), content, stale_ms: Some(40) };
        let read = Read { key: 0, session: 0, min_stamp: Some(Stamp::new(1, 9)), sent, received: ended, state };
        let told = explain(&Event::Read(read), &history);
        assert_eq!(
            told,
            ["  2.000 s  read with min_stamp 1.9: 2 at 1.8, 40 ms old, sent at 1.500 s", "k, connection 0 to ws://a"]
        );
    }
}
