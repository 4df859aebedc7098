//! docs/limits.md: every limit with its default, what happens beyond it, and the test that shows it.
//!
//! [`table`] names them; defaults and constants are read from the code. `FRESHET_WRITE_DOCS=1 cargo test --test layering
//! limits` writes the page anew. A key of the configuration that holds a number and stands neither here nor in [`NO_LIMITS`] fails.

mod table;

use std::{collections::BTreeSet, fs, path::Path};

use bytesize::ByteSize;
use freshet::config::Config;
use toml::{Table, Value};

use self::table::{
    Kind::{self, Bytes, Count, Time},
    Limit::{self, Constant, Setting},
    NO_LIMITS, SECTIONS,
};

/// The configuration with all that has a default, one database and a Redis.
fn defaults() -> Table {
    let text = "[[database]]\nurl = \"postgres://h/d\"\n[redis]\nurls = [\"redis://h\"]";
    let config: Config = toml::from_str(text).expect("a configuration");
    let mut table = Table::try_from(config).expect("serialises");
    let databases = table.remove("database").expect("one");
    table.insert("database".into(), databases.as_array().expect("a list")[0].clone());
    table
}

/// The value of a dotted key.
fn value<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((parent, rest)) => value(table.get(parent)?.as_table()?, rest),
        None => table.get(key),
    }
}

/// All dotted keys below `table` that hold a number, a time or a size.
fn numbers(path: &str, table: &Table) -> Vec<String> {
    let each = |(key, value): (&String, &Value)| {
        let key = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inner) => numbers(&key, inner),
            Value::Integer(_) | Value::Float(_) => vec![key],
            Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit()) => vec![key],
            _ => Vec::new(),
        }
    };
    table.iter().flat_map(each).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The number that a constant's expression says: digits, shifts and products.
fn number(expression: &str) -> u64 {
    let term = |text: &str| text.trim().replace('_', "").parse::<u64>().ok();
    let shifted = |text: &str| match text.split_once("<<") {
        Some((left, right)) => Some(term(left)? << term(right)?),
        None => term(text),
    };
    let product = expression.split('*').map(shifted).product::<Option<u64>>();
    product.unwrap_or_else(|| panic!("{expression} is no number"))
}

/// What a constant is set to, as people write it.
fn constant(file: &str, name: &str, kind: Kind) -> String {
    let text = source(file);
    let line = text.lines().find(|line| line.contains(&format!("const {name}:")));
    let line = line.unwrap_or_else(|| panic!("{file} has no constant {name}"));
    let expression = line.split_once('=').expect("a value").1.trim().trim_end_matches(';');
    match kind {
        Count => grouped(number(expression)),
        Bytes => bytes(number(expression)),
        Time => {
            let (unit, count) = expression.trim_end_matches(')').rsplit_once('(').expect("a duration");
            let unit = if unit.ends_with("from_millis") { "ms" } else { "s" };
            format!("{}{unit}", number(count))
        }
    }
}

fn bytes(number: u64) -> String {
    if number < 1024 { format!("{number} bytes") } else { sized(&ByteSize(number).to_string()) }
}

/// `2.0 MiB` as `2 MiB`.
fn sized(text: &str) -> String {
    text.replace(".0 ", " ")
}

/// 15000 as 15,000.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let from_the_end = digits.bytes().rev().enumerate();
    let mut reversed = Vec::new();
    for (at, digit) in from_the_end {
        if at > 0 && at % 3 == 0 {
            reversed.push(b',');
        }
        reversed.push(digit);
    }
    reversed.reverse();
    String::from_utf8(reversed).expect("digits")
}

fn row(limit: &Limit, defaults: &Table) -> String {
    let (name, default, beyond, tests) = match limit {
        Setting(key, beyond, tests) => {
            let default = match value(defaults, key) {
                Some(Value::Integer(number)) => grouped(number.unsigned_abs()),
                Some(Value::String(text)) => sized(text),
                Some(other) => other.to_string(),
                None => panic!("the configuration has no {key}"),
            };
            (format!("`{key}`"), default, beyond, tests)
        }
        Constant(what, (file, name, kind), beyond, tests) => {
            ((*what).to_owned(), format!("{}, fixed", constant(file, name, *kind)), beyond, tests)
        }
    };
    let shown = tests.iter().map(|(file, test)| format!("[`{test}`](../{file})")).collect::<Vec<_>>().join(", ");
    format!("| {name} | {default} | {beyond} | {shown} |\n")
}

fn page() -> String {
    let defaults = defaults();
    let mut page = include_str!("limits/head.md").to_owned();
    for (title, introduction, limits) in SECTIONS {
        page += &format!("\n## {title}\n");
        if !introduction.is_empty() {
            page += &format!("\n{introduction}\n");
        }
        page += "\n| limit | default | beyond it | shown by |\n|---|---|---|---|\n";
        page.extend(limits.iter().map(|limit| row(limit, &defaults)));
    }
    page + include_str!("limits/tail.md")
}

#[test]
fn the_page_of_limits_says_what_the_code_does() {
    let file = root().join("docs/limits.md");
    if std::env::var_os("FRESHET_WRITE_DOCS").is_some() {
        fs::write(&file, page()).expect("written");
    }
    let written = fs::read_to_string(file).unwrap_or_default();
    let differs = page().lines().zip(written.lines()).find(|(now, then)| now != then).map(|(now, _)| now.to_owned());
    let how = "write it anew: FRESHET_WRITE_DOCS=1 cargo test --test layering limits";
    assert!(written == page(), "docs/limits.md is not what the code says; {how}\nfirst difference: {differs:?}");
}

#[test]
fn each_limit_names_a_test_that_is_there() {
    let tests = SECTIONS.iter().flat_map(|(_, _, limits)| *limits).flat_map(|limit| match limit {
        Setting(_, _, tests) | Constant(_, _, _, tests) => *tests,
    });
    let missing: Vec<_> =
        tests.filter(|(file, test)| !source(file).contains(&format!("fn {test}("))).map(|(_, test)| test).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn every_number_of_the_configuration_is_a_limit_or_said_to_be_none() {
    let settings = SECTIONS.iter().flat_map(|(_, _, limits)| *limits).filter_map(|limit| match limit {
        Setting(key, ..) => Some(*key),
        Constant(..) => None,
    });
    let known: BTreeSet<&str> = settings.chain(NO_LIMITS.iter().copied()).collect();
    let all = numbers("", &defaults());
    let unknown: Vec<_> = all.iter().filter(|key| !known.contains(key.as_str())).collect();
    assert!(unknown.is_empty(), "name these in tests/layering/limits/table.rs, in SECTIONS or NO_LIMITS: {unknown:?}");
    let gone: Vec<_> = known.iter().filter(|key| !all.iter().any(|known| known == *key)).collect();
    assert!(gone.is_empty(), "the configuration has these no more, or they hold no number: {gone:?}");
}
