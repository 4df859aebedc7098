//! `freshet ready`: whether clients should be sent to a node, for health checks of containers and for scripts that wait for one.

use serde::Serialize;

use super::{
    Error, Output, ServerArgs,
    operations::{Address, NodesArgs},
    pretty::harmless,
};

/// The nodes to ask.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  freshet ready                                       the node on this machine
  freshet ready --timeout 4s                          for a health check that is given 5 s
  freshet ready --node web1:8081 --node web2:8081     all of them
  until freshet ready; do sleep 1; done

It asks /readyz of the operations listener. A node is ready while it takes clients and at least one of its databases answers and is
fresh; where others do not, it is degraded, which counts as ready. The exit code is 0 when all nodes are ready, 1 when one is
not, and 69 when one does not answer.")]
pub struct Args {
    #[command(flatten)]
    nodes: NodesArgs,
}

/// What a node says of itself.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Standing {
    node: String,
    #[serde(flatten)]
    said: Said,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Said {
    state: State,
    /// The checks that failed, with their reasons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Ready,
    Degraded,
    NotReady,
}

/// Asks the nodes and prints how they stand.
///
/// # Errors
/// [`Error::Unanswered`] for nodes that gave no answer, and else [`Error::Found`] naming those that are not ready.
pub async fn run(args: Args, server: &ServerArgs, output: &mut Output) -> Result<(), Error> {
    let limit = server.timeout();
    let ask = async |node: &Address| Said::read(&node.readiness(limit).await?);
    let (answers, asked) = args.nodes.each(ask).await;
    let standings: Vec<_> = answers.into_iter().map(|(node, said)| Standing { node, said }).collect();
    if !standings.is_empty() {
        let lines: Vec<_> = standings.iter().map(Standing::line).collect();
        output.each(&standings, &lines.join("\n"))?;
    }
    asked?;
    let unready: Vec<_> = standings.iter().filter(|standing| standing.said.state == State::NotReady).collect();
    if unready.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = unready.iter().map(|standing| &*standing.node).collect();
    Err(Error::Found(format!("clients should not be sent to {}", names.join(", "))))
}

impl Standing {
    fn line(&self) -> String {
        let state = match self.said.state {
            State::Ready => "ready",
            State::Degraded => "degraded",
            State::NotReady => "not ready",
        };
        let failed: Vec<_> = self.said.failed.iter().map(|failed| harmless(failed)).collect();
        let why = if failed.is_empty() { String::new() } else { format!(": {}", failed.join("; ")) };
        format!("{} is {state}{why}", self.node)
    }
}

impl Said {
    /// Reads `/readyz`: a line for each check that failed, and what they come to.
    fn read(text: &str) -> Result<Self, String> {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let state = match lines.pop().as_deref() {
            Some("ready") => State::Ready,
            Some("degraded") => State::Degraded,
            Some("not ready") => State::NotReady,
            _ => {
                return Err(
                    "it answers what this release does not know: is it the operations listener of a node?".into()
                );
            }
        };
        Ok(Said { state, failed: lines })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_read_with_its_reasons() {
        let line = |text: &str| Said::read(text).map(|said| Standing { node: "web1:8081".into(), said }.line());
        assert_eq!(line("ready\n"), Ok("web1:8081 is ready".into()));
        assert_eq!(
            line("store b failed: no answer within 1s\nfeed b failed: x\ndegraded\n"),
            Ok("web1:8081 is degraded: store b failed: no answer within 1s; feed b failed: x".into())
        );
        assert_eq!(
            line("serving failed: draining\nnot ready\n"),
            Ok("web1:8081 is not ready: serving failed: draining".into())
        );
        for other in ["", "OK\n", "<html>503 Service Unavailable</html>"] {
            assert!(line(other).is_err_and(|said| said.contains("operations listener")), "{other}");
        }
    }
}
