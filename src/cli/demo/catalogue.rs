//! The shop's catalogue, read from gzipped JSON lines and turned into records of the `products` collection.
//!
//! For: filling a fresh database, and the static index that the page searches in.
//! Promises: every product that is returned is complete and its SKU unique; an error names its line.
//! Leaves to others: the stock a product starts with ([`stock`](super::stock)), and the writing.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

/// The file that ships with the binary: 4,064 products.
///
/// # Source
/// Derived from: Chen, D. Online Retail II, UCI Machine Learning Repository, DOI 10.24432/C5CG6D, CC BY 4.0.
pub const EMBEDDED: &[u8] = include_bytes!("../../../demo/online-retail/products.jsonl.gz");

/// One product of the catalogue. Fields of the file that no record needs are passed over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Product {
    /// The record's key.
    pub sku: String,
    /// As the shop spelled it.
    pub name: String,
    /// ISO 4217, three letters.
    pub currency: String,
    /// The price a replay begins with: the one most of the year's sales were made at.
    ///
    /// The file's `price_pence` is the price of the *last* sale, the state a replay ends in; beginning there would
    /// show the end of the story first. The *first* sale's is another than the usual one for 1,184 of the 4,064
    /// products, since wholesale and retail orders stand side by side.
    pub list_price_pence: i64,
    /// What else is known about it.
    #[serde(flatten)]
    pub attributes: Attributes,
}

/// The free-form part of a product's record, in the order it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Units over the year, returns not taken off.
    pub units_sold: i64,
    /// Invoices that held it.
    pub orders: i64,
    /// Known customers that bought it.
    pub customers: i64,
    /// Up to five, the largest first.
    pub top_countries: Vec<String>,
    /// RFC 3339.
    pub first_sold: String,
    /// RFC 3339.
    pub last_sold: String,
}

/// A row of `products`, in the table's column order.
#[derive(Serialize)]
struct Row<'a> {
    sku: &'a str,
    name: &'a str,
    currency: &'a str,
    price: i64,
    stock: i64,
    attributes: &'a Attributes,
}

impl Product {
    /// The product as a record of `products` with `stock` units: its key and its value's JSON text.
    pub fn record(&self, stock: i64) -> (String, String) {
        let row = Row {
            sku: &self.sku,
            name: &self.name,
            currency: &self.currency,
            price: self.list_price_pence,
            stock,
            attributes: &self.attributes,
        };
        (self.sku.clone(), json(&row))
    }

    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self { sku, .. } if sku.is_empty() => Err("sku is empty"),
            Self { name, .. } if name.trim().is_empty() => Err("name is empty"),
            Self { currency, .. } if !is_currency(currency) => Err("currency is not three capital letters"),
            Self { list_price_pence: ..=0, .. } => Err("list_price_pence is not positive"),
            _ => Ok(()),
        }
    }
}

/// Reads the whole catalogue, in file order.
///
/// # Errors
/// See [`Error`]; nothing is returned of a file that is damaged anywhere.
pub fn read(gzip: impl Read) -> Result<Vec<Product>, Error> {
    let lines = BufReader::new(MultiGzDecoder::new(gzip)).lines();
    let mut seen = HashSet::new();
    (1..)
        .zip(lines)
        .map(|(line, text)| {
            let product = parse(line, text.map_err(|source| Error::Read { line, source })?)?;
            if !seen.insert(product.sku.clone()) {
                return Err(Error::DuplicateSku { line, sku: product.sku });
            }
            Ok(product)
        })
        .collect()
}

/// The catalogue that ships with the binary.
///
/// # Errors
/// As [`read`].
pub fn embedded() -> Result<Vec<Product>, Error> {
    read(EMBEDDED)
}

/// The text of `/products.json`: an array of `[sku, name]`, the product with the most orders first.
///
/// The page keeps this order among equally good matches, and shows its beginning when nothing is searched for: the
/// products that move most in a replay.
pub fn index_json(products: &[Product]) -> String {
    let mut by_orders: Vec<&Product> = products.iter().collect();
    by_orders.sort_by(|a, b| (Reverse(a.attributes.orders), &a.sku).cmp(&(Reverse(b.attributes.orders), &b.sku)));
    let index: Vec<[&str; 2]> = by_orders.into_iter().map(|product| [&*product.sku, &*product.name]).collect();
    json(&index)
}

fn parse(line: u64, text: String) -> Result<Product, Error> {
    let product: Product = serde_json::from_str(&text).map_err(|source| Error::Parse { line, source })?;
    product.check().map_err(|reason| Error::Invalid { line, reason })?;
    Ok(product)
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase())
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("strings, integers and lists of them have a JSON text")
}

