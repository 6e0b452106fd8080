//! How the feed's answer to a message is found: by a value that both have in the same place.
//!
//! Invariants: as long as nobody waits, a message of the feed costs one load; of one value no two wait, so that no client
//! gets the answer to another one's message in place of its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::oneshot;

/// Who may wait for an answer of one channel at the same time.
const WAITING: usize = 1024;

/// Those who wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Replies {
    waiting: AtomicUsize,
    wanted: Mutex<Vec<Wanted>>,
}

#[derive(Debug)]
struct Wanted {
    pointer: Arc<str>,
    value: Value,
    found: oneshot::Sender<String>,
}

/// An answer cannot be awaited now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Crowded {
    /// As many wait for an answer as may.
    #[error("`{WAITING}` messages wait for their answers already")]
    Full,
    /// Another message with the same value waits for its answer: nobody could tell whose the next one is.
    #[error("another message with the same value waits for its answer")]
    Ambiguous,
}

/// An answer that is awaited.
#[derive(Debug)]
pub(super) struct Awaited(oneshot::Receiver<String>);

impl Awaited {
    /// The answer; `None` when the feed that it was to come from is gone.
    pub(super) async fn found(self) -> Option<String> {
        self.0.await.ok()
    }
}

impl Replies {
    /// Awaits the answer to `message`; `None` when it has no value at `pointer`, and so wants no answer.
    ///
    /// # Errors
    /// [`Crowded`]: too many wait, or one for the same value.
    pub(super) fn expect(
        &self,
        pointer: &Arc<str>,
        message: &str,
    ) -> Result<Option<Awaited>, Crowded> {
        let Some(value) = value_at(pointer, message) else {
            return Ok(None);
        };
        let (found, awaited) = oneshot::channel();
        let mut wanted = self.lock();
        // Who has given up makes room.
        wanted.retain(|wanted| !wanted.found.is_closed());
        if wanted.len() >= WAITING {
            return Err(Crowded::Full);
        }
        if wanted
            .iter()
            .any(|other| (&other.pointer, &other.value) == (pointer, &value))
        {
            return Err(Crowded::Ambiguous);
        }
        wanted.push(Wanted {
            pointer: pointer.clone(),
            value,
            found,
        });
        self.waiting.store(wanted.len(), Ordering::Release);
        Ok(Some(Awaited(awaited)))
    }

    /// A text message of the feed. It answers the one whose value it has.
    pub(super) fn hear(&self, message: &str) {
        if self.waiting.load(Ordering::Acquire) == 0 {
            return;
        }
        let Ok(document) = serde_json::from_str::<Value>(message) else {
            return;
        };
        let answers = |wanted: &mut Wanted| {
            document.pointer(&wanted.pointer) == Some(&wanted.value) || wanted.found.is_closed()
        };
        let mut wanted = self.lock();
        let answered: Vec<Wanted> = wanted.extract_if(.., answers).collect();
        self.waiting.store(wanted.len(), Ordering::Release);
        drop(wanted);
        for wanted in answered {
            // Who has given up does not want to know.
            let _ = wanted.found.send(message.to_owned());
        }
    }

    /// The feed is gone, and its answers with it.
    pub(super) fn clear(&self) {
        let mut wanted = self.lock();
        wanted.clear();
        self.waiting.store(0, Ordering::Release);
    }

    /// A panic under the lock cannot leave the list half changed, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Vec<Wanted>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn value_at(pointer: &str, message: &str) -> Option<Value> {
    let mut document: Value = serde_json::from_str(message).ok()?;
    let value = document.pointer_mut(pointer)?.take();
    // Null is what many write for "none".
    (!value.is_null()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_has_the_same_value_in_the_same_place() {
        let (replies, pointer) = (Replies::default(), Arc::from("/id"));
        let expect = |message: &str| replies.expect(&pointer, message).unwrap();
        assert!(expect(r#"{"op":"log"}"#).is_none());
        assert!(expect(r#"{"id":null}"#).is_none());
        assert!(expect("no json").is_none());
        let (seven, text) = (expect(r#"{"id":7}"#), expect(r#"{"id":"7"}"#));
        for message in ["no json", r#"{"id":8}"#, r#"{"x":{"id":7}}"#, "7"] {
            replies.hear(message);
        }
        replies.hear(r#"{"ok":true,"id":7}"#);
        replies.hear(r#"{"late":true,"id":7}"#);
        let found = seven.unwrap().found().await;
        assert_eq!(found.as_deref(), Some(r#"{"ok":true,"id":7}"#));
        replies.clear();
        assert_eq!(text.unwrap().found().await, None);
        assert_eq!(replies.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn nobody_gets_the_answer_to_the_message_of_another() {
        let (replies, pointer) = (Replies::default(), Arc::from("/id"));
        let expect = || replies.expect(&pointer, r#"{"id":7}"#);
        let first = expect().unwrap();
        assert_eq!(expect().unwrap_err(), Crowded::Ambiguous);
        replies.hear(r#"{"id":7,"to":"first"}"#);
        let second = expect().unwrap().unwrap();
        replies.hear(r#"{"id":7,"to":"second"}"#);
        let found = (first.unwrap().found().await, second.found().await);
        assert!(found.0.unwrap().contains("first") && found.1.unwrap().contains("second"));
    }

    #[test]
    fn who_has_given_up_makes_room() {
        let (replies, pointer) = (Replies::default(), Arc::from("/id"));
        let expect = |id| replies.expect(&pointer, &format!(r#"{{"id":{id}}}"#));
        let waiting: Vec<_> = (0..WAITING).map(|id| expect(id).unwrap()).collect();
        assert_eq!(expect(WAITING).unwrap_err(), Crowded::Full);
        drop(waiting);
        assert!(expect(WAITING).is_ok());
        assert_eq!(replies.lock().len(), 1);
    }
}
