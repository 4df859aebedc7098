//! Lines of a file or of stdin, plain or gzip, read ahead on a thread of its own.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::read::MultiGzDecoder;
use tokio::sync::mpsc;

use super::Error;

/// The longest line, in bytes; a longer one is skipped and reported.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;

/// Lines read ahead; when full, reading waits.
const LINES_AHEAD: usize = 256;

/// How a gzip member begins (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A line and its number, counted from 1. `Err` says why it cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) text: Result<String, String>,
}

/// A source of lines. Blank ones are counted and left out.
pub(super) struct Lines {
    path: String,
    /// The source's size, if it is a file.
    pub(super) total_bytes: Option<u64>,
    read_bytes: Arc<AtomicU64>,
    ahead: mpsc::Receiver<io::Result<Line>>,
}

impl Lines {
    /// Opens `path`, or stdin for `-`. Must be called within a runtime. The reading thread ends with the source or when
    /// this is dropped, at the next line.
    ///
    /// # Errors
    /// [`Error::Input`] when the file cannot be opened.
    pub(super) fn open(path: &str) -> Result<Self, Error> {
        if path == "-" {
            return Ok(Lines::read("stdin", None, io::stdin()));
        }
        let failed = |source| Error::Input { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?;
        Ok(Lines::read(path, size.is_file().then_some(size.len()), file))
    }

    fn read(path: &str, total_bytes: Option<u64>, source: impl Read + Send + 'static) -> Self {
        let (sender, ahead) = mpsc::channel(LINES_AHEAD);
        let read_bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { source, read_bytes: read_bytes.clone() };
        tokio::task::spawn_blocking(move || {
            let send = |line| sender.blocking_send(line).is_ok();
            if let Err(error) = unpacked(counted).and_then(|source| split(source, &mut |line| send(Ok(line)))) {
                send(Err(error));
            }
        });
        Lines { path: path.to_owned(), total_bytes, read_bytes, ahead }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Input`] when the source breaks off, such as a gzip file cut short. Nothing follows it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Error> {
        let line = self.ahead.recv().await.transpose();
        line.map_err(|source| Error::Input { path: self.path.clone(), source })
    }

    /// How much of the source was read, packed as it is.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }
}

struct Counted<R> {
    source: R,
    read_bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.read_bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// `source`, unpacked if its first bytes are gzip's.
fn unpacked(mut source: impl Read + Send + 'static) -> io::Result<Box<dyn BufRead + Send>> {
    let mut head = Vec::with_capacity(GZIP_MAGIC.len());
    source.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut head)?;
    let packed = head == GZIP_MAGIC;
    let whole = BufReader::with_capacity(64 * 1024, Cursor::new(head).chain(source));
    Ok(if packed { Box::new(BufReader::new(MultiGzDecoder::new(whole))) } else { Box::new(whole) })
}

/// Hands each line to `send` until that returns `false`.
fn split(mut source: Box<dyn BufRead + Send>, send: &mut dyn FnMut(Line) -> bool) -> io::Result<()> {
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
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    async fn lines(source: Vec<u8>) -> Result<Vec<(u64, bool)>, Error> {
        let mut lines = Lines::read("test", None, Cursor::new(source));
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
