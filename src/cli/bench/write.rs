//! `freshet bench put` and `freshet bench patch`: writes, each answered after its commit.

use std::io::Write as _;

use super::{
    Error,
    fill::FillArgs,
    keys::{KeyArgs, Keys},
    load::{self, LoadArgs, Report, Requests},
    target::Target,
};
use crate::cli::{run_word::run_word, template::Template};

/// Records to create.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PutArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// The collection.
    #[arg(long, default_value = "products")]
    collection: String,
    /// What each record holds; `%n` stands for a number that rises.
    #[arg(long, value_name = "JSON", default_value = r#"{"name":"made by freshet bench","price":100,"stock":%n}"#)]
    value: String,
}

/// Creates records under keys that no other run uses; one that is there already would be an error.
///
/// # Errors
/// [`Error`], as of the load.
pub(super) fn put(args: &PutArgs, target: &Target) -> Result<Report, Error> {
    let value = template(&args.value)?;
    load::run("put", &args.load, target, Puts { collection: &args.collection, value, word: run_word(), made: 0 })
}

struct Puts<'a> {
    collection: &'a str,
    value: Template,
    word: String,
    made: u32,
}

impl Requests for Puts<'_> {
    fn write(&mut self, out: &mut Vec<u8>, id: usize) -> u32 {
        self.made += 1;
        let Puts { collection, word, made, .. } = self;
        // Writing to a Vec does not fail.
        let _ = write!(
            out,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"put","params":{{"collection":"{collection}","key":"{word}-{made}","if_stamp":"0","value":"#
        );
        self.value.write(out, self.made.into());
        out.extend_from_slice(b"}}");
        self.made
    }

    fn check(&self, tag: u32, result: &[u8]) -> Result<(), String> {
        written(&format!("{}-{tag}", self.word), result)
    }
}

/// Records to change.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PatchArgs {
    #[command(flatten)]
    load: LoadArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    pub(super) fill: FillArgs,
    /// The collection.
    #[arg(long, default_value = "products")]
    pub(super) collection: String,
    /// What is set; `%n` stands for a number that rises.
    #[arg(long, value_name = "JSON", default_value = r#"{"stock":%n}"#)]
    value: String,
    /// Give each patch an idempotency key of its own.
    #[arg(long)]
    idempotent: bool,
}

impl PatchArgs {
    pub(super) fn keys(&self) -> Result<Keys, Error> {
        Keys::new(&self.keys)
    }
}

/// Patches the records of `keys`.
///
/// # Errors
/// [`Error`], as of the load.
pub(super) fn patch(args: &PatchArgs, keys: Keys, target: &Target) -> Result<Report, Error> {
    let value = template(&args.value)?;
    let word = args.idempotent.then(run_word);
    load::run("patch", &args.load, target, Patches { collection: &args.collection, keys, value, word, made: 0 })
}

struct Patches<'a> {
    collection: &'a str,
    keys: Keys,
    value: Template,
    /// What idempotency keys begin with.
    word: Option<String>,
    made: u32,
}

impl Requests for Patches<'_> {
    fn write(&mut self, out: &mut Vec<u8>, id: usize) -> u32 {
        self.made += 1;
        let number = self.keys.draw();
        let (collection, key, made) = (self.collection, self.keys.name(number), self.made);
        // Writing to a Vec does not fail.
        let _ = write!(
            out,
            r#"{{"jsonrpc":"2.0","id":{id},"method":"patch","params":{{"collection":"{collection}","key":"{key}","#
        );
        if let Some(word) = &self.word {
            let _ = write!(out, r#""idempotency_key":"{word}-{made}","#);
        }
        out.extend_from_slice(br#""value":"#);
        self.value.write(out, made.into());
        out.extend_from_slice(b"}}");
        number
    }

    fn check(&self, tag: u32, result: &[u8]) -> Result<(), String> {
        written(self.keys.name(tag), result)
    }
}

fn template(text: &str) -> Result<Template, Error> {
    Template::parse(text).map_err(|problem| Error::Wrong(format!("--value {problem}")))
}

/// Whether `result` says that `key` was written.
fn written(key: &str, result: &[u8]) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Written<'a> {
        key: &'a str,
        version: u64,
    }
    let mut json = serde_json::Deserializer::from_slice(result);
    match serde::Deserialize::deserialize(&mut json) {
        Ok(Written { key: got, version: 1.. }) if got == key => Ok(()),
        Ok(Written { key: got, version }) => Err(format!("wrote {key:?}, got {got:?} at version {version}")),
        Err(error) => Err(format!("no answer to a write: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_for_another_key_is_an_error() {
        assert_eq!(written("a", br#"{"key":"a","version":3,"stamp":"1.3"}}"#), Ok(()));
        assert!(written("a", br#"{"key":"b","version":3}}"#).is_err());
        assert!(written("a", br#"{"key":"a","version":0}}"#).is_err());
    }
}
