//! Which key the next request is for.

use std::{fs, path::PathBuf};

use rand::{SeedableRng as _, rngs::SmallRng, seq::SliceRandom as _};
use rand_distr::{Distribution as _, Zipf};

use super::Error;

/// Keys drawn ahead: choosing one then costs a look into an array, and a run is the same each time.
const DRAWN: usize = 1 << 20;
/// The same draws in every run.
const SEED: u64 = 1;

/// Options of the keys.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct KeyArgs {
    /// How many keys are used: K00000, K00001 and so on.
    #[arg(long, default_value = "100")]
    keys: u32,
    /// Take the keys from a file instead, one a line, the most popular first.
    #[arg(long, value_name = "FILE", conflicts_with = "keys")]
    keys_from: Option<PathBuf>,
    /// Draw keys by Zipf's law with this exponent, such as 0.99; unless given, all are equally likely.
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
}

/// The keys of a run and the order in which they are asked for.
pub(super) struct Keys {
    names: Vec<String>,
    drawn: Vec<u32>,
    next: usize,
}

impl Keys {
    /// Names the keys and draws from them.
    pub(super) fn new(args: &KeyArgs) -> Result<Self, Error> {
        let names = match &args.keys_from {
            None => generated(args.keys as usize),
            Some(path) => {
                let text = fs::read_to_string(path).map_err(Error::system(format!("read {}", path.display())))?;
                text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            }
        };
        if names.is_empty() {
            return Err(Error::Wrong("there are no keys to ask for".to_owned()));
        }
        let drawn = draw(names.len(), args.zipf)?;
        Ok(Keys { names, drawn, next: 0 })
    }

    /// The next key's number.
    pub(super) fn draw(&mut self) -> u32 {
        self.next = (self.next + 1) % DRAWN;
        self.drawn[self.next]
    }

    /// The key of that number.
    pub(super) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    /// All of them.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }
}

/// The first `count` of the keys that this command makes.
pub(super) fn generated(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("K{n:05}")).collect()
}

fn draw(keys: usize, zipf: Option<f64>) -> Result<Vec<u32>, Error> {
    let mut random = SmallRng::seed_from_u64(SEED);
    let Some(exponent) = zipf else {
        // Each key as often as any other, in no order: the same key seldom comes twice in a row.
        let mut drawn: Vec<u32> = (0..DRAWN).map(|n| (n % keys) as u32).collect();
        drawn.shuffle(&mut random);
        return Ok(drawn);
    };
    let zipf = Zipf::new(keys as f64, exponent)
        .map_err(|error| Error::Wrong(format!("--zipf {exponent} is no exponent: {error}")))?;
    // Popular keys are spread over all names, as they are in life, not neighbours in a table.
    let mut places: Vec<u32> = (0..keys as u32).collect();
    places.shuffle(&mut random);
    Ok((0..DRAWN).map(|_| places[(zipf.sample(&mut random) as usize - 1).min(keys - 1)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(keys: u32, zipf: Option<f64>) -> Vec<usize> {
        let mut keys_of = Keys::new(&KeyArgs { keys, keys_from: None, zipf }).expect("keys");
        let mut counts = vec![0; keys as usize];
        (0..DRAWN).for_each(|_| counts[keys_of.draw() as usize] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    #[test]
    fn uniform_keys_come_equally_often() {
        let counts = counts(1_000, None);
        assert!(counts[0] - counts[999] <= 1, "{} {}", counts[0], counts[999]);
    }

    #[test]
    fn zipf_keys_follow_the_law() {
        let counts = counts(1_000, Some(1.0));
        // With exponent 1 the first of 1,000 comes 1/H(1000) = 13.4 % of the time, twice as often as the second.
        let share = counts[0] as f64 / DRAWN as f64;
        assert!((share - 0.134).abs() < 0.005, "{share}");
        let ratio = counts[0] as f64 / counts[1] as f64;
        assert!((ratio - 2.0).abs() < 0.1, "{ratio}");
    }

    #[test]
    fn impossible_keys_are_refused() {
        assert!(Keys::new(&KeyArgs { keys: 0, keys_from: None, zipf: None }).is_err());
        assert!(Keys::new(&KeyArgs { keys: 5, keys_from: None, zipf: Some(-1.0) }).is_err());
    }
}
