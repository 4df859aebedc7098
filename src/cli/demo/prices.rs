//! The prices that a replay has set, and those that somebody else has: the replay leaves the latter alone.

use std::collections::HashMap;

use super::{catalogue::Product, sales::Sale};

/// The price that each product has by the replay, where it is known.
///
/// A price that is set between the replay's look and its write is overwritten: the demo's visitors see what happened, and a
/// condition would have the sale repeated for each change of the stock.
pub(super) struct Prices(HashMap<String, i64>);

impl Prices {
    /// Of a replay from the beginning, the prices of the catalogue.
    pub(super) fn of_catalogue(products: &[Product]) -> Self {
        Prices(products.iter().map(|product| (product.sku.clone(), product.list_price_pence)).collect())
    }

    /// Of a replay that goes on: each product's next sale sets its price.
    pub(super) fn unknown() -> Self {
        Prices(HashMap::new())
    }

    /// What is known of a product's price.
    pub(super) fn of(&self, sku: &str) -> Option<i64> {
        self.0.get(sku).copied()
    }

    /// A sale has set a product's price, or found it.
    pub(super) fn set(&mut self, sku: &str, pence: i64) {
        self.0.insert(sku.to_owned(), pence);
    }
}

/// What a sale makes of a price that is `current` and, by the replay, `known`; `None` if somebody else has set it, or the sale
/// names none.
pub(super) fn after(sale: &Sale, current: Option<i64>, known: Option<i64>) -> Option<i64> {
    let is_anothers = known.is_some_and(|known| current.is_some_and(|current| current != known));
    (sale.unit_price_pence > 0 && !is_anothers).then_some(sale.unit_price_pence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_that_somebody_else_has_set_is_left_alone() {
        let sale =
            |pence| Sale { line: 2, at: 0, invoice: "1".into(), sku: "A".into(), qty: 1, unit_price_pence: pence };
        assert_eq!(after(&sale(255), Some(295), Some(295)), Some(255));
        assert_eq!(after(&sale(255), Some(999), Some(295)), None, "set by hand");
        assert_eq!(after(&sale(255), Some(999), None), Some(255), "the replay goes on, and cannot know");
        assert_eq!((after(&sale(0), Some(295), Some(295)), after(&sale(-5), None, None)), (None, None));
    }
}
