//! A record as a line of JSON or of CSV.

use std::{borrow::Cow, collections::HashMap, path::Path};

use serde_json::value::RawValue;

use crate::{
    cli::Error,
    client::{self, ColumnKind, Description, Record},
};

/// What lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OutputFormat {
    /// A JSON object a line.
    Jsonl,
    /// A header that names columns, then fields; as RFC 4180 has it.
    Csv,
}

/// How lines are written.
#[derive(Debug, clap::Args)]
pub(super) struct Dialect {
    /// What to write; unless given, CSV if the file's name ends in .csv or .tsv, else JSON lines.
    #[arg(long, value_name = "FORMAT", value_enum)]
    output_format: Option<OutputFormat>,
    /// What stands between two fields of CSV, such as ; or \\t; unless given, a comma, or a tab in .tsv.
    #[arg(long, value_name = "CHARACTER", value_parser = crate::cli::load::delimiter)]
    delimiter: Option<u8>,
    /// The field of CSV that stands for NULL; unless given, the empty one. An empty text is written in quotes.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    null: String,
}

/// Writes records of one collection.
pub(super) struct Rows {
    format: OutputFormat,
    delimiter: char,
    null: String,
    description: Description,
}

impl Rows {
    pub(super) fn new(dialect: &Dialect, file: Option<&Path>, description: Description) -> Self {
        let ends_in = |end: &str| {
            file.and_then(Path::extension)
                .is_some_and(|extension| extension.to_string_lossy().eq_ignore_ascii_case(end))
        };
        let (is_csv, is_tsv) = (ends_in("csv"), ends_in("tsv"));
        Rows {
            format: dialect.output_format.unwrap_or(if is_csv || is_tsv {
                OutputFormat::Csv
            } else {
                OutputFormat::Jsonl
            }),
            delimiter: dialect.delimiter.map_or(if is_tsv { '\t' } else { ',' }, char::from),
            null: dialect.null.clone(),
            description,
        }
    }

    /// How lines are written, as text.
    pub(super) fn reading(&self) -> String {
        let columns: Vec<_> = self.description.columns.iter().map(|column| column.name.as_str()).collect();
        match self.format {
            OutputFormat::Jsonl => "jsonl".to_owned(),
            OutputFormat::Csv => format!("csv {:?} {:?} {}", self.delimiter, self.null, columns.join(",")),
        }
    }

    /// What comes before the first record.
    pub(super) fn header(&self) -> String {
        match self.format {
            OutputFormat::Jsonl => String::new(),
            OutputFormat::Csv => {
                let names = self.description.columns.iter().map(|column| Some(Cow::Borrowed(column.name.as_str())));
                self.line(names)
            }
        }
    }

    /// Appends the line of `record`.
    ///
    /// # Errors
    /// [`client::Error::Answer`] for a value that is no JSON object.
    pub(super) fn write(&self, out: &mut String, record: &Record) -> Result<(), Error> {
        let value = record.value.as_ref().map_or("null", |value| value.get());
        if self.format == OutputFormat::Jsonl {
            // Between the parts of a value only: strings have none.
            out.push_str(&value.replace(['\n', '\r'], " "));
            out.push('\n');
            return Ok(());
        }
        let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(value).map_err(client::Error::Answer)?;
        let fields = self.description.columns.iter().map(|column| {
            let raw = members.get(column.name.as_str()).map_or("null", |raw| raw.get());
            match (raw, column.kind) {
                ("null", _) => None,
                (_, ColumnKind::Json | ColumnKind::Jsonb) => Some(Cow::Borrowed(raw)),
                _ => Some(serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(raw), Cow::Owned)),
            }
        });
        out.push_str(&self.line(fields));
        Ok(())
    }

    /// # Source
    /// RFC 4180; NULL is told from an empty text as by PostgreSQL's COPY, which the crate `csv` does not do.
    fn line<'f>(&self, fields: impl Iterator<Item = Option<Cow<'f, str>>>) -> String {
        let mut line = String::new();
        for (at, field) in fields.enumerate() {
            if at > 0 {
                line.push(self.delimiter);
            }
            match field {
                None => line.push_str(&self.null),
                Some(text) if text == self.null || text.contains([self.delimiter, '"', '\n', '\r']) => {
                    line.push('"');
                    line.push_str(&text.replace('"', "\"\""));
                    line.push('"');
                }
                Some(text) => line.push_str(&text),
            }
        }
        line.push('\n');
        line
    }
}
