//! Three nodes as one service: behind a small load balancer, with Redis, over eight databases on two pairs of private PostgreSQL
//! servers.
//!
//!     cargo run --example cluster
//!
//! It says where the demo's page is; then it takes commands that drain, kill and freeze nodes, restart them one after another,
//! do the same to Redis and to servers, close databases, hold standbys back and promote them, until Ctrl-C or the end of its
//! input. The data stays in a folder, or in the one that is named: `cargo run --example cluster -- FOLDER`.

mod balancer;
mod cluster;
mod commands;
mod deployment;
mod executable;
mod instance;
mod node;
mod nodes;
mod pair;
mod processes;
mod redis;
mod state;
mod stats;

use std::{
    io::{self, BufRead as _},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use commands::{COMMANDS, carry_out};
use deployment::{Deployment, Ports};
use instance::Result;
use tokio::sync::mpsc;

/// That of `freshet serve`, so that commands find the nodes.
const PORT: u16 = 8080;

fn main() -> ExitCode {
    if executable::is_freshet() {
        return executable::run_freshet();
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  because: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run() -> Result<()> {
    let Some((folder, ports)) = arguments()? else {
        print!("{}", usage());
        return Ok(());
    };
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    let mut deployment = tokio::select! {
        started = Deployment::start(&folder, ports) => started?,
        signal = &mut interrupted => return Ok(signal?),
    };
    say_ready(&mut deployment).await;
    let ended = tokio::select! {
        signal = interrupted => signal.map_err(Into::into),
        ended = obey(&mut deployment) => ended,
    };
    eprintln!("stopping the nodes, then the servers");
    deployment.stop().await;
    ended
}

/// The folder and the ports; `None` for a question for help.
fn arguments() -> Result<Option<(PathBuf, Ports)>> {
    let (mut folder, mut port) = (default_folder(), PORT);
    let mut words = std::env::args_os().skip(1);
    while let Some(word) = words.next() {
        match &*word.to_string_lossy() {
            "-h" | "--help" => return Ok(None),
            "--port" => {
                let number = words.next().and_then(|number| number.to_str()?.parse().ok());
                port = number.filter(|port| *port < u16::MAX - 50).ok_or("--port wants a number, such as 8080")?;
            }
            option if option.starts_with('-') => {
                return Err(format!("there is no option {option}; --help says more").into());
            }
            _ => folder = PathBuf::from(word),
        }
    }
    Ok(Some((folder, Ports(port))))
}

fn usage() -> String {
    format!(
        "Three nodes behind a load balancer, with Redis, over eight databases on two PostgreSQL servers with a standby each.

Usage: cargo run --example cluster [-- [--port PORT] [FOLDER]]

  FOLDER       where the data, freshet.toml and the nodes' logs are kept [default: {}]
  --port PORT  the port of the balancer; some ports above it are the nodes' and that of Redis [default: {PORT}]

Commands, a line each, while it runs:

{COMMANDS}",
        default_folder().display()
    )
}

/// A folder that the account of PostgreSQL can reach, when this is run by root.
fn default_folder() -> PathBuf {
    std::env::temp_dir().join("freshet-cluster")
}

async fn say_ready(deployment: &mut Deployment) {
    let status = deployment.status().await;
    let address = deployment.nodes.balancer.address();
    let operations: Vec<_> = deployment.nodes.all.iter().map(|node| node.operations.to_string()).collect();
    print!(
        "
  Freshet is running, three nodes as one service.

    page           http://{address}/
    WebSocket      ws://{address}/v1/ws
    configuration  {configuration}

{status}
  In other terminals:

    freshet top {operations}
    freshet shards --config {configuration}
    freshet verify ws://{address}/v1/ws --config {configuration}

  Commands here:

{COMMANDS}
",
        configuration = deployment.configuration().display(),
        operations = operations.join(" "),
    );
}

/// Carries commands out until there are no more.
async fn obey(deployment: &mut Deployment) -> Result<()> {
    let (send, mut lines) = mpsc::channel(1);
    // Not awaited: a read of the terminal cannot be given up.
    thread::spawn(move || io::stdin().lock().lines().map_while(io::Result::ok).try_for_each(|l| send.blocking_send(l)));
    while let Some(line) = lines.recv().await {
        match line.trim() {
            "quit" => break,
            "" => {}
            line => match carry_out(deployment, line).await {
                Ok(said) => println!("{said}"),
                Err(error) => println!("{line}: {error}"),
            },
        }
    }
    Ok(())
}
