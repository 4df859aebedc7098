//! Eight databases on two pairs of private PostgreSQL servers, to try one service over many databases and their replicas.
//!
//!     cargo run --example cluster
//!
//! It writes a configuration and says what to run beside it; then it takes commands that close databases, stop, kill and freeze
//! servers, hold standbys back and promote them, until Ctrl-C or the end of its input. The data stays in a folder, or in the
//! one that is named: `cargo run --example cluster -- FOLDER`.

mod cluster;
mod instance;
mod pair;
mod processes;
mod state;

use std::{
    fs,
    io::{self, BufRead as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use cluster::{Cluster, DATABASES};
use freshet::store::postgres::server::Options;
use instance::{Instance, Result};
use state::State;
use tokio::sync::mpsc;

const MODULUS: u32 = 64;

const COMMANDS: &str = "  status           what every server does, and how far standbys are behind

  close shop-3     end the sessions of a database and let no new one in
  open shop-3      let them in again

  stop a           shut a server down, with its four databases
  kill a           end it as a crash does
  start a          start it again
  freeze a         stop its processes where they stand: connections stay, and nothing is answered
  thaw a           let them go on

  pause a2         keep a standby from applying changes: it falls behind
  resume a2        let it catch up
  promote a2       make a standby the primary, as after the loss of a
  rebuild a        throw a former primary's data away and make it the standby

  quit             stop everything; Ctrl-C does it, too
";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
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

async fn run() -> Result<()> {
    let folder = match std::env::args_os().nth(1) {
        Some(argument) if argument == "--help" || argument == "-h" => {
            print!("{}", usage());
            return Ok(());
        }
        Some(argument) if argument.to_string_lossy().starts_with('-') => {
            return Err(format!("there is no option {}; --help says more", argument.display()).into());
        }
        folder => folder.map_or_else(default_folder, PathBuf::from),
    };
    eprintln!("starting two PostgreSQL servers, each with a standby, in {}", folder.display());
    let mut cluster = Cluster::start(&folder, MODULUS, true, options).await?;
    let work = async {
        cluster.migrate().await?;
        let path = write_configuration(&folder, &cluster)?;
        say_ready(&path, &status(&cluster).await);
        obey(&mut cluster, &folder).await
    };
    let ended = tokio::select! {
        signal = tokio::signal::ctrl_c() => signal.map_err(Into::into),
        ended = work => ended,
    };
    eprintln!("stopping the servers");
    cluster.stop().await;
    ended
}

fn usage() -> String {
    format!(
        "Eight databases on two PostgreSQL servers, each with a standby, to try one service over many databases.

Usage: cargo run --example cluster [-- FOLDER]

  FOLDER  where the data and freshet.toml are kept [default: {}]

Commands, a line each, while it runs:

{COMMANDS}",
        default_folder().display()
    )
}

/// A folder that the account of PostgreSQL can reach, when this is run by root.
fn default_folder() -> PathBuf {
    std::env::temp_dir().join("freshet-cluster")
}

fn options(data_dir: PathBuf) -> Options {
    let mut options = Options::new(data_dir).with_standbys();
    // A server flushes a copy before its first use, in any case.
    options.sync = false;
    // Room for four databases and some nodes; and a frozen standby holds up the shutdown of its primary for seconds only.
    let settings = [("max_connections", "300"), ("wal_sender_timeout", "5s")];
    options.settings.extend(settings.map(|(name, value)| (name.to_owned(), value.to_owned())));
    options
}

/// Writes the file that `--config` takes.
fn write_configuration(folder: &Path, cluster: &Cluster) -> Result<PathBuf> {
    let path = folder.join("freshet.toml");
    fs::write(&path, cluster.configuration())?;
    Ok(path)
}

fn say_ready(configuration: &Path, status: &str) {
    let path = configuration.display();
    print!(
        "
{status}
  The configuration is in {path}. In other terminals:

    freshet demo --config {path}
    freshet shards --config {path}
    freshet top

  Commands here:

{COMMANDS}
"
    );
}

/// Carries commands out until there are no more.
async fn obey(cluster: &mut Cluster, folder: &Path) -> Result<()> {
    let (send, mut lines) = mpsc::channel(1);
    // Not awaited: a read of the terminal cannot be given up.
    thread::spawn(move || io::stdin().lock().lines().map_while(io::Result::ok).try_for_each(|l| send.blocking_send(l)));
    while let Some(line) = lines.recv().await {
        match line.trim() {
            "quit" => break,
            "" => {}
            line => match carry_out(cluster, folder, line).await {
                Ok(said) => println!("{said}"),
                Err(error) => println!("{line}: {error}"),
            },
        }
    }
    Ok(())
}

async fn carry_out(cluster: &mut Cluster, folder: &Path, line: &str) -> Result<String> {
    let (verb, object) = line.split_once(' ').unwrap_or((line, ""));
    let database = DATABASES.iter().position(|name| name.replace('_', "-") == object);
    let is_primary = cluster.pair_with(object).is_some_and(|pair| pair.primary.name() == object);
    match (verb, database) {
        ("status", _) => return Ok(status(cluster).await),
        ("close", Some(database)) => cluster.close(database).await?,
        ("open", Some(database)) => cluster.open(database).await?,
        ("pause" | "resume" | "promote" | "rebuild", _) if is_primary => return Err("it is the primary".into()),
        ("promote" | "rebuild", _) => return change_roles(cluster, folder, verb, object).await,
        _ => {
            let is_command = match cluster.server(object) {
                Some(server) => tell(server, verb).await?,
                None => false,
            };
            if !is_command {
                return Ok(format!("not a command: \"{line}\". These are:\n\n{COMMANDS}"));
            }
        }
    }
    Ok(format!("done: {line}"))
}

/// Carries out what concerns one server; returns whether there is such a command.
async fn tell(server: &mut Instance, verb: &str) -> Result<bool> {
    match verb {
        "stop" => server.stop().await,
        "kill" => server.kill().await?,
        "start" => server.start_again().await?,
        "freeze" => server.freeze()?,
        "thaw" => server.thaw()?,
        "pause" => server.pause_replay().await?,
        "resume" => server.resume_replay().await?,
        _ => return Ok(false),
    }
    Ok(true)
}

async fn change_roles(cluster: &mut Cluster, folder: &Path, verb: &str, server: &str) -> Result<String> {
    let pair = cluster.pair_with(server).ok_or("there is no such server")?;
    if verb == "rebuild" {
        pair.rebuild().await?;
        return Ok(format!("done: {server} follows {}", pair.primary.name()));
    }
    pair.promote().await?;
    let former = pair.standby.as_ref().map_or("", Instance::name).to_owned();
    let is_running = pair.standby.as_ref().is_some_and(Instance::is_running);
    let path = write_configuration(folder, cluster)?;
    let rest = match is_running {
        true => format!("{former} still takes writes: stop it, or \"rebuild {former}\" makes it the standby"),
        false => format!("\"rebuild {former}\" makes {former} its standby"),
    };
    Ok(format!("done: {server} is the primary, and {} says so\n{rest}", path.display()))
}

/// A line for each server, the primary of a pair first.
async fn status(cluster: &Cluster) -> String {
    let mut text = String::new();
    for (pair, databases) in cluster.pairs() {
        let held = format!("{} to {}", databases[0], databases[databases.len() - 1]).replace('_', "-");
        let primary = State::of(&pair.primary).await;
        text.push_str(&line(&pair.primary, &held, "primary", &primary.describe(None)));
        if let Some(standby) = &pair.standby {
            let said = State::of(standby).await.describe(Some(primary));
            text.push_str(&line(standby, &held, "standby", &said));
        }
    }
    text
}

fn line(server: &Instance, databases: &str, role: &str, said: &str) -> String {
    format!("  {:<5}{databases}   {role}   {said}\n", server.name())
}
