//! Each claim refuses the history that breaks it, and no other claim does; what may happen is accepted by all.

use super::{
    Claim,
    told::{MS, Told, absent, acknowledged, at, conflict, refused, stamp, unknown},
};
use crate::{
    cli::verify::history::{Content, Event, Micros, Outcome, State, Write},
    record::Stamp,
};

/// Longer than an answer may be old without saying so, in milliseconds.
const LONG: Micros = 10_000;

#[test]
fn an_ordinary_history_accepted_and_every_claim_looks_at_it() {
    let told = Told::new()
        .subscribed(None, 0)
        .push(1, absent(0))
        .write(1, [2, 5], acknowledged(10))
        .push(4, at(10, 1))
        .by_sql(2, [6, 9], acknowledged(11))
        .read_on(0, Some(10), [6, 8], at(10, 1))
        .write(None, [20, 25], acknowledged(12))
        .push(26, absent(12))
        .write(3, [30, 35], acknowledged(14))
        .push(36, at(14, 3))
        .read([LONG, LONG + 1], at(14, 3))
        .truth(at(14, 3));
    for judgement in told.judged() {
        assert!(judgement.checked > 0, "{judgement:?}");
    }
    told.accepted();
}

#[test]
fn versions_of_a_subscription_rise() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).write(2, [2, 3], acknowledged(11)).subscribed(None, 4);
    told().push(5, at(10, 1)).push(6, at(11, 2)).accepted();
    told().push(5, at(11, 2)).push(6, at(10, 1)).violates(&[Claim::Rising]);
    told().push(5, at(11, 2)).push(6, at(11, 2)).violates(&[Claim::Rising]);
}

#[test]
fn a_resumed_subscription_rises_above_what_it_named() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).write(2, [2, 3], acknowledged(11));
    told().subscribed(Some(10), 4).push(5, at(11, 2)).accepted();
    told().subscribed(Some(11), 4).push(5, at(11, 2)).violates(&[Claim::Rising]);
    told().subscribed(Some(11), 4).push(5, at(10, 1)).violates(&[Claim::Rising]);
    let deleted = || told().write(None, [4, 5], acknowledged(12));
    deleted().subscribed(Some(12), 6).push(7, absent(12)).accepted();
    deleted().subscribed(Some(12), 6).push(7, absent(0)).accepted();
    deleted().subscribed(None, 6).push(7, absent(12)).push(8, absent(12)).violates(&[Claim::Rising]);
}

#[test]
fn a_new_generation_comes_with_a_reset_and_only_that_does() {
    let risen = |number| State { stamp: Stamp::new(2, 10), ..at(10, number) };
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).subscribed(None, 4).push(5, at(10, 1));
    told().pushed(6, risen(1), true).accepted();
    told().pushed(6, risen(1), false).violates(&[Claim::Rising]);
    told().write(2, [5, 6], acknowledged(11)).pushed(7, at(11, 2), true).violates(&[Claim::Rising]);
}

#[test]
fn a_lost_generation_takes_its_writes_along() {
    let risen = State { stamp: Stamp::new(2, 10), ..at(10, 1) };
    Told::new()
        .write(1, [0, 1], acknowledged(10))
        .write(2, [2, 3], acknowledged(11))
        .read_on(1, Some(11), [LONG, LONG + 1], risen.clone())
        .truth(risen)
        .accepted();
}

#[test]
fn a_version_has_one_content() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).write(2, [0, 3], unknown());
    told().read([4, 5], at(10, 1)).read([4, 5], at(11, 2)).accepted();
    told().read([4, 5], at(10, 2)).violates(&[Claim::Contents]);
    let other = State { content: Some(Content { number: Some(1), digest: Some(99) }), ..at(10, 1) };
    told().read([4, 5], at(10, 1)).read([4, 5], other).violates(&[Claim::Contents]);
    let deleted = told().write(None, [0, 3], unknown()).read([4, 5], at(11, 2));
    deleted.read([4, 5], absent(11)).violates(&[Claim::Contents]);
}

#[test]
fn a_write_makes_one_version_also_when_it_is_repeated() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10));
    let repeated = |version| told().write_with(1, [2, 3], acknowledged(version), |write| write.is_repeat = true);
    repeated(10).accepted();
    repeated(12).violates(&[Claim::Contents]);
    told().read([4, 5], at(11, 1)).violates(&[Claim::Contents]);
}

#[test]
fn a_repeated_write_may_have_been_deleted_before_it_was_repeated() {
    Told::new()
        .write(1, [0, 1], unknown())
        .write(None, [2, 3], acknowledged(11))
        .write_with(1, [LONG, LONG + 1], acknowledged(10), |write| write.is_repeat = true)
        .truth(absent(0))
        .accepted();
}

