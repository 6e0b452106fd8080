//! Errands: what another thread has a worker do with what is the worker's own.
//!
//! Nobody reads a worker's lists from outside; who wants to know something of them sends an errand, which the worker runs
//! between two of its tasks, and waits for the answer. Invariants: few errands wait at a worker, nobody
//! waits for an answer for longer than [`PATIENCE`], and an errand that nobody waits for any more is not run.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::drain::Guard;

/// Errands that wait at one worker; it is as good as absent to those who bring more.
const WAITING: usize = 64;

/// How long a worker may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(1);

type Work = Box<dyn FnOnce(&Guard) + Send>;

/// Something that a worker is to do.
pub struct Errand(Work);

/// Where a worker's errands come out.
pub struct Errands(mpsc::Receiver<Errand>);

/// The ways to all workers, in their order.
#[derive(Clone, Default)]
pub struct Crew(Vec<mpsc::Sender<Errand>>);

impl Errand {
    /// Does it, here. What it leaves running holds a clone of `guard`, and ends with the drain.
    pub fn run(self, guard: &Guard) {
        (self.0)(guard);
    }
}

impl Errands {
    /// The next one; never, where nobody can bring any.
    ///
    /// # Cancel safety
    /// No errand is lost when it is dropped.
    pub async fn next(&mut self) -> Errand {
        match self.0.recv().await {
            Some(errand) => errand,
            None => std::future::pending().await,
        }
    }
}

impl Crew {
    /// One more worker: where its errands come out.
    pub fn enlist(&mut self) -> Errands {
        let (errands, received) = mpsc::channel(WAITING);
        self.0.push(errands);
        Errands(received)
    }

    /// How many workers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no worker.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has every worker do `work`, which gets the worker's number, and returns what each has answered in time, in their
    /// order. `None`: it was too busy, or has ended, and has not done it.
    ///
    /// # Cancel safety
    /// What has not begun when it is dropped is not done.
    pub async fn ask<T, F>(&self, work: F) -> Vec<Option<T>>
    where
        T: Send + 'static,
        F: Fn(usize, &Guard) -> T + Clone + Send + 'static,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut answers = Vec::with_capacity(self.0.len());
        for (number, errands) in self.0.iter().enumerate() {
            let (answer, answered) = oneshot::channel();
            let work = work.clone();
            let errand = move |guard: &Guard| {
                if !answer.is_closed() {
                    // Whoever asked may have gone meanwhile.
                    let _ = answer.send(work(number, guard));
                }
            };
            let taken = errands.try_send(Errand(Box::new(errand)));
            answers.push(taken.is_ok().then_some(answered));
        }
        let mut all = Vec::with_capacity(answers.len());
        for answered in answers {
            all.push(match answered {
                Some(answered) => timeout_at(deadline, answered)
                    .await
                    .ok()
                    .and_then(Result::ok),
                None => None,
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::drain::Trigger;

    #[tokio::test(start_paused = true)]
    async fn every_worker_answers_for_itself_and_a_busy_one_is_missed() {
        let trigger = Trigger::new();
        let mut crew = Crew::default();
        let (mut first, _busy, gone) = (crew.enlist(), crew.enlist(), crew.enlist());
        drop(gone);
        let works = async {
            first.next().await.run(&trigger.guard());
            std::future::pending::<()>().await;
        };
        let begun = Instant::now();
        let answers = tokio::select! {
            answers = crew.ask(|number, _guard| number * 10) => answers,
            () = works => unreachable!("it waits for ever"),
        };
        assert_eq!(answers, [Some(0), None, None]);
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_is_not_done() {
        let trigger = Trigger::new();
        let mut crew = Crew::default();
        let mut errands = crew.enlist();
        let (done, mut was_done) = mpsc::channel(1);
        let asked = crew.ask(move |_number, _guard| done.try_send(()).is_ok());
        assert_eq!(asked.await, [None]);
        errands.next().await.run(&trigger.guard());
        assert!(was_done.try_recv().is_err());
    }

    #[tokio::test]
    async fn no_more_wait_than_may() {
        let mut crew = Crew::default();
        let _busy = crew.enlist();
        for _errand in 0..WAITING {
            let _dropped = futures_util::poll!(Box::pin(crew.ask(|number, _guard| number)));
        }
        assert_eq!(crew.ask(|number, _guard| number).await, [None]);
    }
}
