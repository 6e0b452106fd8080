//! What the process hears while it serves: signals, changed files, the operator's wishes.

use super::Server;
use super::reload::Outcome;
use crate::admin::control::{Ask, Wish};
use crate::lifecycle::signal::{Request, Signals};
use crate::respond;

/// What has come.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal.
    Signal(Request),
    /// Files of the configuration have changed, and are quiet now.
    Files,
    /// The operator wishes something.
    Asked(Ask),
}

impl Server {
    /// What comes next.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn next(&mut self, signals: &mut Signals) -> Event {
        tokio::select! {
            request = signals.next() => Event::Signal(request),
            () = self.watch.settled() => Event::Files,
            ask = self.asks.next() => Event::Asked(ask),
        }
    }

    /// Does what the operator wishes. Whoever has asked for the same meanwhile gets the same answer.
    pub(super) fn asked(&mut self, first: Ask) {
        let mut asks = vec![first];
        asks.extend(self.asks.waiting());
        let (plans, reloads): (Vec<_>, Vec<_>) =
            asks.into_iter().partition(|ask| ask.wish == Wish::Plan);
        if !plans.is_empty() {
            let told = self.plan().told();
            plans.into_iter().for_each(|ask| ask.answer(told.clone()));
        }
        if !reloads.is_empty() {
            let told = self.reload().told();
            reloads.into_iter().for_each(|ask| ask.answer(told.clone()));
        }
    }

    /// Follows files that have changed. What they mean may be the same as before, or nothing yet: a file is half written, of a
    /// certificate and its key one is new. What is wrong twice is told, once, and the next change tries again.
    pub(super) fn files_changed(&mut self) {
        let outcome = self.try_reload();
        match &outcome {
            Outcome::Done(plan) => {
                self.watch.told = None;
                tracing::info!(changes = plan.line(), "reloaded");
            }
            Outcome::Unchanged | Outcome::Planned(_) => {
                if self.watch.told.take().is_none() {
                    tracing::debug!("files changed, and nothing of what they mean");
                    return;
                }
                tracing::info!("reload: unchanged");
            }
            Outcome::Refused(refusal) => {
                let cause = respond::chain(refusal);
                if !self.watch.is_to_be_told(&cause) {
                    return;
                }
                if refusal.is_half_a_pair() {
                    tracing::warn!(cause, "reload waits for a certificate and a key that fit");
                } else {
                    tracing::error!(cause, "reload refused");
                }
            }
        }
        self.reloaded(&outcome);
    }
}
