//! Streams that the operator wants to end: each is told, and ends as its kind does in a drain.
//!
//! Nothing is ended here: whoever runs a stream hears of it by [`Row::poll_end`] and does the rest.

use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Query, ROWS, Row, TICK};

/// Tells this worker's streams with this id to end, and returns how many there are: a believed proxy may have given the same
/// name twice.
#[must_use]
pub fn end(id: &str) -> usize {
    let found = rows(|row| row.id.as_str() == id);
    found.iter().for_each(|row| row.tell_end());
    found.len()
}

/// Tells those of this worker's streams that are meant now to end, spread evenly over a time: how many there are, and what
/// is to be run to tell them. Who ends by itself meanwhile is not waited for: it is over soon after the last of them has
/// ended.
pub fn end_spread(query: &Query, over: Duration) -> (usize, impl Future<Output = ()> + use<>) {
    let found: Vec<Weak<Row>> = rows(|row| query.fits(row))
        .iter()
        .map(Rc::downgrade)
        .collect();
    let count = found.len();
    let telling = async move {
        let begun = Instant::now();
        let share = over.div_f64(found.len().max(1) as f64);
        for (number, row) in found.iter().enumerate() {
            let due = begun + share.mul_f64(number as f64);
            // Many may be due in one turn of the clock.
            while due > Instant::now() {
                if found[number..].iter().all(|row| row.strong_count() == 0) {
                    return;
                }
                sleep_until(due.min(Instant::now() + TICK)).await;
            }
            if let Some(row) = row.upgrade() {
                row.tell_end();
            }
        }
    };
    (count, telling)
}

/// The rows are not borrowed any more when they are told: what is woken may open and close streams.
fn rows(mut is_meant: impl FnMut(&Row) -> bool) -> Vec<Rc<Row>> {
    ROWS.with_borrow(|rows| {
        let meant = rows.iter().filter(|(_key, row)| is_meant(row));
        meant.map(|(_key, row)| row.clone()).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake, Waker};

    use futures_util::poll;

    use super::super::tests::listed_as;
    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_runs_a_stream_is_woken_when_it_is_to_end() {
        let one = listed_as("one", "192.0.2.1:5", "/ws");
        let other = listed_as("other", "192.0.2.1:5", "/ws");
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        assert!(one.row().poll_end(&mut cx).is_pending());
        assert!(other.row().poll_end(&mut cx).is_pending());
        assert_eq!(end("none"), 0);
        assert!(!woken.0.load(Ordering::Relaxed));
        assert_eq!(end("one"), 1);
        assert!(woken.0.load(Ordering::Relaxed));
        assert!(one.row().poll_end(&mut cx).is_ready());
        assert!(other.row().poll_end(&mut cx).is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn many_are_told_one_after_another() {
        let streams: Vec<_> = (0..10)
            .map(|number| listed_as(&format!("s{number}"), "192.0.2.1:5", "/ws"))
            .collect();
        let (count, telling) = end_spread(&Query::default(), Duration::from_secs(10));
        assert_eq!(count, 10);
        let mut telling = std::pin::pin!(telling);
        let mut told = Vec::new();
        for _second in 0..10 {
            let _ = poll!(telling.as_mut());
            told.push(streams.iter().filter(|it| it.row().is_to_end.get()).count());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn telling_is_over_when_all_have_ended() {
        let streams = ["one", "other"].map(|id| listed_as(id, "192.0.2.1:5", "/ws"));
        let (count, telling) = end_spread(&Query::default(), Duration::from_secs(600));
        assert_eq!(count, 2);
        let begun = Instant::now();
        let end = async {
            tokio::time::sleep(Duration::from_millis(2_500)).await;
            drop(streams);
        };
        tokio::join!(telling, end);
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
}
