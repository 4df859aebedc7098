//! `freshet bench get`: reads, from whatever tier answers them.

use super::{
    Error, answer,
    fill::FillArgs,
    keys::{KeyArgs, Keys},
    load::{self, LoadArgs, Report, Requests},
    target::Target,
};

/// What to read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    pub(super) fill: FillArgs,
    /// The collection.
    #[arg(long, default_value = "products")]
    pub(super) collection: String,
}

impl Args {
    pub(super) fn keys(&self) -> Result<Keys, Error> {
        Keys::new(&self.keys)
    }
}

/// Reads the records of `keys`.
///
/// # Errors
/// [`Error`], as of the load.
pub(super) fn run(args: &Args, keys: Keys, target: &Target) -> Result<Report, Error> {
    load::run("get", &args.load, target, Gets { collection: &args.collection, keys })
}

struct Gets<'a> {
    collection: &'a str,
    keys: Keys,
}

impl Requests for Gets<'_> {
    fn write(&mut self, out: &mut Vec<u8>, id: usize) -> u32 {
        use std::io::Write as _;
        let number = self.keys.draw();
        let (collection, key) = (self.collection, self.keys.name(number));
        // Writing to a Vec does not fail.
        let _ = write!(
            out,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"get","params":{{"collection":"{collection}","key":"{key}"}}}}"#
        );
        number
    }

    fn check(&self, tag: u32, result: &[u8]) -> Result<(), String> {
        let record = answer::record(result).map_err(|error| format!("no record: {error}"))?;
        let key = self.keys.name(tag);
        match record.value {
            _ if record.key != key => Err(format!("asked for {key:?}, got {:?}", record.key)),
            None => Err(format!("{key:?} is not there; `--fill` puts the records first")),
            Some(_) => Ok(()),
        }
    }
}
