//! Asks a database everything, in the order of the report.

use super::{
    database::{of_feed, of_health, of_rights, of_schema},
    finding::Finding,
    server::{of_connections, of_server, of_transaction},
};
use crate::{
    cli::{Error, database::Target},
    store::{
        self,
        postgres::{inspect, migrate, session::Session},
    },
};

/// Looks at the database of `target`; the feed's tables only when its schema stands.
///
/// # Errors
/// [`Error::Database`] and [`Error::Store`] when it cannot be asked.
pub(super) async fn examine(target: &Target, deep: bool) -> Result<Vec<Finding>, Error> {
    let mut session = Session::open(&target.database.url, "doctor").await?;
    let server = inspect::server(&mut session).await?;
    let history = migrate::history(&mut session).await?;
    let mut findings = of_server(&server);
    findings.push(of_connections(&server, inspect::node_connections(&target.database)));
    findings.push(of_transaction(inspect::longest_transaction(&mut session).await?.as_ref(), server.sees_all));
    let mut findings: Vec<_> = findings.into_iter().map(|finding| finding.about("server")).collect();
    findings.push(of_schema(history.as_ref(), &server).about("database"));
    if server.sees_feed && history.is_none_or(|history| history.pending.is_empty() && !history.is_newer) {
        findings.extend(of_contents(&mut session, target, &server.role, deep).await?);
    }
    session.close().await;
    Ok(findings)
}

/// What the feed's tables say. A role that may not read them all is told so, not turned away.
async fn of_contents(session: &mut Session, target: &Target, role: &str, deep: bool) -> Result<Vec<Finding>, Error> {
    let mut findings = match inspect::missing_rights(session).await {
        Ok(missing) => vec![of_rights(&missing, role)],
        Err(error) => vec![unreadable("rights", error)?],
    };
    match inspect::feed(session).await {
        Ok(feed) => findings.extend(of_feed(&feed, target)),
        Err(error) => findings.push(unreadable("feed", error)?),
    }
    let mut findings: Vec<_> = findings.into_iter().map(|finding| finding.about("database")).collect();
    match inspect::health(session, deep).await {
        Ok(health) => findings.extend(health.into_iter().map(of_health)),
        Err(error) => findings.push(unreadable("health", error)?.about("database")),
    }
    Ok(findings)
}

fn unreadable(check: &str, error: store::Error) -> Result<Finding, Error> {
    match error.is_retryable() {
        true => Err(error.into()),
        false => Ok(Finding::fail(check, error.to_string(), "grant the role what it lacks, or ask as the owner")),
    }
}
