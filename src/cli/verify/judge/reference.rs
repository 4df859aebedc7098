//! A record behind one lock, as a reference: whatever is done to it, in any order, is accepted.

use proptest::prelude::*;

use super::{
    Claim,
    told::{Told, absent, acknowledged, at, unknown},
};
use crate::cli::verify::history::{Event, Micros};

/// What is done to it.
#[derive(Clone, Debug)]
enum Step {
    Put,
    Delete,
    Read { min: bool },
    Unanswered { happens: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Put),
        1 => Just(Step::Delete),
        3 => any::<bool>().prop_map(|min| Step::Read { min }),
        1 => any::<bool>().prop_map(|happens| Step::Unanswered { happens }),
    ]
}

/// The history of `steps`, each `pace` ms after the one before; every state is pushed.
fn reference(steps: &[Step], pace: Micros) -> Told {
    let mut told = Told::new().subscribed(None, 0).push(0, absent(0));
    let (mut state, mut version) = (absent(0), 0);
    for (step, number) in steps.iter().zip(1..) {
        let times = [number * pace, number * pace + pace / 2];
        let is_written = !matches!(step, Step::Read { .. } | Step::Unanswered { happens: false });
        let is_changed = is_written && !(matches!(step, Step::Delete) && state.is_absent());
        version += u64::from(is_changed);
        let before = state.stamp.version;
        match step {
            Step::Put | Step::Unanswered { happens: true } => state = at(version, number),
            Step::Delete if is_changed => state = absent(version),
            _ => {}
        }
        told = match step {
            Step::Put => told.write(number, times, acknowledged(version)),
            Step::Delete => told.write(None, times, acknowledged(if is_changed { version } else { before })),
            Step::Read { min } => told.read_on(0, min.then_some(before).filter(|v| *v > 0), times, state.clone()),
            Step::Unanswered { .. } => told.write(number, times, unknown()),
        };
        if is_changed {
            told = told.push(times[1], state.clone());
        }
    }
    told.truth(state)
}

proptest! {
    #[test]
    fn what_one_record_behind_a_lock_does_accepted(steps in prop::collection::vec(step(), 0..40), pace in 2..2_000_u64) {
        reference(&steps, pace).accepted();
    }

    #[test]
    fn a_final_state_before_an_acknowledged_write_is_refused(steps in prop::collection::vec(step(), 0..40)) {
        let mut told = reference(&steps, 10);
        let Some(Event::Truth(truth)) = told.0.events.pop() else { panic!("the last event") };
        let version = truth.state.stamp.version + 1;
        let times = [50_000, 50_001];
        told = told.write(99_999, times, acknowledged(version)).push(50_002, at(version, 99_999)).truth(truth.state);
        told.violates(&[Claim::Acknowledged, Claim::Ends]);
    }
}
