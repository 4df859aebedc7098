//! What a node has counted, as its operations listener shows it.

use super::node::Node;

/// The text of `/metrics`.
pub struct Counters(pub String);

impl Counters {
    /// The sum over a counter's labels.
    pub fn sum(&self, name: &str) -> u64 {
        self.lines(name).map(|(_, value)| value).sum()
    }

    /// The sum where `label` is `value`.
    pub fn labelled(&self, name: &str, label: &str, value: &str) -> u64 {
        let wanted = format!("{label}=\"{value}\"");
        self.lines(name).filter(|(labels, _)| labels.contains(&wanted)).map(|(_, value)| value).sum()
    }

    fn lines<'c>(&'c self, name: &'c str) -> impl Iterator<Item = (&'c str, u64)> {
        self.0.lines().filter_map(move |line| {
            let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
            let is_whole = labels.is_empty() || labels.starts_with('{');
            is_whole.then_some((labels, value.parse::<f64>().ok()? as u64))
        })
    }
}

/// The sum of `of` over all nodes.
pub async fn over(nodes: &[Node], of: impl Fn(&Counters) -> u64) -> Result<u64, String> {
    let mut sum = 0;
    for node in nodes {
        sum += of(&node.counters().await?);
    }
    Ok(sum)
}
