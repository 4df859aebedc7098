//! How long and how often everything is measured.

/// Rounds in turns between the servers, and the length of one.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub rounds: usize,
    pub seconds: f64,
    pub warm_up_seconds: f64,
}

impl Pace {
    /// For figures that are published.
    pub const FULL: Pace = Pace { rounds: 5, seconds: 2.0, warm_up_seconds: 0.5 };
    /// To see that everything works.
    pub const QUICK: Pace = Pace { rounds: 1, seconds: 1.0, warm_up_seconds: 0.3 };

    /// The same with another length of a round.
    pub fn lasting(self, seconds: f64) -> Self {
        Pace { seconds: if self.rounds > 1 { seconds } else { self.seconds }, ..self }
    }

    /// The same without a warm-up.
    pub fn cold(self) -> Self {
        Pace { warm_up_seconds: 0.0, ..self }
    }

    /// The words for `freshet bench`.
    pub fn arguments(&self, scenario: &str) -> Vec<String> {
        if scenario == "idle" {
            return Vec::new();
        }
        let millis = |seconds: f64| format!("{}ms", (seconds * 1e3) as u64);
        vec!["--duration".into(), millis(self.seconds), "--warm-up".into(), millis(self.warm_up_seconds)]
    }
}
