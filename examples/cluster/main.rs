//! Eight databases on two private PostgreSQL servers, to try one service over many databases.
//!
//!     cargo run --example cluster
//!
//! It prints the configuration, and what to run beside it; then it takes commands that close, stop and freeze parts of the
//! cluster, until Ctrl-C or the end of its input. The data stays in a folder, or in the one that is named:
//! `cargo run --example cluster -- FOLDER`.

mod cluster;

use std::{
    fs,
    io::{self, BufRead as _},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use cluster::{Cluster, DATABASES, Result, SERVERS};
use freshet::store::postgres::server::Options;
use tokio::sync::mpsc;

const MODULUS: u32 = 64;

const COMMANDS: &str = "  close shop-3     end the sessions of a database and let no new one in
  open shop-3      let them in again
  stop a           shut a server down, with its four databases
  start a          start it again
  freeze a         stop its processes where they stand: connections stay, and nothing is answered
  thaw a           let them go on
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
    let folder = std::env::args_os().nth(1).map_or_else(default_folder, PathBuf::from);
    eprintln!("starting two PostgreSQL servers in {}", folder.display());
    let mut cluster = Cluster::start(&folder, MODULUS, options).await?;
    let ended = async {
        cluster.migrate().await?;
        let path = write_configuration(&folder, &cluster)?;
        say_ready(&path);
        obey(&mut cluster).await
    }
    .await;
    eprintln!("stopping the servers");
    cluster.stop().await;
    ended
}

/// A folder that the account of PostgreSQL can reach, when this is run by root.
fn default_folder() -> PathBuf {
    std::env::temp_dir().join("freshet-cluster")
}

fn options(data_dir: PathBuf) -> Options {
    let mut options = Options::new(data_dir);
    // Room for four databases and some nodes.
    options.settings = vec![("max_connections".to_owned(), "300".to_owned())];
    options
}

/// Writes and prints the file that `--config` takes.
fn write_configuration(folder: &Path, cluster: &Cluster) -> Result<PathBuf> {
    let (path, text) = (folder.join("freshet.toml"), cluster.configuration());
    fs::write(&path, &text)?;
    print!("\n{text}");
    Ok(path)
}

fn say_ready(configuration: &Path) {
    let path = configuration.display();
    print!(
        "
  The configuration above is in {path}. In other terminals:

    freshet demo --config {path}
    freshet shards --config {path}
    freshet top

  Commands here:

{COMMANDS}
"
    );
}

/// Carries commands out until there are no more.
async fn obey(cluster: &mut Cluster) -> Result<()> {
    let (send, mut lines) = mpsc::channel(1);
    // Not awaited: a read of the terminal cannot be given up.
    thread::spawn(move || io::stdin().lock().lines().map_while(io::Result::ok).try_for_each(|l| send.blocking_send(l)));
    loop {
        let line = tokio::select! {
            signal = tokio::signal::ctrl_c() => return Ok(signal?),
            line = lines.recv() => line,
        };
        match line.as_deref().map(str::trim) {
            None | Some("quit") => return Ok(()),
            Some("") => {}
            Some(line) => match carry_out(cluster, line).await {
                Ok(said) => println!("{said}"),
                Err(error) => println!("{line}: {error}"),
            },
        }
    }
}

async fn carry_out(cluster: &mut Cluster, line: &str) -> Result<String> {
    let (verb, object) = line.split_once(' ').unwrap_or((line, ""));
    let database = DATABASES.iter().position(|name| name.replace('_', "-") == object);
    let server = SERVERS.iter().position(|name| *name == object);
    match (verb, database, server) {
        ("close", Some(database), _) => cluster.close(database).await?,
        ("open", Some(database), _) => cluster.open(database).await?,
        ("stop", _, Some(server)) => cluster.stop_server(server).await,
        ("start", _, Some(server)) => cluster.start_server(server).await?,
        ("freeze", _, Some(server)) => cluster.freeze_server(server)?,
        ("thaw", _, Some(server)) => cluster.thaw_server(server)?,
        _ => return Ok(format!("not a command: \"{line}\". These are:\n\n{COMMANDS}")),
    }
    Ok(format!("done: {line}"))
}
