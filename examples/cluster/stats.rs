//! What a node says of its work.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde::Deserialize;

use super::instance::Result;

/// How long to wait for a node that may be frozen.
const LIMIT: Duration = Duration::from_millis(500);

/// The tiers in the order in which they are asked, by their names in the statistics and for people.
const TIERS: [(&str, &str); 5] =
    [("local", "L1"), ("filter", "filter"), ("shared", "Redis"), ("store", "database"), ("stale", "stale")];

/// A part of what `/v1/stats/events` tells.
#[derive(Debug, Deserialize)]
pub struct Stats {
    /// WebSockets.
    pub connections: usize,
    /// The share of reads since its start, by the tier that answered.
    pub hit_rates: BTreeMap<String, f64>,
}

impl Stats {
    /// Asks a node at its operations address.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn of(operations: SocketAddr) -> Result<Self> {
        let client = reqwest::Client::builder().timeout(LIMIT).build()?;
        let mut answer = client.get(format!("http://{operations}/v1/stats/events")).send().await?;
        let mut text = String::new();
        // The first event comes at once; those after it are not waited for.
        loop {
            text.push_str(str::from_utf8(&answer.chunk().await?.ok_or("the stream ended")?)?);
            let data = text.lines().find_map(|line| line.strip_prefix("data: "));
            if let Some(data) = data.filter(|_| text.ends_with('\n')) {
                return Ok(serde_json::from_str(data)?);
            }
        }
    }

    /// How many clients it has, in words.
    pub fn clients(&self) -> String {
        match self.connections {
            1 => "1 client".to_owned(),
            more => format!("{more} clients"),
        }
    }

    /// The share of each tier, in words; one that answers next to nothing is left out.
    pub fn tiers(&self) -> String {
        let tier = |(name, shown): (&str, &str)| {
            let percent = self.hit_rates.get(name).copied().unwrap_or_default() * 100.0;
            (percent >= 0.5).then(|| format!("{shown} {percent:.0} %"))
        };
        TIERS.into_iter().filter_map(tier).collect::<Vec<_>>().join(", ")
    }
}
