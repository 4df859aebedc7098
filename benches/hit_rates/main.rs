mod models;
mod node;
mod replay;
mod shop;
mod trace;
use std::time::Duration;
use models::*; use replay::*; use shop::*; use trace::*; use node::*;
pub const LONG: Duration = Duration::from_secs(24 * 60 * 60);
fn main() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for name in ["web07", "web12"] {
        let trace = Trace::shipped(name).unwrap();
        let t = std::time::Instant::now();
        let mut shop = Shop::new(&rt, trace.distinct, Sizes::Equal);
        println!("shop {:?}", t.elapsed());
        let w = shop.weights.clone();
        for share in [0.01, 0.05, 0.2] {
            let entries = (share * trace.distinct as f64) as usize;
            let cap = entries as u64 * w[0];
            let t = std::time::Instant::now();
            let l1 = replay(&trace, &Upkeep::default(), &mut Node::new(&rt, &mut shop, cap)).hit_rate();
            let e = t.elapsed();
            let lru = replay(&trace, &Upkeep::default(), &mut Lru::new(cap, &w)).hit_rate();
            println!("{name} {share}: l1 {l1:.1} ({e:?}) lru {lru:.1} opt {:.1} bound {:.1}", optimum(&trace, entries), bound_by_weight(&trace, cap, &w));
        }
    }
    let _ = sold_keys(&Trace::shipped("web07").unwrap());
}
