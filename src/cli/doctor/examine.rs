//! Asks a database everything, in the order of the report.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    connections::Share,
    database::{of_feed, of_health, of_rights, of_schema},
    finding::Finding,
    replica,
    server::{of_server, of_transaction},
};
use crate::{
    cli::{Error, database::Target},
    client::error::explained,
    record::{Lineage, Position},
    store::{
        self,
        postgres::{
            comparison::{self, Description},
            inspect, migrate, rights,
            servers::{self, Primary, Servers},
            session::Session,
            survey::{self, Collection},
        },
    },
};

/// How long a database may take to answer everything, and how long when every row is read.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
const DEEP_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

/// What was found in a database, and what is to be held against the others.
pub(super) struct Examined {
    pub(super) findings: Vec<Finding>,
    /// Why it could not be asked.
    pub(super) error: Option<Error>,
    /// Host and port of the primary, or the folder of its socket.
    pub(super) server: String,
    /// What nodes open to it, the primary's share first.
    pub(super) shares: Vec<Share>,
    pub(super) contents: Option<Contents>,
    /// Which database it is, and its newest mark: what its chains in Redis are held against.
    pub(super) position: Option<(Lineage, Position)>,
}

/// What a database has of the service.
pub(super) struct Contents {
    pub(super) description: Description,
    pub(super) collections: Vec<Collection>,
}

/// Looks at the database of `target`; the feed's tables where there are any. One that cannot be asked is a finding.
pub(super) async fn examine(target: &Target, deep: bool) -> Examined {
    let limit = if deep { DEEP_LIMIT } else { LIMIT };
    let silent = || store::Error::Unavailable { reason: format!("no answer within {} s", limit.as_secs()) };
    let asked = timeout(limit, ask(target, deep)).await.unwrap_or_else(|_| Err(silent().into()));
    asked.unwrap_or_else(|error| {
        let hint = match &error {
            Error::Database(error) => error.hint(),
            Error::Primary(error) => error.hint(),
            _ => "look at the server's log, at the network, and at locks on the tables of the schema feed",
        };
        let finding = Finding::fail("reach", explained(&error), hint).about("server");
        Examined {
            findings: vec![finding],
            error: Some(error),
            server: target.place.server.clone(),
            shares: Vec::new(),
            contents: None,
            position: None,
        }
    })
}

async fn ask(target: &Target, deep: bool) -> Result<Examined, Error> {
    let Servers { primary, replicas } = servers::look(target.database.urls(), "doctor").await?;
    let Primary { place, mut session } = primary;
    let server = inspect::server(&mut session).await?;
    let history = migrate::history(&mut session).await?;
    let mut findings = of_server(&server);
    findings.push(of_transaction(inspect::longest_transaction(&mut session).await?.as_ref(), server.sees_all));
    let mut findings: Vec<_> = findings.into_iter().map(|finding| finding.about("server")).collect();
    findings.push(of_schema(history.as_ref(), &server).about("database"));
    let (mut contents, mut position) = (None, None);
    let mut share = Share::of_primary(target, &server, place.clone());
    if server.has_feed {
        let missing = rights::missing(&mut session).await?;
        findings.push(of_rights(&missing, &server.role).about("database"));
        let look = Look { target, deep, lacks_rights: !missing.is_empty() };
        let (found, nodes) = look.at_contents(&mut session).await?;
        findings.extend(found);
        share.nodes = nodes;
        // A role that may not read it was told so.
        position = inspect::position(&mut session).await.ok();
        match read_contents(&mut session).await {
            Ok(read) => contents = Some(read),
            Err(error) => findings.push(look.unreadable("collections", error)?.about("database")),
        }
    }
    session.close().await;
    let mut shares = vec![share];
    for examined in join_all(replicas.into_iter().map(|found| replica::examine(target, found))).await {
        findings.extend(examined.findings);
        // Every node that follows the feed on the primary reads from the replicas.
        shares.extend(examined.share.map(|share| share.of_nodes(shares[0].nodes)));
    }
    Ok(Examined { findings, error: None, server: place, shares, contents, position })
}

/// How the feed's tables are looked at. A check that cannot be made is a finding, and the others are made all the same.
struct Look<'a> {
    target: &'a Target,
    deep: bool,
    /// Which was told, and is why a check may be refused.
    lacks_rights: bool,
}

impl Look<'_> {
    /// What the feed's tables say, and how many nodes follow it.
    async fn at_contents(&self, session: &mut Session) -> Result<(Vec<Finding>, i64), Error> {
        let (mut findings, mut nodes) = (Vec::new(), 0);
        match inspect::feed(session).await {
            Ok(feed) => {
                nodes = feed.followers;
                findings.extend(of_feed(&feed, self.target));
            }
            Err(error) => findings.push(self.unreadable("feed", error)?),
        }
        let mut findings: Vec<_> = findings.into_iter().map(|finding| finding.about("database")).collect();
        match inspect::health(session, self.deep).await {
            Ok(health) => findings.extend(health.into_iter().map(of_health)),
            Err(error) => findings.push(self.unreadable("health", error)?.about("database")),
        }
        Ok((findings, nodes))
    }

    fn unreadable(&self, check: &str, error: store::Error) -> Result<Finding, Error> {
        match error {
            store::Error::Forbidden { what, .. } if self.lacks_rights => {
                let hint = "see the rights that the role lacks, or ask as the owner";
                Ok(Finding::warn(check, format!("not looked at: failed to {what}"), hint))
            }
            error if error.is_retryable() => Err(error.into()),
            error => Ok(Finding::fail(check, error.to_string(), "run `freshet migrate`, or ask as the owner")),
        }
    }
}

async fn read_contents(session: &mut Session) -> Result<Contents, store::Error> {
    let description = comparison::describe(session).await?;
    let collections = survey::collections(session).await?;
    Ok(Contents { description, collections })
}