#[test]
fn nothing_appears_that_was_not_written() {
    let told =
        || Told::new().write(1, [2, 3], acknowledged(10)).write(2, [2, 3], refused()).write(3, [2, 3], unknown());
    told().read([4, 5], at(11, 3)).accepted();
    told().read([4, 5], at(11, 2)).violates(&[Claim::Phantoms]);
    told().read([4, 5], at(11, 7)).violates(&[Claim::Phantoms]);
    told().read([0, 1], at(11, 3)).violates(&[Claim::Phantoms]);
    told().read([4, 5], absent(11)).violates(&[Claim::Phantoms]);
    told().read([0, 1], absent(0)).accepted();
    let foreign = State { content: Some(Content { number: None, digest: Some(1) }), ..at(11, 1) };
    told().read([4, 5], foreign).violates(&[Claim::Phantoms]);
    let text = "an answer to nothing".to_owned();
    told().event(Event::Stray { session: 0, at: 1, text }).violates(&[Claim::Phantoms]);
}

#[test]
fn a_key_ends_on_no_older_state_than_it_was_acknowledged_at() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).write(2, [2, 3], acknowledged(11));
    told().truth(at(11, 2)).accepted();
    told().truth(at(10, 1)).violates(&[Claim::Acknowledged]);
    told().write(3, [4, 5], unknown()).truth(at(12, 3)).accepted();
    told().truth(absent(0)).violates(&[Claim::Acknowledged]);
    // An unknown deletion may be carried out later; one with an older stamp, or refused, is not it.
    told().write(None, [1, 2], unknown()).truth(absent(0)).accepted();
    told().write(None, [4, 5], refused()).truth(absent(0)).violates(&[Claim::Acknowledged]);
    let deleted_before = Told::new().write(None, [0, 1], acknowledged(9)).write(1, [2, 3], acknowledged(10));
    deleted_before.truth(absent(0)).violates(&[Claim::Acknowledged]);
}

#[test]
fn a_later_write_comes_after_an_acknowledged_one() {
    let told = || Told::new().write(1, [0, 5], acknowledged(10));
    let on_another = |write: &mut Write| write.session = Some(1);
    told().write_with(2, [4, 6], acknowledged(9), on_another).accepted();
    told().write_with(2, [6, 7], acknowledged(9), on_another).violates(&[Claim::Acknowledged]);
    told().by_sql(2, [6, 7], acknowledged(9)).violates(&[Claim::Acknowledged]);
    told().write_with(2, [6, 7], conflict(10), on_another).accepted();
    told().write_with(2, [6, 7], conflict(9), on_another).violates(&[Claim::Acknowledged]);
    // A deletion of what another has deleted changes nothing.
    let deleted = || told().by_sql(None, [6, 8], acknowledged(12));
    deleted().write_with(None, [9, 10], acknowledged(12), on_another).accepted();
    deleted().write_with(None, [9, 10], acknowledged(0), on_another).accepted();
    told().write_with(None, [9, 10], acknowledged(0), on_another).accepted();
    deleted().write_with(None, [9, 10], acknowledged(11), on_another).violates(&[Claim::Acknowledged]);
}

#[test]
fn a_connection_writes_a_key_in_its_order() {
    let told = |second| Told::new().write(1, [0, 10], acknowledged(10)).write(2, [1, 9], acknowledged(second));
    told(11).accepted();
    told(9).violates(&[Claim::Acknowledged]);
}

#[test]
fn a_condition_passes_over_nothing() {
    let told = |named| {
        let named = move |write: &mut Write| (write.if_stamp, write.session) = (Some(stamp(named)), Some(1));
        Told::new().write(1, [0, 9], acknowledged(10)).by_sql(2, [0, 9], acknowledged(11)).write_with(
            3,
            [0, 9],
            acknowledged(12),
            named,
        )
    };
    told(11).accepted();
    told(10).violates(&[Claim::Acknowledged]);
}

#[test]
fn what_was_passed_over_is_shown_by_its_write_and_by_what_told_of_it() {
    let named = |write: &mut Write| write.if_stamp = Some(stamp(10));
    let told = Told::new()
        .write(1, [0, 1], acknowledged(10))
        .by_sql(2, [2, 3], acknowledged(11))
        .subscribed(None, 0)
        .push(4, at(11, 2))
        .read([5, 6], at(11, 2))
        .write_with(3, [2, 7], acknowledged(12), named);
    let judged = told.judged().into_iter().find(|judgement| judgement.claim == Claim::Acknowledged);
    let evidence = judged.expect("a judgement").first.remove(0).evidence;
    let kinds = evidence.iter().map(|event| match event {
        Event::Write(write) => write.number.expect("a number"),
        Event::Pushed(_) => 100,
        other => panic!("{other:?}"),
    });
    let shown = "the state that was named, the write of the next with what told of it first, and who passed it over";
    assert_eq!(kinds.collect::<Vec<_>>(), [1, 2, 100, 3], "{shown}");
}

