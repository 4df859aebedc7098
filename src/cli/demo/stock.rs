//! The stock that a replay of the sales begins with.
//!
//! Promises: at its lowest point every product that is sold has [`MARGIN`] left, so none runs out.
//! Leaves to others: reading the sales ([`sales`](super::sales)), and writing the stock.

use std::collections::HashMap;

use super::sales::{Error, Sale};

/// What stays in stock at the lowest point of a replay, so that visitors can buy too.
pub const MARGIN: i64 = 20;

/// The stock each of the `known` products must start with, so that replaying `sales` never takes it below zero:
/// the largest running deficit of the product over the file, and [`MARGIN`] on top.
///
/// Lines of other products are skipped. A product that is never sold gets the margin.
///
/// # Errors
/// The first error of `sales`.
pub fn initial<'a>(
    sales: impl IntoIterator<Item = Result<Sale, Error>>,
    known: impl IntoIterator<Item = &'a str>,
) -> Result<HashMap<String, i64>, Error> {
    let mut ledgers: HashMap<String, Ledger> =
        known.into_iter().map(|sku| (sku.to_owned(), Ledger::default())).collect();
    for sale in sales {
        let sale = sale?;
        if let Some(ledger) = ledgers.get_mut(&sale.sku) {
            ledger.book(sale.stock_change());
        }
    }
    Ok(ledgers.into_iter().map(|(sku, ledger)| (sku, MARGIN - ledger.lowest)).collect())
}

/// A product's stock relative to its start.
#[derive(Default)]
struct Ledger {
    balance: i64,
    lowest: i64,
}

impl Ledger {
    fn book(&mut self, change: i64) {
        self.balance += change;
        self.lowest = self.lowest.min(self.balance);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sales::Sales, *};

    #[expect(clippy::unnecessary_wraps, reason = "as an iterator of sales gives them")]
    fn sale(sku: &str, qty: i64) -> Result<Sale, Error> {
        Ok(Sale { line: 2, at: 0, invoice: "1".into(), sku: sku.into(), qty, unit_price_pence: 100 })
    }

    #[test]
    fn initial_stock_is_the_largest_running_deficit_and_the_margin() {
        let sales =
            [sale("A", 5), sale("A", -2), sale("B", -9), sale("A", 4), sale("B", 3), sale("A", -7), sale("X", 50)];
        let stock = initial(sales, ["A", "B", "C"]).expect("sound sales");
        let expected = [("A", 7 + MARGIN), ("B", MARGIN), ("C", MARGIN)];
        assert_eq!(stock, expected.map(|(sku, stock)| (sku.to_owned(), stock)).into());
    }

    #[test]
    fn initial_stock_passes_an_error_on() {
        let sales = [sale("A", 1), Err(Error::Field { line: 3, column: "qty", text: "x".into() })];
        assert!(matches!(initial(sales, ["A"]), Err(Error::Field { line: 3, .. })));
    }

    #[test]
    fn the_shipped_file_leaves_the_margin_at_the_lowest_point() {
        let skus = ["85123A", "21212", "10002R"];
        let sales = || Sales::embedded().expect("a header");
        let mut stock = initial(sales(), skus).expect("a sound file");
        assert_eq!(stock["21212"], 59_431);
        let mut lowest = stock.clone();
        for sale in sales().map(|sale| sale.expect("a sound line")) {
            if let Some(now) = stock.get_mut(&sale.sku) {
                *now += sale.stock_change();
                lowest.entry(sale.sku).and_modify(|low| *low = (*low).min(*now));
            }
        }
        assert!(skus.iter().all(|sku| lowest[*sku] == MARGIN), "{lowest:?}");
    }
}
