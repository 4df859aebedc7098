//! The server that a standby follows, and how libpq is told to reach it.

use std::path::{Path, PathBuf};

use super::SUPERUSER;

/// Where a private server takes replication connections: its socket. A server made by this module lets them in, because
/// `initdb --auth=trust` writes such lines for `replication` into `pg_hba.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Primary {
    pub(super) socket_dir: PathBuf,
    pub(super) port: u16,
}

impl Primary {
    /// libpq's connection string for the standby on `data_dir`. `pg_stat_replication` shows the directory's own name.
    ///
    /// # Source
    /// PostgreSQL's documentation, "Keyword/Value Connection Strings".
    pub(super) fn conninfo(&self, data_dir: &Path) -> String {
        let name = data_dir.file_name().unwrap_or_default().to_string_lossy();
        let host = quoted(&self.socket_dir.to_string_lossy());
        format!("host={host} port={} user={SUPERUSER} application_name={}", self.port, quoted(&name))
    }
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_connection_string_are_quoted() {
        let primary = Primary { socket_dir: r"/tmp/it's \ here".into(), port: 5432 };
        let conninfo = primary.conninfo(Path::new("/srv/a 2"));
        assert_eq!(conninfo, r"host='/tmp/it\'s \\ here' port=5432 user=postgres application_name='a 2'");
    }
}
