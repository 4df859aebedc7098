//! `freshet top`: what nodes are doing, live.
//!
//! Promises: rates are those of the last second; a node that goes away is shown as away, with the reason, and is taken
//! up again when it comes back; what two minutes held is kept meanwhile. On a terminal it is a picture, elsewhere a line
//! a second for each node.

mod databases;
mod feed;
mod node;
mod overview;
mod picture;
mod report;
mod snapshot;
mod tiles;

use std::{
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use ratatui::crossterm::event::KeyCode;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use self::{
    feed::Update,
    node::Node,
    picture::{Picture, View},
    report::Report,
};
use super::{
    Error, Format, Output,
    node::stop_on_signal,
    operations::Address,
    screen::{Input, Screen},
};

/// News that wait to be taken in; when full, the nodes' streams wait.
const NEWS_AHEAD: usize = 64;

/// Whom to look at.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet top                                    the node on this machine
  freshet top http://web1:8081 http://web2:8081  several nodes: a row each, and a tab each
  freshet top --once --format json | jq .        one second's figures for a program

Keys: q leaves, p pauses, the arrows or 1-9 choose a node, 0 shows all of them.
Without a terminal it prints a line a second for each node.")]
pub struct Args {
    /// The operations listeners of nodes (their --operations, never the address clients use).
    #[arg(
        value_name = "NODE",
        env = "FRESHET_OPERATIONS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:8081"
    )]
    nodes: Vec<Address>,
    /// Print one second of each node and leave; exit code 69 when a node cannot be reached.
    #[arg(long)]
    once: bool,
}

/// Shows the nodes until told to leave.
///
/// # Errors
/// [`Error::Away`] naming the nodes that one look did not reach; [`Error::Output`] when the terminal fails.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let (sender, mut news) = mpsc::channel(NEWS_AHEAD);
    for (number, address) in args.nodes.iter().enumerate() {
        tokio::spawn(feed::follow(number, address.clone(), sender.clone()));
    }
    drop(sender);
    let nodes: Vec<Node> = args.nodes.into_iter().map(Node::new).collect();
    let draws = output.format() == Format::Human && std::io::stdout().is_terminal();
    match (args.once, draws) {
        (true, _) => once(nodes, &mut news, output).await,
        (false, true) => watch(Top::new(nodes), &mut news, output).await,
        (false, false) => print(nodes, &mut news, output).await,
    }
}

/// Prints each node's first second.
async fn once(mut nodes: Vec<Node>, news: &mut mpsc::Receiver<Update>, output: &mut Output) -> Result<(), Error> {
    let mut told = vec![false; nodes.len()];
    let mut away = Vec::new();
    while told.contains(&false) {
        let Some((number, heard)) = news.recv().await else { break };
        nodes[number].hear(heard, Instant::now());
        let Some(report) = Report::of(&nodes[number]).filter(|_| !told[number]) else { continue };
        output.summary(&report, &report.text())?;
        told[number] = true;
        away.extend(report.reason().map(|_| nodes[number].address.to_string()));
    }
    if away.is_empty() { Ok(()) } else { Err(Error::Away(away.join(", "))) }
}

/// Prints every second of every node, and each loss once.
async fn print(mut nodes: Vec<Node>, news: &mut mpsc::Receiver<Update>, output: &mut Output) -> Result<(), Error> {
    let stop = stop_on_signal()?;
    let mut reasons = vec![None; nodes.len()];
    while let Some(Some((number, heard))) = stop.run_until_cancelled(news.recv()).await {
        nodes[number].hear(heard, Instant::now());
        let Some(report) = Report::of(&nodes[number]) else { continue };
        let reason = report.reason().map(str::to_owned);
        if reason.is_none() || reason != reasons[number] {
            output.summary(&report, &report.text())?;
        }
        reasons[number] = reason;
    }
    Ok(())
}

