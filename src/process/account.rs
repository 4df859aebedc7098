//! The account that a program runs as: ours, or an ordinary one when we are root.

use std::{
    env, fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, User};

/// A system account, and whether becoming it takes a switch.
#[derive(Debug, Clone)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    is_switch: bool,
}

impl Account {
    /// Our own account; as root, the first of `candidates` that exists. `None` when none of them does.
    pub fn ordinary(candidates: &[&str]) -> Option<Self> {
        let uid = Uid::effective();
        if !uid.is_root() {
            let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
            return Some(Self { name, uid, gid: Gid::effective(), is_switch: false });
        }
        let user = candidates.iter().find_map(|name| User::from_name(name).ok().flatten())?;
        Some(Self { name: user.name, uid: user.uid, gid: user.gid, is_switch: true })
    }

    /// Its name, or its number where it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user and group to switch to in a child process, if any.
    pub fn switch(&self) -> Option<(u32, u32)> {
        self.is_switch.then_some((self.uid.as_raw(), self.gid.as_raw()))
    }

    /// Whether `path` belongs to it.
    ///
    /// # Errors
    /// When `path` is not there, or we may not look.
    pub fn owns(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.uid() == self.uid.as_raw())
    }

    /// Makes `path` the account's own and closes it to everybody else.
    ///
    /// # Errors
    /// When `path` is not ours to give, or the file system is read-only.
    pub fn take(&self, path: &Path) -> io::Result<()> {
        if let Some((uid, gid)) = self.switch() {
            chown(path, Some(uid), Some(gid))?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    }

    /// A new folder of the account's own in the temporary folder.
    ///
    /// # Errors
    /// When the temporary folder cannot be written.
    pub fn fresh_folder(&self) -> io::Result<PathBuf> {
        let path = env::temp_dir().join(format!("freshet-{}", uuid::Uuid::new_v4().simple()));
        self.make_folder(&path)?;
        Ok(path)
    }

    /// A new folder of the account's own at `path`.
    ///
    /// # Errors
    /// When something is there already, or the folder above cannot be written.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)?;
        self.take(path)
    }

    /// The first directory above `path` that the account may not pass through.
    pub fn barrier(&self, path: &Path) -> Option<PathBuf> {
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
