//! The shop's sales, read line by line from gzipped CSV.
//!
//! For: replaying a real year of order writes, stock changes and price changes against the `products` collection.
//! Promises: lines come in file order, memory stays constant whatever the file's length, and an error names its line.
//! Leaves to others: what is in the catalogue, what there must be in stock ([`stock`](super::stock)), when a line is due
//! ([`schedule`](super::schedule)), and the writing.

use std::io::Read;

use csv::StringRecord;
use flate2::read::MultiGzDecoder;

/// The file that ships with the binary: 525,461 lines in time order, 2009-12-01 to 2010-12-09.
///
/// # Source
/// Chen, D. Online Retail II, UCI Machine Learning Repository, DOI 10.24432/C5CG6D, CC BY 4.0.
pub const EMBEDDED: &[u8] = include_bytes!("../../../demo/online-retail/sales-2010.csv.gz");

/// Units move by at most this much in one line, and a price is at most this many pence. The real file stays under
/// 20,000 units and 30,000 pounds; beyond this a line is damaged, and sums over millions of lines can not overflow.
const AMOUNT_MAX: i64 = 1_000_000_000;

/// The last second of the year 9999.
const AT_MAX: i64 = 253_402_300_799;

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// Where it stands in the file, the header being line 1: the position to resume from, and, with the invoice,
    /// a name for this one sale.
    pub line: u64,
    /// Unix seconds, at a resolution of one minute.
    pub at: i64,
    /// The invoice's number; a cancellation's begins with `C`.
    pub invoice: String,
    /// The product sold.
    pub sku: String,
    /// Units that left the stock; negative for a return.
    pub qty: i64,
    /// The price of one unit; 0 for gifts, samples and corrections.
    pub unit_price_pence: i64,
}

impl Sale {
    /// What the line adds to the stock: a return adds, a sale takes away.
    pub fn stock_change(&self) -> i64 {
        -self.qty
    }
}

/// Reads sales one at a time; after an error there are no more.
pub struct Sales<R> {
    rows: csv::Reader<MultiGzDecoder<R>>,
    columns: Columns,
    row: StringRecord,
    failed: bool,
}

impl Sales<&'static [u8]> {
    /// The sales that ship with the binary.
    ///
    /// # Errors
    /// As [`Sales::from_gzip`].
    pub fn embedded() -> Result<Self, Error> {
        Self::from_gzip(EMBEDDED)
    }
}

impl<R: Read> Sales<R> {
    /// Reads the header of a gzipped CSV file. Columns are found by name, in any order; others are passed over.
    ///
    /// # Errors
    /// [`Error::Read`] when the bytes are no gzip or no CSV, [`Error::ColumnMissing`] when a column is not there.
    pub fn from_gzip(gzip: R) -> Result<Self, Error> {
        let mut rows = csv::Reader::from_reader(MultiGzDecoder::new(gzip));
        let header = rows.headers().map_err(|source| Error::Read { line: 1, source })?;
        let columns = Columns::find(header)?;
        Ok(Self { rows, columns, row: StringRecord::new(), failed: false })
    }

    /// Passes over everything up to and including `line`, so that the next sale is the one after it.
    ///
    /// # Errors
    /// [`Error::Read`] when the file is damaged before that line.
    pub fn skip_to(&mut self, line: u64) -> Result<(), Error> {
        while self.rows.position().line() <= line && self.advance()? {}
        Ok(())
    }

    /// Reads the next row into `self.row`; `false` at the end of the file.
    fn advance(&mut self) -> Result<bool, Error> {
        let line = self.rows.position().line();
        self.rows.read_record(&mut self.row).map_err(|source| {
            self.failed = true;
            Error::Read { line: source.position().map_or(line, csv::Position::line), source }
        })
    }

    fn read(&mut self) -> Result<Option<Sale>, Error> {
        if self.failed || !self.advance()? {
            return Ok(None);
        }
        let line = self.row.position().map_or(0, csv::Position::line);
        let sale = self.columns.sale(&self.row, line);
        self.failed = sale.is_err();
        sale.map(Some)
    }
}

impl<R: Read> Iterator for Sales<R> {
    type Item = Result<Sale, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Where each column stands in a row.
struct Columns {
    ts: usize,
    invoice: usize,
    sku: usize,
    qty: usize,
    unit_price_pence: usize,
}

impl Columns {
    fn find(header: &StringRecord) -> Result<Self, Error> {
        let column = |name: &'static str| {
            header.iter().position(|found| found == name).ok_or(Error::ColumnMissing { column: name })
        };
        Ok(Self {
            ts: column("ts")?,
            invoice: column("invoice")?,
            sku: column("sku")?,
            qty: column("qty")?,
            unit_price_pence: column("unit_price_pence")?,
        })
    }

    fn sale(&self, row: &StringRecord, line: u64) -> Result<Sale, Error> {
        Ok(Sale {
            line,
            at: number(row, self.ts, "ts", 0, AT_MAX, line)?,
            invoice: row.get(self.invoice).unwrap_or_default().to_owned(),
            sku: sku(row, self.sku, line)?,
            qty: number(row, self.qty, "qty", -AMOUNT_MAX, AMOUNT_MAX, line)?,
            // The shop's books hold a few lines of negative price (bad debts); they are read, and change no price.
            unit_price_pence: number(row, self.unit_price_pence, "unit_price_pence", -AMOUNT_MAX, AMOUNT_MAX, line)?,
        })
    }
}

