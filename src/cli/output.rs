//! Results on stdout, for people or for programs.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::{
    Error,
    pretty::{Layout, harmless, lay_out},
    table::Palette,
};
use crate::client::{Record, Written};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Text for people.
    #[default]
    Human,
    /// A JSON object a line, for programs.
    Json,
}

/// stdout, flushed after each result so that a pipe sees it at once.
pub struct Output {
    format: Format,
    /// Whether people read it in a terminal that shows colours.
    colours: bool,
    to: Box<dyn Write + Send>,
}

impl Output {
    /// Prints to stdout.
    pub fn new(format: Format) -> Self {
        Output { format, colours: has_colours(&io::stdout()), to: Box::new(io::stdout()) }
    }

    /// Whom it is printed for.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// How text for people is coloured.
    pub(super) fn palette(&self) -> Palette {
        Palette { colours: self.colours }
    }

    /// Prints a state. An absent one is said to be absent.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn record(&mut self, record: &Record) -> Result<(), Error> {
        match self.format {
            Format::Json => self.json(record),
            Format::Human => self.line(&described(record)),
        }
    }

    /// Prints what a write came to; `done` is its verb.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn written(&mut self, done: &str, written: &Written) -> Result<(), Error> {
        if self.format == Format::Json {
            return self.json(written);
        }
        let mut text = format!("{done} {}, now at stamp {}", harmless(&written.key), written.stamp);
        if let Some(value) = &written.value {
            text.push('\n');
            text.push_str(&lay_out(value.get(), Layout::Indented));
        }
        self.line(&text)
    }

    /// Prints `summary` as JSON, or `text` for people.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn summary(&mut self, summary: &impl Serialize, text: &str) -> Result<(), Error> {
        match self.format {
            Format::Json => self.json(summary),
            Format::Human => self.line(text),
        }
    }

    /// Prints `results` as lines of JSON, or `text` for people.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn each(&mut self, results: &[impl Serialize], text: &str) -> Result<(), Error> {
        match self.format {
            Format::Json => results.iter().try_for_each(|result| self.json(result)),
            Format::Human => self.line(text),
        }
    }

    /// Prints `text` as it is.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub fn text(&mut self, text: &str) -> Result<(), Error> {
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()).map_err(Error::Output)
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string(value).map_err(|error| Error::Output(error.into()))?;
        // A value's own line breaks would make two lines of one.
        self.line(&lay_out(&text, Layout::Compact))
    }

    fn line(&mut self, text: &str) -> Result<(), Error> {
        writeln!(self.to, "{text}").and_then(|()| self.to.flush()).map_err(Error::Output)
    }
}

/// The columns of the terminal that stdout is; as many as there may be where it is none, or its width is not known.
pub(super) fn columns() -> usize {
    #[cfg(feature = "terminal")]
    if io::stdout().is_terminal()
        && let Ok((columns, _)) = ratatui::crossterm::terminal::size()
    {
        return usize::from(columns);
    }
    usize::MAX
}

/// Whether `stream` is a terminal that shows colours. NO_COLOR is a convention (no-color.org).
pub(super) fn has_colours(stream: &impl IsTerminal) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_set("NO_COLOR") && std::env::var("TERM").is_ok_and(|term| term != "dumb")
}

fn described(record: &Record) -> String {
    let mut text = format!("{}  {}", harmless(&record.key), record.stamp);
    if record.reset {
        text.push_str("  reset: the store lost history");
    }
    if let Some(millis) = record.stale_ms {
        text.push_str(&format!("  stale for {millis} ms"));
    }
    match &record.value {
        Some(value) => format!("{text}\n{}", lay_out(value.get(), Layout::Indented)),
        None => format!("{text}  absent"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// What was printed, for tests of commands.
    #[derive(Clone, Default)]
    pub(in crate::cli) struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Printed {
        pub(in crate::cli) fn output(format: Format) -> (Output, Self) {
            let printed = Printed::default();
            (Output { format, colours: false, to: Box::new(printed.clone()) }, printed)
        }

        pub(in crate::cli) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).expect("text")
        }
    }

    #[test]
    fn records_are_printed_exactly() {
        let text = r#"{"key":"a","version":7,"stamp":"1.7","value":{"price":2.50},"stale_ms":12}"#;
        let record: Record = serde_json::from_str(text).expect("a record");
        let (mut output, printed) = Printed::output(Format::Json);
        output.record(&record).expect("printed");
        assert_eq!(printed.text(), format!("{text}\n"));
        let (mut output, printed) = Printed::output(Format::Human);
        output.record(&record).expect("printed");
        assert_eq!(printed.text(), "a  1.7  stale for 12 ms\n{\n  \"price\": 2.50\n}\n");
    }

    #[test]
    fn a_value_with_line_breaks_is_one_line_of_json() {
        let record: Record =
            serde_json::from_str("{\"key\":\"a\",\"version\":7,\"stamp\":\"1.7\",\"value\":{\n\"doc\": [1,\n2]}}")
                .expect("a record");
        let (mut output, printed) = Printed::output(Format::Json);
        output.record(&record).expect("printed");
        assert_eq!(printed.text().lines().count(), 1);
    }
}
