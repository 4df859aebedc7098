//! The keys to watch, from the command line and from a list.

use std::collections::HashSet;

use crate::cli::{
    Error,
    lines::{self, Line},
};

/// `given` and those of `list`, a file with a key a line or `-` for stdin; each once, in the order they came.
///
/// # Errors
/// [`Error::Input`] when the list cannot be read; [`Error::Usage`] naming a line that is none, or when there is no key.
pub(super) async fn collect(given: Vec<String>, list: Option<&str>) -> Result<Vec<String>, Error> {
    let mut keys = given;
    if let Some(path) = list {
        let mut lines = lines::open(path)?;
        while let Some(Line { number, text }) = lines.next().await? {
            keys.push(text.map_err(|problem| Error::Usage(format!("line {number} of the keys: {problem}")))?);
        }
    }
    let mut seen = HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    match keys.is_empty() {
        true => Err(Error::Usage("there is no key to watch: name some, or give a list with --keys-from".into())),
        false => Ok(keys),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn keys_come_from_both_once_each() {
        let mut list = tempfile::NamedTempFile::new().expect("a file");
        list.write_all(b"b\n\n c \r\na\n").expect("written");
        let path = list.path().to_str().expect("a path of text");
        assert_eq!(collect(vec!["a".into()], Some(path)).await.expect("keys"), ["a", "b", "c"]);
        assert_eq!(collect(Vec::new(), None).await.expect_err("none").exit_code(), 2);
        assert!(matches!(collect(Vec::new(), Some("/nowhere")).await, Err(Error::Input { .. })));
    }
}
