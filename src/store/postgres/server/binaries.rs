//! Where this machine keeps PostgreSQL's server programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Folders of versions, as Debian, the RPMs of postgresql.org and Homebrew lay them out: parent, prefix.
const VERSIONED: [(&str, &str); 4] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
];

/// The folder with `initdb` and `postgres`: on PATH, else the newest of the distributions' own folders.
pub fn find_binaries() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).find(|folder| is_complete(folder)).or_else(newest_installed)
}

/// A program that is installed with the server programs in `binaries`: in the same folder or, where `postgres` is a link, in
/// the folder that it leads to.
pub(super) fn companion(binaries: &Path, program: &str) -> Option<PathBuf> {
    let server = fs::canonicalize(binaries.join("postgres")).ok();
    let folders = [Some(binaries), server.as_deref().and_then(Path::parent)];
    folders.into_iter().flatten().map(|folder| folder.join(program)).find(|program| program.is_file())
}

fn newest_installed() -> Option<PathBuf> {
    let mut found: Vec<_> = VERSIONED.iter().flat_map(|(parent, prefix)| versions(parent, prefix)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, folder)| folder).find(|folder| is_complete(folder))
}

fn versions(parent: &str, prefix: &str) -> Vec<(f64, PathBuf)> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect()
}

fn is_complete(folder: &Path) -> bool {
    folder.is_absolute() && ["initdb", "postgres"].iter().all(|program| folder.join(program).is_file())
}