async fn watch(mut top: Top, news: &mut mpsc::Receiver<Update>, output: &Output) -> Result<(), Error> {
    let stop = stop_on_signal()?;
    let mut screen = Screen::open()?;
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let palette = output.palette();
        let now = Instant::now();
        let picture = Picture { nodes: top.shown(), view: top.view, paused: top.frozen.is_some(), palette, now };
        screen.draw(|frame| picture.draw(frame))?;
        tokio::select! {
            Some((number, heard)) = news.recv() => top.nodes[number].hear(heard, Instant::now()),
            _ = ticks.tick() => top.nodes.iter_mut().for_each(Node::tick),
            input = screen.input() => match input {
                Input::Leave => return Ok(()),
                Input::Key(key) => top.press(key),
                Input::Resize => {}
            },
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// What the screen shows, and what the keys have made of it.
struct Top {
    nodes: Vec<Node>,
    view: View,
    /// The nodes as they stood when the picture was paused.
    frozen: Option<Vec<Node>>,
}

impl Top {
    fn new(nodes: Vec<Node>) -> Self {
        let view = if nodes.len() > 1 { View::All } else { View::One(0) };
        Top { nodes, view, frozen: None }
    }

    fn shown(&self) -> &[Node] {
        self.frozen.as_deref().unwrap_or(&self.nodes)
    }

    fn press(&mut self, key: KeyCode) {
        match key {
            KeyCode::Char('p' | ' ') => {
                self.frozen = if self.frozen.is_none() { Some(self.nodes.clone()) } else { None };
            }
            KeyCode::Right | KeyCode::Tab | KeyCode::Char('l') => self.turn(1),
            KeyCode::Left | KeyCode::BackTab | KeyCode::Char('h') => self.turn(self.pages() - 1),
            KeyCode::Char(digit) => {
                let Some(number) = digit.to_digit(10).map(|digit| digit as usize) else { return };
                match number.checked_sub(1) {
                    None if self.nodes.len() > 1 => self.view = View::All,
                    Some(at) if at < self.nodes.len() => self.view = View::One(at),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Every node's page and, where there are several, the one of all.
    fn pages(&self) -> usize {
        self.nodes.len() + usize::from(self.nodes.len() > 1)
    }

    /// Goes `by` pages on.
    fn turn(&mut self, by: usize) {
        let all = self.pages() - self.nodes.len();
        let page = match self.view {
            View::All => 0,
            View::One(number) => number + all,
        };
        self.view = match ((page + by) % self.pages()).checked_sub(all) {
            None => View::All,
            Some(number) => View::One(number),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(nodes: usize) -> Top {
        Top::new((1..=nodes).map(|port| node::tests::busy(&format!("a:{port}"), 2)).collect())
    }

    #[test]
    fn keys_turn_the_pages_in_a_ring() {
        let mut top = top(2);
        let mut pages = Vec::new();
        for key in [KeyCode::Right, KeyCode::Tab, KeyCode::Right, KeyCode::Left, KeyCode::Char('0'), KeyCode::Char('9')]
        {
            top.press(key);
            pages.push(top.view);
        }
        assert_eq!(pages, [View::One(0), View::One(1), View::All, View::One(1), View::All, View::All]);
    }

    #[test]
    fn one_node_has_one_page() {
        let mut top = top(1);
        for key in [KeyCode::Right, KeyCode::Left, KeyCode::Char('0'), KeyCode::Char('1')] {
            top.press(key);
            assert_eq!(top.view, View::One(0));
        }
    }

    #[test]
    fn a_paused_picture_stands_still_and_goes_on_with_what_came() {
        let mut top = top(1);
        top.press(KeyCode::Char('p'));
        let away = feed::News::Away("gone".into());
        top.nodes[0].hear(away, Instant::now());
        assert_eq!(top.shown()[0].state, node::State::Live);
        top.press(KeyCode::Char('p'));
        assert_ne!(top.shown()[0].state, node::State::Live);
    }
}
