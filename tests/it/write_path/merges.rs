//! A patch of a json column is merged in the server as this process merges it.

use freshet::record::{Patch, patch::Members};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::node_with_products;

/// A random JSON text, with names that meet and numbers that must keep their digits.
fn random(rng: &mut StdRng, depth: u32) -> String {
    let scalars =
        ["null", "true", "0.10", "1e3", "12345678901234567890123", r#""it's""#, r#""\u00e9\"\\""#, "[1, 2]", "{}"];
    if depth == 0 || rng.random_bool(0.4) {
        return scalars[rng.random_range(0..scalars.len())].to_owned();
    }
    let members = (0..rng.random_range(0..4)).map(|_| {
        let name = ["a", "b", "c", "d\\\"", "é", "a"][rng.random_range(0..6)];
        format!("\"{name}\": {}", random(rng, depth - 1))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn the_server_merges_as_this_process_does() {
    let (node, database) = node_with_products(64, 1).await;
    let collection = node.service().catalogue().find("products").expect("products").clone();
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..300 {
        let (target, change) = (random(&mut rng, 3), random(&mut rng, 3));
        if !change.starts_with('{') {
            continue;
        }
        let merge = Members::parse(&format!(r#"{{"attributes": {change}}}"#)).expect("an object");
        let current = format!(r#"{{"sku": "k0", "attributes": {target}}}"#);
        let patch = Patch { merge, ..Patch::default() };
        let whole = patch.apply(&collection, Some(&current)).expect("applies");
        let merged: String = sqlx::query_scalar("SELECT feed.merge($1::json, $2::json)::text")
            .bind(&target)
            .bind(&change)
            .fetch_one(database.pool())
            .await
            .expect("merge");
        let expected = whole.get("attributes").expect("the column");
        assert_eq!(merged, expected, "{target} patched with {change}, seed {seed}");
    }
    node.stop().await;
}
