//! Where this machine keeps its Redis server.

use std::{
    env,
    path::{Path, PathBuf},
};

/// What the program is called, the preferred name first. Valkey speaks the same protocol and takes the same settings.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// Where distributions, `make install`, Homebrew and Redis Stack put it, for a PATH that lacks them.
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/redis-stack/bin"];

/// The server program: the first on PATH, else in the usual folders; in each folder `redis-server` before `valkey-server`.
pub fn find_binary() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    first_in(env::split_paths(&path).chain(FOLDERS.map(PathBuf::from)))
}

fn first_in(folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.filter(|folder| folder.is_absolute()).find_map(|folder| in_folder(&folder))
}

fn in_folder(folder: &Path) -> Option<PathBuf> {
    NAMES.iter().map(|name| folder.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_folder_with_either_program_is_taken() {
        let [empty, valkey, both] = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
        for (folder, name) in [(&valkey, NAMES[1]), (&both, NAMES[0]), (&both, NAMES[1])] {
            fs::write(folder.path().join(name), "").expect("write");
        }
        let find = |folders: &[&Path]| first_in(folders.iter().map(|folder| folder.to_path_buf()));
        assert_eq!(find(&[empty.path()]), None);
        assert_eq!(
            find(&[Path::new("."), empty.path(), valkey.path(), both.path()]),
            Some(valkey.path().join(NAMES[1]))
        );
        assert_eq!(find(&[both.path(), valkey.path()]), Some(both.path().join(NAMES[0])));
    }
}
