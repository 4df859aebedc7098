//! The `freshet` command: one subcommand a file.
//!
//! Promises: results go to stdout, everything else to stderr; a value is printed as the text it came in, numbers
//! untouched; the exit code says what happened ([`Error::exit_code`]). Leaves to others how requests travel (`client`).

#![cfg_attr(
    not(all(feature = "bench", feature = "demo", feature = "terminal")),
    allow(dead_code, reason = "commands that are left out leave helpers that only they use")
)]

#[cfg(feature = "bench")]
mod bench;
mod completions;
mod config;
mod database;
mod delete;
#[cfg(feature = "demo")]
pub mod demo;
mod doctor;
mod error;
mod export;
mod figures;
mod get;
mod input;
mod lines;
mod load;
mod migrate;
mod node;
mod operations;
mod output;
mod patch;
mod pretty;
mod put;
mod ready;
mod run_word;
#[cfg(feature = "terminal")]
mod screen;
mod serve;
mod server;
mod shard_of;
mod shards;
mod switch;
mod table;
mod template;
#[cfg(feature = "terminal")]
mod top;
mod verify;
#[cfg(feature = "terminal")]
mod watch;
mod whereabouts;

use std::{future::Future, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use self::server::EVERYWHERE;
pub use self::{
    error::Error,
    output::{Format, Output},
    server::ServerArgs,
};

/// Records at cache speed, and every screen that shows one kept up to date.
#[derive(Debug, Parser)]
#[command(name = "freshet", version, after_help = error::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    server: ServerArgs,
    /// How results, and the log of a node, are printed.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_enum, default_value_t)]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node.
    Serve(serve::Args),
    #[cfg(feature = "demo")]
    /// Run a node with a real shop's catalogue and sales, and a page to watch them.
    Demo(demo::Args),
    /// Print records.
    Get(get::Args),
    /// Write a collection as JSON lines or CSV.
    Export(export::Args),
    /// Replace a record, or create it.
    Put(put::Args),
    /// Change part of a record.
    Patch(patch::Args),
    /// Remove a record.
    Delete(delete::Args),
    #[cfg(feature = "terminal")]
    /// Show records as they change.
    Watch(watch::Args),
    /// Put many records from JSON lines or CSV.
    Load(load::Args),
    #[cfg(feature = "terminal")]
    /// Show what nodes are doing, live.
    Top(top::Args),
    /// Tell whether clients should be sent to nodes, for health checks.
    Ready(ready::Args),
    /// Show where a record stands: in each tier of each node, in Redis and on each server.
    Where(whereabouts::Args),
    /// Turn off and on what running nodes use of Redis.
    Switch(switch::Args),
    /// Set the database up: run the migrations and create the partitions that are missing.
    Migrate(migrate::Args),
    /// Show where every shard stands.
    Shards(shards::Args),
    /// Tell the shards of keys, computed here.
    ShardOf(shard_of::Args),
    /// Look for everything that would keep a node from serving, or would cost data.
    Doctor(doctor::Args),
    #[cfg(feature = "bench")]
    /// Measure a running node under load.
    Bench(bench::Args),
    /// Check that running nodes keep their promises, with records of its own.
    Verify(verify::Args),
    /// Print or check the configuration.
    Config(config::Args),
    /// Print the script that completes this command line in a shell.
    Completions(completions::Args),
}

