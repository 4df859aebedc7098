//! The account that the server runs as: ours, or an ordinary one when we are root.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, User};

use super::Error;

/// Accounts to run as when we are root, the best first. PostgreSQL refuses root itself.
const ORDINARY: [&str; 2] = ["postgres", "nobody"];

/// A system account, and whether becoming it takes a switch.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    uid: Uid,
    gid: Gid,
    is_switch: bool,
}

impl Account {
    pub(super) fn for_server() -> Result<Self, Error> {
        let uid = Uid::effective();
        if !uid.is_root() {
            let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
            return Ok(Self { name, uid, gid: Gid::effective(), is_switch: false });
        }
        let found = ORDINARY.iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = found.ok_or(Error::NoAccount)?;
        Ok(Self { name: user.name, uid: user.uid, gid: user.gid, is_switch: true })
    }

    /// The user and group to switch to in a child process, if any.
    pub(super) fn switch(&self) -> Option<(u32, u32)> {
        self.is_switch.then_some((self.uid.as_raw(), self.gid.as_raw()))
    }

    pub(super) fn owns(&self, path: &Path) -> std::io::Result<bool> {
        Ok(fs::metadata(path)?.uid() == self.uid.as_raw())
    }

    /// Makes `path` the account's own and closes it to everybody else.
    pub(super) fn take(&self, path: &Path) -> Result<(), Error> {
        let taken = match self.switch() {
            Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        };
        taken
            .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
            .map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// The first directory above `path` that the account may not pass through.
    pub(super) fn barrier(&self, path: &Path) -> Option<PathBuf> {
        self.switch()?;
        let above: Vec<_> = path.ancestors().skip(1).collect();
        above.into_iter().rev().find(|dir| !self.may_enter(dir)).map(Path::to_owned)
    }

    fn may_enter(&self, dir: &Path) -> bool {
        let Ok(found) = fs::metadata(dir) else {
            return true;
        };
        let bit = match () {
            () if found.uid() == self.uid.as_raw() => 0o100,
            () if found.gid() == self.gid.as_raw() => 0o010,
            () => 0o001,
        };
        found.mode() & bit != 0
    }
}