fn sku(row: &StringRecord, index: usize, line: u64) -> Result<String, Error> {
    match row.get(index) {
        Some(sku) if !sku.is_empty() => Ok(sku.to_owned()),
        _ => Err(Error::Field { line, column: "sku", text: String::new() }),
    }
}

fn number(row: &StringRecord, index: usize, column: &'static str, min: i64, max: i64, line: u64) -> Result<i64, Error> {
    let text = row.get(index).unwrap_or_default();
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(Error::Field { line, column, text: text.to_owned() }),
    }
}

/// Why the sales can not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is no gzip, is cut short, is not UTF-8, or a row has too few or too many fields.
    #[error("read line {line} of the sales")]
    Read {
        /// Counted from 1, the header.
        line: u64,
        /// What the CSV reader met.
        source: csv::Error,
    },
    /// The header lacks a column.
    #[error("find column {column} in the header of the sales")]
    ColumnMissing {
        /// Its name.
        column: &'static str,
    },
    /// A field does not hold what its column promises.
    #[error("read column {column} in line {line} of the sales: {text:?}")]
    Field {
        /// Counted from 1, the header.
        line: u64,
        /// Its name.
        column: &'static str,
        /// What stands there.
        text: String,
    },
}

impl Error {
    /// Never: the same bytes give the same answer.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const HEADER: &str = "ts,invoice,sku,qty,unit_price_pence,customer,country\n";

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    fn read(rows: &str) -> Vec<Result<Sale, Error>> {
        Sales::from_gzip(gzip(&format!("{HEADER}{rows}")).as_slice()).expect("a header").collect()
    }

    #[test]
    fn a_line_is_read_with_its_place_in_the_file() {
        let sales = read("1259653500,489434,85048,12,695,13085,United Kingdom\n60,C1,22041,-4,210,,\"Eire, the\"\n");
        let [Ok(sold), Ok(returned)] = &sales[..] else { panic!("{sales:?}") };
        let expected = Sale {
            line: 2,
            at: 1_259_653_500,
            invoice: "489434".into(),
            sku: "85048".into(),
            qty: 12,
            unit_price_pence: 695,
        };
        assert_eq!(*sold, expected);
        assert_eq!((returned.line, returned.stock_change()), (3, 4));
    }

    #[test]
    fn a_bad_field_is_named_with_its_line_and_ends_the_reading() {
        let sales = read("0,1,A,1,1,,\n0,1,A,many,1,,\n0,1,A,1,1,,\n");
        let [Ok(_), Err(Error::Field { line: 3, column: "qty", text })] = &sales[..] else { panic!("{sales:?}") };
        assert_eq!(text, "many");
    }

    #[test]
    fn impossible_amounts_and_times_are_refused() {
        for row in ["-1,1,A,1,1,,", "9999999999999,1,A,1,1,,", "0,1,A,9000000000000000000,1,,", "0,1,,1,1,,"] {
            assert!(matches!(&read(row)[..], [Err(Error::Field { line: 2, .. })]), "{row}");
        }
    }

    #[test]
    fn a_row_cut_short_is_named_with_its_line() {
        let sales = read("0,1,A,1,1,,\n0,1,A\n");
        assert!(matches!(&sales[..], [Ok(_), Err(Error::Read { line: 3, .. })]), "{sales:?}");
    }

    #[test]
    fn a_truncated_file_is_an_error_not_an_end() {
        let whole = gzip(&format!("{HEADER}{}", "1259653500,489434,85048,12,695,13085,UK\n".repeat(5_000)));
        let sales: Vec<_> = Sales::from_gzip(&whole[..whole.len() / 2]).expect("a header").collect();
        let Some((Err(Error::Read { line, .. }), read)) = sales.split_last() else { panic!("no error") };
        assert_eq!(*line, read.len() as u64 + 2);
    }

    #[test]
    fn what_is_no_sales_file_is_refused_at_once() {
        assert!(matches!(Sales::from_gzip(&b"plain text"[..]), Err(Error::Read { line: 1, .. })));
        let other = gzip("ts,invoice,sku,quantity\n");
        assert!(matches!(Sales::from_gzip(other.as_slice()), Err(Error::ColumnMissing { column: "qty" })));
    }

    #[test]
    fn skipping_resumes_after_the_line_given() {
        let bytes = gzip(&format!("{HEADER}0,1,A,1,1,,\n0,1,B,1,1,,\n0,1,C,1,1,,\n"));
        for (line, expected) in [(0, Some("A")), (1, Some("A")), (2, Some("B")), (3, Some("C")), (4, None), (99, None)]
        {
            let mut sales = Sales::from_gzip(bytes.as_slice()).expect("a header");
            sales.skip_to(line).expect("a sound file");
            let next = sales.next().map(|sale| sale.expect("a sound line").sku);
            assert_eq!(next.as_deref(), expected, "after line {line}");
        }
    }

    #[test]
    fn the_shipped_file_is_whole_and_in_time_order() {
        let mut lines = 0;
        let mut latest = i64::MIN;
        for sale in Sales::embedded().expect("a header") {
            let sale = sale.expect("a sound line");
            assert!(sale.at >= latest, "line {}", sale.line);
            latest = sale.at;
            lines += 1;
        }
        assert_eq!(lines, 525_461);
    }

    #[test]
    fn no_error_is_worth_a_retry() {
        let missing = Error::ColumnMissing { column: "qty" };
        let field = Error::Field { line: 2, column: "qty", text: "x".into() };
        assert!(!missing.is_retryable() && !field.is_retryable());
    }
}
