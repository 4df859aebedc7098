//! Whether the servers have room for what nodes open to all databases on them.

use super::finding::Finding;
use crate::{
    cli::{database::Target, figures::counted},
    store::postgres::inspect::{self, Server},
};

const CHECK: &str = "connections";

/// What one database adds to the sessions of its server.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Which server it is, whatever name leads to it: a standby has the system identifier of its primary, and was started at
    /// another moment.
    identity: (i64, String),
    /// How the configuration reaches it.
    server: String,
    /// Sessions that the server gives to roles like this one.
    room: i64,
    /// Those of them that are not Freshet's.
    others: i64,
    /// The most that a node opens to the database.
    node: i64,
    /// Nodes seen on the database.
    pub(super) nodes: i64,
}

impl Share {
    /// Of a database on its primary, at `place`.
    pub(super) fn of_primary(target: &Target, server: &Server, place: String) -> Self {
        Self::of(server, place, inspect::primary_connections(&target.database))
    }

    /// Of a database on one of its replicas.
    pub(super) fn of_replica(target: &Target, server: &Server, place: String) -> Self {
        Self::of(server, place, inspect::replica_connections(&target.database))
    }

    /// The same, where so many nodes were seen.
    pub(super) fn of_nodes(self, nodes: i64) -> Self {
        Share { nodes, ..self }
    }

    fn of(server: &Server, place: String, node: u32) -> Self {
        let room = server.connections_max - server.connections_reserved;
        Share {
            identity: (server.system_identifier, server.started.clone()),
            server: place,
            room: server.connections_limit.map_or(room, |limit| limit.min(room)).into(),
            others: server.connections_used - server.connections_own,
            node: node.into(),
            nodes: 0,
        }
    }
}

/// A finding for each server.
pub(super) fn of_servers<'a>(shares: impl Iterator<Item = &'a Share>) -> Vec<Finding> {
    let mut servers: Vec<Vec<&Share>> = Vec::new();
    for share in shares {
        match servers.iter_mut().find(|server| server[0].identity == share.identity) {
            Some(server) => server.push(share),
            None => servers.push(vec![share]),
        }
    }
    servers.iter().map(|shares| of_server(shares)).collect()
}

fn of_server(shares: &[&Share]) -> Finding {
    let most = |figure: fn(&Share) -> i64| shares.iter().map(|share| figure(share)).max().unwrap_or_default();
    let room = shares.iter().map(|share| share.room).min().unwrap_or_default();
    let (others, nodes) = (most(|share| share.others), most(|share| share.nodes));
    let node: i64 = shares.iter().map(|share| share.node).sum();
    let databases = match shares.len() {
        1 => String::new(),
        several => format!(", for {several} databases"),
    };
    let seen = match nodes {
        0 => String::new(),
        nodes => format!("; {} up to {}", counted(nodes.unsigned_abs() as usize, "running node"), nodes * node),
    };
    let detail = format!(
        "{}: {room} allowed, {others} in use by others; a node takes up to {node}{databases}{seen}",
        shares[0].server
    );
    let hint =
        "raise max_connections (or the role's or database's limit), or lower read_connections and write_connections";
    match () {
        () if room < node => Finding::fail(CHECK, detail, hint),
        () if room - others < nodes.max(1) * node => Finding::warn(CHECK, format!("{detail}: too many at once"), hint),
        () => Finding::ok(CHECK, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Verdict;

    fn share(system_identifier: i64, nodes: i64, others: i64) -> Share {
        let identity = (system_identifier, String::new());
        Share { identity, server: "h:1".into(), room: 97, others, node: 25, nodes }
    }

    #[test]
    fn what_nodes_open_to_all_databases_of_a_server_is_added_up() {
        let verdict =
            |shares: &[Share]| of_servers(shares.iter()).iter().map(|found| found.verdict).collect::<Vec<_>>();
        assert_eq!(verdict(&[share(1, 0, 5), share(1, 0, 5), share(1, 0, 5)]), [Verdict::Ok], "75 of 97");
        assert_eq!(verdict(&[share(1, 0, 30), share(1, 0, 30), share(1, 0, 30)]), [Verdict::Warn], "others have 30");
        assert_eq!(verdict(&[share(1, 2, 5), share(1, 2, 5)]), [Verdict::Warn], "two nodes take 100");
        assert_eq!(verdict(&[share(1, 0, 0), share(1, 0, 0), share(1, 0, 0), share(1, 0, 0)]), [Verdict::Fail]);
        assert_eq!(verdict(&[share(1, 2, 5), share(2, 2, 5)]), [Verdict::Ok, Verdict::Ok], "two servers");
        let replica = |share: Share| Share { identity: (1, "later".into()), ..share };
        let with_replicas = [share(1, 2, 5), share(1, 2, 5), replica(share(1, 2, 5)), replica(share(1, 1, 5))];
        assert_eq!(verdict(&with_replicas), [Verdict::Warn, Verdict::Warn], "a replica's sessions are its own");
    }
}
