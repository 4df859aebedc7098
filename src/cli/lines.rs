//! Lines of a file or of stdin.

use std::io::{self, BufRead, Read};

use super::{
    Error,
    input::{Input, Sink},
};

/// The longest line, in bytes; a longer one is skipped and reported.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;

/// A line and its number, counted from 1. `Err` says why it cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) text: Result<String, String>,
}

/// The lines of `path`, or of stdin for `-`. Blank ones are counted and left out.
///
/// # Errors
/// [`Error::Input`] when the file cannot be opened.
pub(super) fn open(path: &str) -> Result<Input<Line>, Error> {
    Input::open(path, split)
}

/// Hands each line to `send` until that returns `false`.
pub(super) fn split(mut source: Box<dyn BufRead + Send>, send: Sink<'_, Line>) -> io::Result<()> {
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        source.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            break;
        }
        let text = if bytes.len() > LINE_BYTES_MAX {
            if !bytes.ends_with(b"\n") {
                source.skip_until(b'\n')?;
            }
            Err(format!("longer than {LINE_BYTES_MAX} bytes"))
        } else {
            std::str::from_utf8(&bytes).map(|text| text.trim().to_owned()).map_err(|error| error.to_string())
        };
        let blank = text.as_ref().is_ok_and(String::is_empty);
        if !blank && !send(Line { number, text }) {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    async fn lines(source: Vec<u8>) -> Result<Vec<(u64, bool)>, Error> {
        let mut lines = Input::read("test", None, Cursor::new(source), split);
        let mut read = Vec::new();
        while let Some(line) = lines.next().await? {
            read.push((line.number, line.text.is_ok()));
        }
        Ok(read)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).expect("memory");
        packer.finish().expect("memory")
    }

    #[tokio::test]
    async fn gzip_is_told_by_its_first_bytes_and_may_have_members() {
        let plain = b"{}\r\n\n  \n\xff\n{}".to_vec();
        let expected = vec![(1, true), (4, false), (5, true)];
        assert_eq!(lines(plain.clone()).await.expect("read"), expected);
        assert_eq!(lines(gzip(&plain)).await.expect("read"), expected);
        let members = [gzip(&plain[..7]), gzip(&plain[7..])].concat();
        assert_eq!(lines(members).await.expect("read"), expected);
        for empty in [&b""[..], b"\n", b"x"] {
            assert_eq!(lines(empty.to_vec()).await.expect("read").len(), usize::from(empty == b"x"));
        }
    }

    #[tokio::test]
    async fn a_source_that_breaks_off_is_an_error_after_its_lines() {
        let mut cut = gzip("{\"a\":1}\n".repeat(10_000).as_bytes());
        cut.truncate(cut.len() / 2);
        assert!(matches!(lines(cut).await, Err(Error::Input { .. })));
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_skipped_whole() {
        let mut source = vec![b'x'; LINE_BYTES_MAX + 10];
        source.extend_from_slice(b"\n{}\n");
        assert_eq!(lines(source).await.expect("read"), [(1, false), (2, true)]);
    }
}
