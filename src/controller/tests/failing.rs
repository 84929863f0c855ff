//! Failed reconciles: how soon they are retried, and what else follows from them.

use super::*;
use std::num::NonZeroU64;

#[tokio::test(start_paused = true)]
async fn what_has_failed_waits_and_what_has_not_does_not() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    for attempt in 0..3 {
        fails(&mut controller, slot, refused(503));
        let wait = wait(&controller).expect("queued");
        assert!(wait >= Duration::from_millis(250 << attempt), "{attempt}: {wait:?}");
    }
    work(&mut controller, slot, ObservedVersions { deployment: NonZeroU64::new(51), ..STAMPS }, Action::AwaitChange);
    controller.observe_inference_service(Event::Apply(ready(101, 2)));
    assert_eq!(wait(&controller), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn repairs_fade_where_the_sweep_comes_more_often_than_they_do() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    controller.queue.pop(Instant::now() + SETTLE_DELAY).expect("queued");
    let task = controller.index.start(slot).expect("work");
    let repaired = Outcome { versions: STAMPS, repaired: true, ..Outcome::unchanged(&task) };
    controller.finish((slot, TaskStart::from(&task), Duration::ZERO, Ok(repaired)));
    for expected in [1, 1, 0] {
        assert_eq!(controller.index.get(slot).expect("a record").repairs, expected);
        tokio::time::advance(REPAIR_FADES * 2 / 3).await;
        controller.sweep();
    }
}

/// Is the failure with this number of another kind, such as a rejection?
type IsOther = fn(u8) -> bool;

/// The watch shows an InferenceService that the datastore repeatedly does not have.
#[tokio::test(start_paused = true)]
async fn one_that_is_not_there_for_the_api_server_is_a_reason_to_list_again() {
    let once = CONTRADICTED_AFTER;
    let cases: [(IsOther, Vec<u8>); 3] = [
        (|_| false, vec![once, 2 * once]),
        (|number| number == CONTRADICTED_AFTER, vec![2 * once]),
        (|_| true, vec![]),
    ];
    for (is_other, expected) in cases {
        let (mut controller, slot) = in_sync(ready(100, 1));
        see_deployment(&mut controller, 51, 2);
        let noticed = (0..=2 * once).filter(|number| {
            fails(&mut controller, slot, if is_other(*number) { refused(404) } else { Error::Gone });
            std::mem::take(&mut controller.is_contradicted)
        });
        assert_eq!(noticed.collect::<Vec<_>>(), expected);
    }
    // After any number of failures.
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    for _ in 0..300 {
        controller.is_contradicted = false;
        fails(&mut controller, slot, Error::Gone);
    }
    assert!(controller.is_contradicted);
}

#[tokio::test(start_paused = true)]
async fn the_sweep_makes_nothing_that_waits_come_earlier() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    for _ in 0..5 {
        fails(&mut controller, slot, refused(503));
    }
    let due = controller.queue.next_due();
    for _ in 0..100 {
        controller.sweep();
    }
    assert_eq!(controller.queue.next_due(), due);
}

/// Once for failures in a row, whatever kind each of them is.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_in_the_status_is_logged_once_where_it_lasts() {
    let (mut controller, slot) = in_sync(ready(100, 1));
    see_deployment(&mut controller, 51, 2);
    let logged = |controller: &mut Controller, codes: &[u16]| -> Vec<bool> {
        let error = |code| if code == GONE { Error::Gone } else { refused(code) };
        codes.iter().map(|&code| fails(controller, slot, error(code))).collect()
    };
    let lasting = logged(&mut controller, &[503, 503, GONE, 503, GONE, 503, 403]);
    assert_eq!(lasting, [false, false, false, true, false, false, false]);
    work(&mut controller, slot, ObservedVersions { deployment: NonZeroU64::new(51), ..STAMPS }, Action::AwaitChange);
    see_deployment(&mut controller, 52, 2);
    assert_eq!(logged(&mut controller, &[403, 403]), [true, false], "told in the status at once, if it could be");
    work(&mut controller, slot, ObservedVersions { deployment: NonZeroU64::new(52), ..STAMPS }, Action::AwaitChange);
    see_deployment(&mut controller, 53, 2);
    assert_eq!(logged(&mut controller, &[503, 503, 503, 503]), [false, false, true, false], "in a row anew");
}

const GONE: u16 = 0;
