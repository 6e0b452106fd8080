//! What the process hears while it serves: signals, changed files, the operator's wishes.

use super::Server;
use super::reload::Outcome;
use crate::admin::control::{Ask, Wish};
use crate::lifecycle::drain::Cause;
use crate::lifecycle::handover::HandoverError;
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
    /// A new process is ready to follow this one, or has failed.
    Restarted(Result<(), HandoverError>),
    /// The watchdog wants to hear of the workers.
    Watchdog,
    /// It is time to look at the certificates.
    Expiry,
}

impl Server {
    /// Serves until there is a reason to end.
    pub(super) async fn serve(&mut self, signals: &mut Signals) -> Cause {
        loop {
            match self.next(signals).await {
                Event::Signal(Request::Reload) => drop(self.reload()),
                Event::Signal(Request::Restart) => self.restart(),
                Event::Signal(Request::Stop) => return Cause::Stop,
                Event::Files => self.files_changed(),
                Event::Asked(ask) => self.asked(ask),
                Event::Restarted(outcome) => {
                    if let Some(cause) = self.restarted(outcome) {
                        return cause;
                    }
                }
                Event::Watchdog => self.watchdog.look_and_tell(),
                Event::Expiry => self.expiry.tell(&self.shared.load().config),
            }
        }
    }

    /// What comes next. Files that change while another process is about to follow are looked at afterwards, if it fails.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    async fn next(&mut self, signals: &mut Signals) -> Event {
        let is_restarting = self.restart.is_under_way();
        tokio::select! {
            request = signals.next() => Event::Signal(request),
            outcome = self.restart.outcome() => Event::Restarted(outcome),
            () = self.watch.settled(), if !is_restarting => Event::Files,
            ask = self.asks.next() => Event::Asked(ask),
            () = self.watchdog.due() => Event::Watchdog,
            () = self.expiry.due() => Event::Expiry,
        }
    }

    /// Does what the operator wishes. Whoever has asked for the same meanwhile gets the same answer.
    fn asked(&mut self, first: Ask) {
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
    fn files_changed(&mut self) {
        let outcome = self.try_reload();
        match &outcome {
            Outcome::Done(plan) => {
                self.watch.mended();
                tracing::info!(changes = plan.line(), "reloaded");
            }
            Outcome::Unchanged | Outcome::Planned(_) => {
                if !self.watch.mended() {
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
