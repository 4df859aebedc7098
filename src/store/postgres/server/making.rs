//! The programs that make a data directory: `initdb` a new one, `pg_basebackup` a copy of a primary.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use super::{
    Error, Primary, SUPERUSER,
    binaries::companion,
    data_dir::{LOG, beside},
};
use crate::process::{Account, Farewell, Supervised, end_of};

/// How the programs are run.
#[derive(Debug)]
pub(super) struct Making<'a> {
    pub(super) binaries: &'a Path,
    pub(super) account: &'a Account,
    /// Whether the data is flushed to disk.
    pub(super) sync: bool,
}

impl Making<'_> {
    /// Initialises `fresh`.
    pub(super) async fn initialise(&self, fresh: &Path) -> Result<(), Error> {
        let mut arguments = vec!["-D".to_owned(), fresh.display().to_string(), "-U".to_owned(), SUPERUSER.to_owned()];
        arguments.extend(["--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"].map(str::to_owned));
        let refused = |output| Error::Initdb { path: fresh.to_owned(), output };
        self.run(&self.binaries.join("initdb"), arguments, fresh, refused).await
    }

    /// Copies the primary into `fresh`, for the standby that will be on `path`.
    pub(super) async fn copy(&self, primary: &Primary, fresh: &Path, path: &Path) -> Result<(), Error> {
        let program = companion(self.binaries, "pg_basebackup");
        let program = program.ok_or_else(|| Error::NoBackupProgram { binaries: self.binaries.to_owned() })?;
        let mut arguments = vec!["-D".to_owned(), fresh.display().to_string(), "-d".to_owned(), primary.conninfo(path)];
        // The checkpoint at once, not spread over minutes; the log of the copy with it; the file that makes it a standby.
        arguments.extend(["--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf"].map(str::to_owned));
        let (path, socket_dir) = (path.to_owned(), primary.socket_dir.clone());
        self.run(&program, arguments, fresh, |output| Error::Copy { path, socket_dir, output }).await?;
        forget_running(fresh).map_err(|source| Error::Write { path: fresh.to_owned(), source })
    }

    /// Runs a program to its end. `refused` makes an error of the end of what one that fails printed.
    async fn run(
        &self,
        program: &Path,
        mut arguments: Vec<String>,
        fresh: &Path,
        refused: impl FnOnce(String) -> Error,
    ) -> Result<(), Error> {
        arguments.extend((!self.sync).then(|| "--no-sync".to_owned()));
        let log_path = beside(fresh, ".log");
        let log = File::create(&log_path).map_err(|source| Error::Write { path: log_path.clone(), source })?;
        let run = |source| Error::Run { program: program.to_owned(), source };
        let process = Supervised::spawn(program, &arguments, self.account, log, Farewell::default()).map_err(run)?;
        let status = process.wait().await;
        let output = end_of(&fs::read(&log_path).unwrap_or_default());
        let _ = fs::remove_file(&log_path);
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(_) => Err(refused(output)),
            Err(source) => Err(run(source)),
        }
    }
}

/// Removes what a running primary of ours had in its data directory, and `pg_basebackup` takes for data: the server's log,
/// and the lock of a socket.
fn forget_running(copy: &Path) -> io::Result<()> {
    for entry in fs::read_dir(copy)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == LOG || name.to_string_lossy().starts_with(".s.PGSQL.") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