impl Command {
    /// Whether it runs a node, whose log says how it ended.
    fn is_node(&self) -> bool {
        match self {
            Command::Serve(_) => true,
            #[cfg(feature = "demo")]
            Command::Demo(_) => true,
            _ => false,
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let Cli { server, format, command } = Cli::parse();
    let mut output = Output::new(format);
    let logs_json = format == Format::Json && command.is_node();
    let done = match command {
        Command::Serve(args) => block_on(serve::run(args, format)),
        #[cfg(feature = "demo")]
        Command::Demo(args) => block_on(demo::run(args, format)),
        Command::Get(args) => block_on(get::run(args, &server, &mut output)),
        Command::Export(args) => block_on(export::run(args, &server, &mut output)),
        Command::Put(args) => block_on(put::run(args, &server, &mut output)),
        Command::Patch(args) => block_on(patch::run(args, &server, &mut output)),
        Command::Delete(args) => block_on(delete::run(args, &server, &mut output)),
        #[cfg(feature = "terminal")]
        Command::Watch(args) => block_on(watch::run(args, &server, &mut output)),
        Command::Load(args) => block_on(load::run(args, &server, &mut output)),
        #[cfg(feature = "terminal")]
        Command::Top(args) => block_on(top::run(args, &mut output)),
        Command::Ready(args) => block_on(ready::run(args, &server, &mut output)),
        Command::Where(args) => block_on(whereabouts::run(args, &mut output)),
        Command::Switch(args) => block_on(switch::run(args, &mut output)),
        Command::Migrate(args) => block_on(migrate::run(args, &mut output)),
        Command::Shards(args) => block_on(shards::run(args, &mut output)),
        Command::ShardOf(args) => block_on(shard_of::run(args, &mut output)),
        Command::Doctor(args) => block_on(doctor::run(args, &mut output)),
        #[cfg(feature = "bench")]
        Command::Bench(args) => block_on(bench::run(args, &server, &mut output)),
        Command::Verify(args) => block_on(verify::run(args, &server, &mut output)),
        Command::Config(args) => config::run(args, &mut output),
        Command::Completions(args) => completions::run(&args, &mut output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if logs_json => error.log(),
        Err(error) => error.report(),
    }
}

/// Runs `work` on a runtime of its own. What still blocks afterwards, such as a read of stdin, is left behind.
fn block_on(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_millis(100));
    done
}

#[cfg(all(test, feature = "bench", feature = "demo", feature = "terminal"))]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_documented_lines_are_understood() {
        for line in [
            "freshet get products 85123A 85123B --format json --url ws://example:1/v1/ws",
            "freshet --format json get products 85123A --max-stale 5s --min-stamp 1.17",
            "freshet get products --prefix 85 --limit 10",
            "freshet export products",
            r"freshet export products p.tsv --delimiter \t --null \N --prefix 85 --restart --page 100 --output-format csv",
            r#"freshet put products 85123A {"name":"x"} --if-absent"#,
            r#"freshet patch products 85123A {"price":100} --increment stock=-1 --if-stamp 1.17"#,
            "freshet patch products 85123A --increment stock=-1 --increment price=0.10 --return",
            "freshet delete products 85123A --if-stamp 1.17 --idempotency-key k",
            "freshet watch products 85123A 85123B --count 3",
            "freshet watch products a --keys-from - --field price --field attributes.colour",
            "freshet load products - --key-column sku --in-flight 64",
            r"freshet load products p.csv.gz --delimiter \t --null \N --restart --progress p --rejected r",
            "freshet top",
            "freshet top a:8081 http://b:8081 --once --format json",
            "freshet ready --timeout 4s",
            "freshet ready --node a:8081 --node http://b:8081 --format json",
            "freshet completions bash",
            "freshet migrate --config freshet.toml --folder migrations --check",
            "freshet migrate --database-url postgres://u:p@db1/shop",
            "freshet shards --data-dir /var/lib/freshet/demo --all --format json",
            "freshet shard-of products 85123A 22423",
            "freshet shard-of readings -5 7 --key-type int8 --shards 64",
            "freshet doctor --deep",
            "freshet bench get --connections 16 --in-flight 16 --keys 100000 --zipf 0.99 --fill",
            "freshet bench get --keys-from skus.txt --rate 5000 --duration 30s --warm-up 2s --pid 17 --format json",
            "freshet bench put --collection orders --value {\"total\":%n}",
            "freshet bench patch --idempotent --keys 1000",
            "freshet bench fan-out --subscribers 10000 --rate 2 --probe 500",
            "freshet bench latency --database-url postgres://u@db1/shop --writers 4 --key-column sku",
            "freshet bench idle --connections 10000 --pid 17",
            "freshet verify ws://a:8080/v1/ws ws://b:8080/v1/ws --config freshet.toml --seconds 600 --seed 7",
            r#"freshet verify --collection prices --record {"amount":%n} --field amount --keys 10 --no-sql"#,
            "freshet verify --rate 0.5 --connections 2 --fresh 1s --settle 30s --history run.jsonl --format json",
            "freshet config print",
            "freshet config check --config freshet.toml",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.expect_err("refused"));
        }
    }

    #[test]
    fn wrong_lines_are_usage_errors() {
        for line in [
            "freshet get products",
            "freshet get products a --prefix 85",
            "freshet get products a --limit 5",
            "freshet export",
            "freshet export products p.csv --page 0",
            "freshet put products a {} --if-stamp x",
            "freshet put products a {} --if-stamp 1.1 --if-absent",
            "freshet patch products a",
            "freshet patch products a --increment stock",
            "freshet patch products a --increment stock=1e999999999",
            "freshet watch products",
            "freshet watch products a --count 0",
            "freshet watch products a --lines --field price",
            "freshet load products p.csv --delimiter ;;",
            "freshet load products p.csv --restart --resume",
            "freshet top https://a",
            "freshet ready a:8081",
            "freshet ready --node ws://a:8080/v1/ws",
            "freshet completions tcsh",
            "freshet migrate --database-url postgres://h/d --data-dir /tmp",
            "freshet shard-of products",
            "freshet shard-of products a --key-type text",
            "freshet shard-of products a --key-type float --shards 64",
            "freshet shard-of products a --key-type text --shards 0",
            "freshet shard-of products a --key-type text --shards 64 --database-url postgres://h/d",
            "freshet config",
            "freshet bench",
            "freshet bench get --keys 5 --keys-from skus.txt",
            "freshet bench get --fill-value {}",
            "freshet bench latency --writers 4",
            "freshet bench idle",
            "freshet verify --keys 0",
            "freshet verify --rate 0",
            "freshet verify --seconds 0",
            "freshet verify --database-url postgres://h/d --data-dir /tmp",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
