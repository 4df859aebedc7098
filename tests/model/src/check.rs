//! Runs the checker over a whole space of states.

use std::{
    fmt,
    time::{Duration, Instant},
};

use stateright::{Checker, DiscoveryClassification, Expectation, HasDiscoveries, Model as _, Path};

use crate::{
    Bounds, Rules, System,
    system::{Action, State},
};

/// A space that was looked at to its end.
pub struct Explored {
    /// States.
    pub states: usize,
    /// The least steps to the state that is furthest away.
    pub steps: usize,
    /// How long it took.
    pub time: Duration,
}

impl fmt::Debug for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Explored { states, steps, time } = self;
        write!(f, "{states} states, {steps} steps at most, {:.1} s", time.as_secs_f64())
    }
}

/// A shortest way to break an invariant.
pub struct Counterexample {
    /// The invariant that breaks.
    pub invariant: &'static str,
    /// From the beginning to the breach.
    pub steps: Vec<Action>,
}

/// One step a line.
impl fmt::Debug for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} steps, {}", self.steps.len(), self.invariant)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}

/// Looks at every state that can be reached; `Ok` if all invariants hold in all of them.
///
/// # Errors
/// A shortest counterexample.
///
/// # Panics
/// If what must be able to happen never does: such a run shows nothing.
pub fn explore(rules: Rules, bounds: Bounds) -> Result<Explored, Counterexample> {
    let system = System::new(rules, bounds);
    let started = Instant::now();
    let checker = search(&system, None);
    if let Some(found) = counterexample(&checker) {
        return Err(shortest(&system, found));
    }
    for property in system.properties().iter().filter(|property| property.expectation == Expectation::Sometimes) {
        assert!(checker.discovery(property.name).is_some(), "{}: it never happens", property.name);
    }
    assert!(checker.is_done(), "every state was visited");
    let (states, steps) = (checker.unique_state_count(), checker.max_depth() - 1);
    Ok(Explored { states, steps, time: started.elapsed() })
}

/// One thread visits states by their distance, but looks at what it has found only now and then.
fn search(system: &System, depth_max: Option<usize>) -> impl Checker<System> + use<> {
    let builder = system.clone().checker().threads(1).finish_when(HasDiscoveries::AnyFailures);
    match depth_max {
        Some(depth) => builder.target_max_depth(depth).spawn_bfs().join(),
        None => builder.spawn_bfs().join(),
    }
}

fn counterexample(checker: &impl Checker<System>) -> Option<Counterexample> {
    let is_breach = |name| matches!(checker.discovery_classification(name), DiscoveryClassification::Counterexample);
    let steps = |path: Path<State, Action>| path.into_actions();
    let breaches = checker.discoveries().into_iter().filter(|(name, _)| is_breach(name));
    let breaches = breaches.map(|(invariant, path)| Counterexample { invariant, steps: steps(path) });
    breaches.min_by_key(|breach| (breach.steps.len(), breach.invariant))
}

/// Searches for one with fewer steps until there is none.
fn shortest(system: &System, mut found: Counterexample) -> Counterexample {
    // A state's depth counts the beginning as well, and states of the greatest depth are not looked at.
    while let Some(shorter) = counterexample(&search(system, Some(found.steps.len() + 1))) {
        found = shorter;
    }
    found
}
