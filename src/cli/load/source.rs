//! Where the rows come from, and how they are read.

use super::{
    csv::{self, Dialect},
    jsonl,
    row::Row,
};
use crate::{
    cli::{Error, input::Input},
    client::Description,
};

/// What a source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum InputFormat {
    /// A JSON object a line.
    Jsonl,
    /// A header that names columns, then fields; as RFC 4180 has it.
    Csv,
}

/// The source and how to read it.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// A file of JSON lines or CSV, plain or gzip; `-` reads stdin.
    pub(super) file: String,
    /// What the file holds; unless given, CSV if its name ends in .csv or .tsv (or .csv.gz), else JSON lines.
    #[arg(long, value_name = "FORMAT", value_enum)]
    input_format: Option<InputFormat>,
    /// The member or column that holds the key; unless given, the collection's own.
    #[arg(long, value_name = "NAME")]
    key_column: Option<String>,
    /// What stands between two fields of CSV, such as ; or \\t; unless given, a comma, or a tab in .tsv.
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    delimiter: Option<u8>,
    /// The field of CSV that stands for NULL; unless given, the empty one.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    null: String,
}

/// Reads what stands between two fields of CSV.
///
/// # Errors
/// What it must be.
pub(in crate::cli) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" | b"tab" => Ok(b'\t'),
        [one] if one.is_ascii() && !matches!(one, b'"' | b'\n' | b'\r') => Ok(*one),
        _ => Err("it is one ASCII character, or \\t".into()),
    }
}

impl SourceArgs {
    /// Whether it is stdin.
    pub(super) fn is_stdin(&self) -> bool {
        self.file == "-"
    }

    /// What to call it.
    pub(super) fn name(&self) -> &str {
        if self.is_stdin() { "stdin" } else { &self.file }
    }

    fn format(&self) -> InputFormat {
        self.input_format.unwrap_or(match self.ends_in(".csv") || self.ends_in(".tsv") {
            true => InputFormat::Csv,
            false => InputFormat::Jsonl,
        })
    }

    fn ends_in(&self, end: &str) -> bool {
        let name = self.file.to_ascii_lowercase();
        name.strip_suffix(".gz").unwrap_or(&name).ends_with(end)
    }

    fn key_column(&self, description: &Description) -> String {
        self.key_column.clone().unwrap_or_else(|| description.key_column.clone())
    }

    fn delimiter(&self) -> u8 {
        self.delimiter.unwrap_or(if self.ends_in(".tsv") { b'\t' } else { b',' })
    }

    /// The options that say how a row is read, whole, as they could be given.
    pub(super) fn reading(&self, description: &Description) -> String {
        let key = self.key_column(description);
        match self.format() {
            InputFormat::Jsonl => format!("--input-format jsonl --key-column {key}"),
            InputFormat::Csv => {
                let (delimiter, null) = (char::from(self.delimiter()), &self.null);
                format!("--input-format csv --key-column {key} --delimiter {delimiter:?} --null {null:?}")
            }
        }
    }

    /// Begins to read rows of the collection described.
    ///
    /// # Errors
    /// [`Error::Input`] when the file cannot be opened.
    pub(super) fn open(&self, description: Description) -> Result<Input<Row>, Error> {
        let key_column = self.key_column(&description);
        match self.format() {
            InputFormat::Jsonl => jsonl::open(&self.file, key_column),
            InputFormat::Csv => {
                let dialect = Dialect { description, key_column, delimiter: self.delimiter(), null: self.null.clone() };
                csv::open(&self.file, dialect)
            }
        }
    }
}