/// Why the catalogue can not be read. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is no gzip, is cut short or is not UTF-8.
    #[error("read line {line} of the catalogue")]
    Read {
        /// The line that could not be read to its end.
        line: u64,
        /// What the decoder met.
        source: io::Error,
    },
    /// A line is no JSON object with the fields of a product.
    #[error("parse line {line} of the catalogue")]
    Parse {
        /// The line.
        line: u64,
        /// What the parser met; its own line number is always 1.
        source: serde_json::Error,
    },
    /// A field's value can not be.
    #[error("accept line {line} of the catalogue: {reason}")]
    Invalid {
        /// The line.
        line: u64,
        /// Names the field.
        reason: &'static str,
    },
    /// An earlier line has this SKU.
    #[error("accept line {line} of the catalogue: sku {sku:?} stood before")]
    DuplicateSku {
        /// The later line.
        line: u64,
        /// The SKU both have.
        sku: String,
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
    use serde_json::{Value, json};

    use super::*;

    const LINE: &str = r#"{"sku":"10002","name":"LETTER \"Z\" GLOBE","currency":"GBP","price_pence":72,"list_price_pence":85,"min_price_pence":72,"max_price_pence":170,"units_sold":7976,"units_returned":1223,"orders":310,"customers":153,"top_countries":["United Kingdom","France"],"first_sold":"2009-12-01T09:08:00Z","last_sold":"2010-12-09T18:58:00Z","other_names":["BALL"]}"#;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    fn read_text(text: &str) -> Result<Vec<Product>, Error> {
        read(gzip(text).as_slice())
    }

    #[test]
    fn a_product_becomes_a_record_at_its_list_price() {
        let products = read_text(&format!("{LINE}\n")).expect("a sound line");
        let (key, value) = products[0].record(41);
        assert_eq!(key, "10002");
        let expected = json!({
            "sku": "10002", "name": "LETTER \"Z\" GLOBE", "currency": "GBP", "price": 85, "stock": 41,
            "attributes": {
                "units_sold": 7976, "orders": 310, "customers": 153, "top_countries": ["United Kingdom", "France"],
                "first_sold": "2009-12-01T09:08:00Z", "last_sold": "2010-12-09T18:58:00Z",
            },
        });
        assert_eq!(serde_json::from_str::<Value>(&value).expect("JSON"), expected);
        assert!(value.starts_with(r#"{"sku":"10002","name":"#), "columns keep the table's order: {value}");
    }

    #[test]
    fn a_corrupt_line_is_named() {
        let error = read_text(&format!("{LINE}\n{{\"sku\":\n")).expect_err("half an object");
        assert!(matches!(error, Error::Parse { line: 2, .. }), "{error:?}");
        assert_eq!(error.to_string(), "parse line 2 of the catalogue");
    }

    #[test]
    fn a_missing_field_is_named_with_its_line() {
        let error = read_text(&LINE.replace("\"orders\"", "\"order\"")).expect_err("no orders");
        let Error::Parse { line: 1, source } = error else { panic!("{error:?}") };
        assert!(source.to_string().contains("orders"), "{source}");
    }

    #[test]
    fn values_that_can_not_be_are_refused() {
        for (from, to) in [("10002", ""), ("LETTER \\\"Z\\\" GLOBE", " "), ("GBP", "gbp"), (":85", ":0")] {
            let outcome = read_text(&LINE.replace(from, to));
            assert!(matches!(outcome, Err(Error::Invalid { line: 1, .. })), "{from} -> {to}: {outcome:?}");
        }
    }

    #[test]
    fn a_sku_may_stand_once() {
        let outcome = read_text(&format!("{LINE}\n{LINE}\n"));
        assert!(matches!(&outcome, Err(Error::DuplicateSku { line: 2, sku }) if sku == "10002"), "{outcome:?}");
    }

    #[test]
    fn a_truncated_file_is_an_error_not_an_end() {
        let outcome = read(&EMBEDDED[..EMBEDDED.len() / 2]);
        assert!(matches!(outcome, Err(Error::Read { line: 1_000.., .. })), "{:?}", outcome.map(|all| all.len()));
        assert!(matches!(read(&b"plain text"[..]), Err(Error::Read { line: 1, .. })));
    }

    #[test]
    fn the_index_lists_the_most_ordered_first() {
        let rare = LINE.replace("10002", "10001").replace(":310", ":3");
        let often = LINE.replace("10002", "20000").replace(":310", ":3000");
        let products = read_text(&format!("{rare}\n{LINE}\n{often}")).expect("sound lines");
        let index: Value = serde_json::from_str(&index_json(&products)).expect("JSON");
        let name = "LETTER \"Z\" GLOBE";
        assert_eq!(index, json!([["20000", name], ["10002", name], ["10001", name]]));
    }

    #[test]
    fn the_shipped_catalogue_is_whole() {
        let products = embedded().expect("a sound file");
        assert_eq!(products.len(), 4_064);
        assert!(index_json(&products).starts_with(r#"[["85123A","WHITE HANGING HEART T-LIGHT HOLDER"],"#));
    }

    #[test]
    fn no_error_is_worth_a_retry() {
        let invalid = Error::Invalid { line: 1, reason: "sku is empty" };
        let duplicate = Error::DuplicateSku { line: 2, sku: "A".into() };
        assert!(!invalid.is_retryable() && !duplicate.is_retryable());
    }
}
