//! `freshet doctor`: everything that would keep a node from serving, or would cost data.

mod connections;
mod database;
mod examine;
mod finding;
mod redis;
mod replica;
mod report;
mod server;
mod together;

use futures_util::future::join_all;

use self::{
    connections::of_servers,
    examine::Examined,
    finding::{Finding, Verdict},
    report::Report,
};
use super::{
    Error, Output,
    database::{DatabaseArgs, Target},
    figures::counted,
    output::{Format, columns},
};

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseArgs,
    /// Read every tracked row as well.
    #[arg(long)]
    deep: bool,
    /// Of several databases, list what is in order as well.
    #[arg(long)]
    all: bool,
}

/// Prints what was looked at, with a verdict each and what to do. Databases are asked side by side; one that cannot be asked is
/// a finding, and the others are examined all the same. Changes nothing.
///
/// # Errors
/// [`Error::Found`] when a finding is a failure; what the first database said, when none can be asked.
pub async fn run(args: Args, output: &mut Output) -> Result<(), Error> {
    let targets = args.database.targets()?;
    let mut examined = join_all(targets.iter().map(|target| examine::examine(target, args.deep))).await;
    let first_error = match examined.iter().all(|found| found.error.is_some()) {
        true => examined.iter_mut().find_map(|found| found.error.take()),
        false => None,
    };
    if let Some(error) = first_error {
        if targets.len() > 1 {
            print(&reports(&targets, examined, None), args.all, output)?;
        }
        return Err(error);
    }
    let redis = match &args.database.configuration()?.redis {
        Some(config) => Some(redis::examine(config, &targets, &examined).await),
        None => None,
    };
    let reports = reports(&targets, examined, redis);
    print(&reports, args.all, output)?;
    match reports.iter().map(|report| report.count(Verdict::Fail)).sum() {
        0 => Ok(()),
        failures => Err(Error::Found(format!("{} to mend", counted(failures, "failure")))),
    }
}

/// A report of each database, and, of several, one of all together and one of Redis.
fn reports(targets: &[Target], mut examined: Vec<Examined>, redis: Option<redis::Examined>) -> Vec<Report> {
    let connections = of_servers(examined.iter().flat_map(|found| &found.shares));
    if let [target] = targets {
        let Examined { server, findings, .. } = examined.remove(0);
        let mut findings = with_connections(findings, connections);
        if let Some(redis) = redis {
            findings.extend(redis.servers.into_iter().chain(redis.chains).map(|finding| finding.about("Redis")));
        }
        return vec![Report::of(target, server, findings)];
    }
    let mut together = connections;
    together.extend(together::of_all(targets, &examined));
    let together = together.into_iter().map(|finding| finding.about("all databases")).collect();
    let reports = targets.iter().zip(examined).map(|(target, found)| Report::of(target, found.server, found.findings));
    let redis = redis.map(|redis| {
        let findings = redis.servers.into_iter().chain(redis.chains).map(|finding| finding.about("Redis"));
        Report::of_redis(findings.collect())
    });
    reports.chain([Report::of_all(together)]).chain(redis).collect()
}

/// Of the only database, they are a check of its server.
fn with_connections(mut findings: Vec<Finding>, connections: Vec<Finding>) -> Vec<Finding> {
    let end = findings.iter().rposition(|finding| finding.about == "server").map_or(0, |at| at + 1);
    findings.splice(end..end, connections.into_iter().map(|finding| finding.about("server")));
    findings
}

fn print(reports: &[Report], all: bool, output: &mut Output) -> Result<(), Error> {
    let (palette, width) = (output.palette(), columns());
    match (output.format(), reports) {
        (Format::Json, reports) => reports.iter().try_for_each(|report| output.summary(report, "")),
        (Format::Human, [only]) => output.text(&only.described(palette, width)),
        (Format::Human, reports) => output.text(&report::together(reports, all, palette, width)),
    }
}