#[test]
fn a_stamp_that_is_named_is_reached() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).write(2, [2, 3], acknowledged(11));
    told().read_on(1, Some(11), [4, 5], at(11, 2)).accepted();
    told().read_on(1, Some(11), [4, 5], at(10, 1)).violates(&[Claim::Stamps]);
    told().read_on(1, Some(11), [4, 5], absent(0)).violates(&[Claim::Stamps]);
    told().write(None, [3, 4], unknown()).read_on(1, Some(11), [4, 5], absent(0)).accepted();
}

#[test]
fn a_connection_reads_nothing_older_than_it_was_told() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).write_with(2, [2, 3], unknown(), |w| w.session = None);
    let read = |at_first: [Micros; 2], then: [Micros; 2]| told().read(at_first, at(11, 2)).read(then, at(10, 1));
    // Requests that are under way together may be answered in any order.
    read([4, 9], [5, 8]).accepted();
    read([4, 6], [7, 8]).violates(&[Claim::Sessions]);
    let told_by_a_push = || told().subscribed(None, 3).push(5, at(11, 2));
    told_by_a_push().read([4, 6], at(10, 1)).accepted();
    told_by_a_push().read([6, 7], at(10, 1)).violates(&[Claim::Sessions]);
    // Its own write, without a stamp being named; another connection may lead to another node.
    let own = || told().write(3, [4, 5], acknowledged(12));
    own().read_on(0, None, [6, 7], at(10, 1)).violates(&[Claim::Sessions]);
    own().read_on(1, None, [6, 7], at(10, 1)).accepted();
}

#[test]
fn a_subscription_ends_on_the_final_state() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).write(2, [2, 3], acknowledged(11)).subscribed(None, 1);
    told().push(2, at(10, 1)).push(4, at(11, 2)).truth(at(11, 2)).accepted();
    told().push(2, at(10, 1)).truth(at(11, 2)).violates(&[Claim::Ends]);
    told().truth(at(11, 2)).violates(&[Claim::Ends]);
    let ended = Event::Ended { subscription: 1, at: 3 * MS };
    told().push(2, at(10, 1)).event(ended).truth(at(11, 2)).accepted();
    let resumed = |since| Told::new().write(1, [0, 1], acknowledged(10)).subscribed(Some(since), 2).truth(at(10, 1));
    resumed(10).accepted();
    resumed(9).violates(&[Claim::Ends]);
}

#[test]
fn an_answer_is_no_older_than_it_says() {
    let told = || Told::new().write(1, [0, 1], acknowledged(10)).by_sql(2, [2, 1_000], acknowledged(11));
    let old = |stale_ms| State { stale_ms, ..at(10, 1) };
    told().read([3_900, 3_901], old(None)).accepted();
    told().read([4_001, 4_002], old(None)).violates(&[Claim::Ages]);
    told().read([4_002, 4_003], old(Some(3_500))).accepted();
    told().read([3_000, 3_001], old(Some(1_900))).violates(&[Claim::Ages]);
    // Ages are cut to milliseconds.
    told().read([3_000, 3_001], old(Some(1_999))).accepted();
    told().read([4_001, 4_002], absent(0)).violates(&[Claim::Ages]);
    // A snapshot is an answer, and a push of a change is not one.
    told().subscribed(None, 4_001).push(4_002, old(None)).violates(&[Claim::Ages]);
    told().subscribed(None, 500).push(501, old(None)).push(9_000, at(11, 2)).accepted();
}

#[test]
fn a_change_whose_write_was_answered_late_is_no_snapshot() {
    // Its node heard of the first write when the second was long acknowledged.
    let told = |late: Outcome| {
        let by_node = Told::new().write(1, [0, 1], acknowledged(9)).write(2, [2, 9_000], late);
        by_node.by_sql(3, [3, 1_000], acknowledged(11))
    };
    let pushed = |late, since| told(late).subscribed(since, 6_000).push(9_000, at(10, 2));
    for late in [acknowledged(10), unknown()] {
        pushed(late.clone(), Some(9)).accepted();
        // It named nothing, so a snapshot came first.
        pushed(late, None).violates(&[Claim::Ages]);
    }
    let refused_here = || Told::new().write(1, [0, 1], acknowledged(9)).by_sql(3, [3, 1_000], acknowledged(11));
    let deleted = |ended| refused_here().write(None, [2, ended], acknowledged(10)).subscribed(Some(9), 6_000);
    deleted(9_000).push(9_000, absent(10)).accepted();
    // Its write was answered before: the node knew the state, and newer ones had to be known.
    deleted(4_000).push(9_000, absent(10)).violates(&[Claim::Ages]);
    let answered = |number| refused_here().write(2, [2, 4_000], acknowledged(10)).write(number, [2, 9_000], unknown());
    answered(4).subscribed(Some(9), 6_000).push(9_000, at(10, 2)).violates(&[Claim::Ages]);
}
