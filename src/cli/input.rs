//! A file or stdin, plain or gzip, taken apart on a thread of its own, ahead of whoever reads the parts.

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

/// Parts read ahead; when full, reading waits.
const PARTS_AHEAD: usize = 256;

/// How a gzip member begins (RFC 1952, section 2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Takes one part; `false` when nobody wants more.
pub(super) type Sink<'a, T> = &'a mut dyn FnMut(T) -> bool;

/// A source and the parts it consists of.
pub(super) struct Input<T> {
    path: String,
    /// The source's size, if it is a file.
    pub(super) total_bytes: Option<u64>,
    read_bytes: Arc<AtomicU64>,
    ahead: mpsc::Receiver<io::Result<T>>,
}

impl<T: Send + 'static> Input<T> {
    /// Opens `path`, or stdin for `-`, and has `split` hand its parts over. Must be called within a runtime. The reading
    /// thread ends with the source or when this is dropped, at the next part.
    ///
    /// # Errors
    /// [`Error::Input`] when the file cannot be opened.
    pub(super) fn open<F>(path: &str, split: F) -> Result<Self, Error>
    where
        F: FnOnce(Box<dyn BufRead + Send>, Sink<'_, T>) -> io::Result<()> + Send + 'static,
    {
        if path == "-" {
            return Ok(Input::read("stdin", None, io::stdin(), split));
        }
        let failed = |source| Error::Input { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?;
        Ok(Input::read(path, size.is_file().then_some(size.len()), file, split))
    }

    pub(super) fn read<F>(path: &str, total_bytes: Option<u64>, source: impl Read + Send + 'static, split: F) -> Self
    where
        F: FnOnce(Box<dyn BufRead + Send>, Sink<'_, T>) -> io::Result<()> + Send + 'static,
    {
        let (sender, ahead) = mpsc::channel(PARTS_AHEAD);
        let read_bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { source, read_bytes: read_bytes.clone() };
        tokio::task::spawn_blocking(move || {
            let send = |part| sender.blocking_send(part).is_ok();
            if let Err(error) = unpacked(counted).and_then(|source| split(source, &mut |part| send(Ok(part)))) {
                send(Err(error));
            }
        });
        Input { path: path.to_owned(), total_bytes, read_bytes, ahead }
    }

    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Input`] when the source breaks off, such as a gzip file cut short. Nothing follows it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<T>, Error> {
        let part = self.ahead.recv().await.transpose();
        part.map_err(|source| Error::Input { path: self.path.clone(), source })
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
