//! `freshet switch reads=off`

use serde::Serialize;

use super::{
    Error, Output,
    operations::{Asked, NodesArgs},
    table::{Cell, Paint, Table},
};
use crate::shared::{SwitchChange, Switches};

/// Where a node has its switches.
const PATH: &str = "/switches";

/// What to switch, and on which nodes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet switch                                those of the node on this machine
  freshet switch reads=off                      the databases answer, as without Redis
  freshet switch reads=off shadow=5%            of 20 misses one is looked up in Redis as well, and compared
  freshet switch hints=on --node web1:8081 --node web2:8081

Switches:
  reads=on|off    Redis answers reads
  fills=on|off    what the node has read of a database is put into Redis
  hints=on|off    keepers tell the node of changes, so that it polls the databases less often
  shadow=0%..100% while reads are off: the share of misses that are looked up, filled and compared;
                  freshet_tiers_audits_total{tier=\"shadow\"} counts what came of it

A change applies to the nodes you name and lasts until they stop. [redis.switches] of the configuration has what a
node starts with.")]
pub struct Args {
    /// What to change; nothing shows all switches.
    #[arg(value_name = "SWITCH=VALUE", value_parser = parse)]
    changes: Vec<SwitchChange>,
    #[command(flatten)]
    nodes: NodesArgs,
}

/// The switches of a node.
#[derive(Serialize)]
struct Standing {
    node: String,
    #[serde(flatten)]
    switches: Switches,
}

/// Changes the switches, if that is asked for, and prints them.
///
/// # Errors
/// [`Error::Unanswered`] naming the nodes that were not reached or refused, after the others were printed.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let asked = match args.changes.into_iter().reduce(merged) {
        Some(change) => {
            let body = serde_json::to_string(&change).expect("a change has no maps with keys that are no text");
            Asked::patch(PATH, body)
        }
        None => Asked::get(PATH),
    };
    let (answers, asked) = args.nodes.ask(&asked).await;
    let standings: Vec<_> = answers.into_iter().map(|(node, switches)| Standing { node, switches }).collect();
    if !standings.is_empty() {
        output.each(&standings, table(&standings).lay_out(output.palette()).trim_end())?;
    }
    asked
}

fn table(standings: &[Standing]) -> Table {
    let mut table = Table::headed(["node", "reads", "fills", "hints", ">shadow"]);
    for Standing { node, switches } in standings {
        let state = |is_on| if is_on { Cell::painted(Paint::Good, "on") } else { Cell::painted(Paint::Warn, "off") };
        let Switches { reads, fills, hints, shadow } = *switches;
        let shadow = Cell::figure(format!("{} %", shadow * 100.0));
        table.push([node.into(), state(reads), state(fills), state(hints), shadow]);
    }
    table
}

/// Both changes; the later one wins.
fn merged(earlier: SwitchChange, later: SwitchChange) -> SwitchChange {
    SwitchChange {
        reads: later.reads.or(earlier.reads),
        fills: later.fills.or(earlier.fills),
        hints: later.hints.or(earlier.hints),
        shadow: later.shadow.or(earlier.shadow),
    }
}

fn parse(text: &str) -> Result<SwitchChange, String> {
    let known = "it is one of reads=on, reads=off, fills=on, fills=off, hints=on, hints=off, shadow=5%";
    let (name, value) = text.split_once('=').ok_or(known)?;
    let state = match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    };
    let none = SwitchChange::default();
    match (name, state) {
        ("reads", Some(_)) => Ok(SwitchChange { reads: state, ..none }),
        ("fills", Some(_)) => Ok(SwitchChange { fills: state, ..none }),
        ("hints", Some(_)) => Ok(SwitchChange { hints: state, ..none }),
        ("shadow", _) => Ok(SwitchChange { shadow: Some(share(value)?), ..none }),
        _ => Err(known.into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    share.ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "write the share as 5% or 0.05".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_and_wrong_ones_say_how() {
        let none = SwitchChange::default();
        assert_eq!(parse("reads=off"), Ok(SwitchChange { reads: Some(false), ..none }));
        assert_eq!(parse("hints=on"), Ok(SwitchChange { hints: Some(true), ..none }));
        for text in ["shadow=5%", "shadow=0.05"] {
            assert_eq!(parse(text), Ok(SwitchChange { shadow: Some(0.05), ..none }));
        }
        for (text, part) in
            [("reads", "reads=on"), ("l2=off", "reads=on"), ("fills=no", "fills=off"), ("shadow=500%", "5% or 0.05")]
        {
            assert!(parse(text).expect_err(text).contains(part), "{text}");
        }
    }

    #[test]
    fn the_later_of_two_changes_of_a_switch_wins() {
        let changes = ["reads=off", "fills=off", "reads=on"].map(|text| parse(text).expect("a change"));
        let merged = changes.into_iter().reduce(merged);
        let expected = SwitchChange { reads: Some(true), fills: Some(false), ..SwitchChange::default() };
        assert_eq!(merged, Some(expected));
    }
}
