//! The order of a session's messages: a client numbers them from 1, and they reach the feed in that order, each once.
//!
//! Requests overtake one another, and a client whose connection broke cannot know whether its message was sent. A
//! message that comes too early is held for a moment; one that was sent already is not sent again.
//!
//! Invariant: at most one message of a session is on its way to the feed, and a number counts as sent only once its
//! message was.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Messages that are held at the same time.
const HELD: usize = 16;
/// How long one is held.
const PATIENCE: Duration = Duration::from_secs(2);

/// A session's order. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Order(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Told whenever the state has changed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    sent: u64,
    is_sending: bool,
    held: usize,
}

/// Where a numbered message stands.
#[derive(Debug)]
pub(super) enum Place {
    /// It is the next.
    Next(Turn),
    /// It was sent before.
    Sent,
    /// Others must come first, and have not.
    TooEarly {
        /// The number of the next.
        expected: u64,
    },
}

/// The right to send the next message. Dropped before [`Turn::sent`] it was not, and its number is still the next.
#[derive(Debug)]
pub(super) struct Turn(Arc<Shared>);

impl Turn {
    /// The message was sent.
    pub(super) fn sent(self) {
        self.0.lock().sent += 1;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().is_sending = false;
        self.0.changed.notify_waiters();
    }
}

/// A message that is held; dropping it makes room for another.
struct Held<'a>(&'a Shared);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.lock().held -= 1;
    }
}

impl Order {
    /// Waits until `number` is the next, or has been sent, but not for long.
    ///
    /// # Cancel safety
    /// Nothing has changed when it is dropped.
    pub(super) async fn enter(&self, number: u64) -> Place {
        let deadline = Instant::now() + PATIENCE;
        let mut held = None;
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // From here on no change is missed, whether it is awaited already or not.
            changed.as_mut().enable();
            let expected = {
                let mut state = self.0.lock();
                if number <= state.sent {
                    return Place::Sent;
                }
                let expected = state.sent + 1;
                if number == expected && !state.is_sending {
                    state.is_sending = true;
                    return Place::Next(Turn(self.0.clone()));
                }
                if held.is_none() {
                    if state.held == HELD {
                        return Place::TooEarly { expected };
                    }
                    state.held += 1;
                    held = Some(Held(&self.0));
                }
                expected
            };
            if timeout_at(deadline, changed).await.is_err() {
                return Place::TooEarly { expected };
            }
        }
    }
}

impl Shared {
    /// A panic under the lock cannot leave the state half changed, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn send(order: &Order, number: u64, sent: &Mutex<Vec<u64>>) -> bool {
        match order.enter(number).await {
            Place::Next(turn) => {
                sent.lock().unwrap().push(number);
                turn.sent();
                true
            }
            Place::Sent => true,
            Place::TooEarly { .. } => false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn too_early_a_message_is_held_until_its_turn_or_its_time() {
        let (order, sent) = (Order::default(), Mutex::default());
        let (second, first) = tokio::join!(send(&order, 2, &sent), send(&order, 1, &sent));
        assert!(first && second);
        assert_eq!(*sent.lock().unwrap(), [1, 2]);
        let begun = Instant::now();
        let Place::TooEarly { expected } = order.enter(4).await else {
            panic!("3 has not come");
        };
        assert_eq!((expected, begun.elapsed()), (3, PATIENCE));
        assert!(matches!(order.enter(2).await, Place::Sent));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_sent_is_still_the_next() {
        let order = Order::default();
        let Place::Next(turn) = order.enter(1).await else {
            panic!("1 is the next");
        };
        let repeat = async { matches!(order.enter(1).await, Place::Next(_)) };
        let fails = async { drop(turn) };
        assert!(tokio::join!(repeat, fails).0);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_sixteen_are_held() {
        let order = Order::default();
        let held = (2..=17).map(|number| order.enter(number));
        let held = futures_util::future::join_all(held);
        let (_, (waited, more)) = tokio::join!(held, async {
            let begun = Instant::now();
            let more = order.enter(18).await;
            (begun.elapsed(), more)
        });
        assert_eq!(waited, Duration::ZERO);
        assert!(matches!(more, Place::TooEarly { expected: 1 }));
        assert_eq!(order.0.lock().held, 0);
    }

    proptest! {
        #[test]
        fn whatever_the_order_of_coming_each_is_sent_once_and_in_turn(
            coming in Just((1..=12_u64).chain(1..=4).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let (order, sent) = (Order::default(), Mutex::default());
            let all = coming.iter().map(|number| send(&order, *number, &sent));
            let all = runtime.block_on(futures_util::future::join_all(all));
            prop_assert!(all.into_iter().all(|sent| sent));
            prop_assert_eq!(sent.into_inner().unwrap(), (1..=12).collect::<Vec<_>>());
        }
    }
}
