//! From a server's name to its addresses.
//!
//! Each worker has a resolver of its own, because its sockets belong to the worker's runtime. `/etc/hosts` goes first,
//! then DNS; an answer holds for its TTL, and when it cannot be had anew the last one is used for some minutes more. Names
//! below `localhost` (RFC 6761 §6.3) and addresses are never asked for.

mod source;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, Shared};
use tokio::time::Instant;

use self::source::{Answer, Source, Unanswered};
use crate::net::Authority;

/// How long a new answer is waited for while there is an old one.
const PATIENCE: Duration = Duration::from_secs(1);

/// How soon after a failure the servers are asked again, while there is an old answer.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a question is taken up by others. One that nobody waited for stands still, and its own clocks do not.
const TAKEN_UP: Duration = Duration::from_secs(2);

/// Names that are remembered at most. They come from the configuration, and so from few reloads.
const MAX_NAMES: usize = 4096;

thread_local! {
    static OF_WORKER: RefCell<Option<Rc<Resolver>>> = const { RefCell::new(None) };
}

/// From now on this worker asks `servers`; none: those of the system's configuration, which is read again.
pub fn ask(servers: &[SocketAddr]) {
    let resolver = Resolver::new(Source::of(servers));
    OF_WORKER.replace(Some(Rc::new(resolver)));
}

/// Gives up this worker's sockets, before its runtime ends.
pub fn close() {
    OF_WORKER.replace(None);
}

/// The addresses of `authority`, in the order in which they are to be tried: the families in turn (RFC 8305 §4), and each
/// time another one first.
///
/// # Errors
/// The name has no address, or nobody could be asked.
///
/// # Cancel safety
/// A question under way is taken up by whoever asks soon.
pub(super) async fn addresses(authority: &Authority) -> io::Result<Vec<SocketAddr>> {
    let with_port = |address| SocketAddr::new(address, authority.port);
    if let Ok(address) = authority.host.parse::<IpAddr>() {
        return Ok(vec![with_port(address)]);
    }
    if is_local(&authority.host) {
        let loopback = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        return Ok(loopback.map(with_port).into());
    }
    let found = of_worker().find(&authority.host).await?;
    Ok(found.into_iter().map(with_port).collect())
}

fn of_worker() -> Rc<Resolver> {
    OF_WORKER.with_borrow_mut(|resolver| {
        resolver
            .get_or_insert_with(|| Rc::new(Resolver::new(Source::of(&[]))))
            .clone()
    })
}

/// RFC 6761 §6.3
fn is_local(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

struct Resolver {
    source: Source,
    known: RefCell<HashMap<Arc<str>, Known>>,
}

#[derive(Default)]
struct Known {
    answer: Option<Answer>,
    /// How often it was used: each time another address comes first.
    turn: usize,
    /// Under way, and since when.
    question: Option<(Instant, Question)>,
}

type Question = Shared<LocalBoxFuture<'static, Result<Answer, Unanswered>>>;

impl Resolver {
    fn new(source: Source) -> Self {
        Self {
            source,
            known: RefCell::default(),
        }
    }

    async fn find(&self, name: &Arc<str>) -> io::Result<Vec<IpAddr>> {
        let old = match self.remembered(name) {
            Some(answer) if answer.fresh_until > Instant::now() => {
                return Ok(self.in_turn(name, &answer));
            }
            old => old,
        };
        let question = self.question(name);
        let answered = match &old {
            None => question.await,
            // Whoever comes soon takes up the question where it was left.
            Some(_) => tokio::time::timeout(PATIENCE, question)
                .await
                .unwrap_or(Err(Unanswered::Slow)),
        };
        match (answered, old) {
            (Ok(answer), _) => {
                self.note(name, |known| {
                    known.answer = Some(answer.clone());
                    known.question = None;
                });
                Ok(self.in_turn(name, &answer))
            }
            (Err(error), Some(old)) => {
                self.go_on_with(name, &error);
                Ok(self.in_turn(name, &old))
            }
            (Err(error), None) => {
                self.note(name, |known| known.question = None);
                Err(io::Error::other(error))
            }
        }
    }

    /// An answer that can still be used, be it an old one.
    fn remembered(&self, name: &Arc<str>) -> Option<Answer> {
        let known = self.known.borrow();
        let answer = known.get(name)?.answer.clone()?;
        (answer.usable_until > Instant::now()).then_some(answer)
    }

    /// The old answer holds for a little longer.
    fn go_on_with(&self, name: &Arc<str>, error: &Unanswered) {
        self.note(name, |known| {
            if !matches!(error, Unanswered::Slow) {
                known.question = None;
            }
            let Some(answer) = &mut known.answer else {
                return;
            };
            let now = Instant::now();
            // Others who waited for the same answer have said it already.
            if answer.fresh_until <= now {
                tracing::warn!(%name, %error, "a name was not resolved anew, its last addresses are used");
                answer.fresh_until = now + AGAIN;
            }
        });
    }

    /// The question under way, or a new one.
    fn question(&self, name: &Arc<str>) -> Question {
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_NAMES && !known.contains_key(name) {
            known.clear();
        }
        let known = known.entry(name.clone()).or_default();
        known
            .question
            .take_if(|(since, _question)| since.elapsed() >= TAKEN_UP);
        let ask = || {
            let (source, name) = (self.source.clone(), name.clone());
            let answer = async move { source.answer(&name).await };
            (Instant::now(), answer.boxed_local().shared())
        };
        known.question.get_or_insert_with(ask).1.clone()
    }

    fn note(&self, name: &Arc<str>, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.known.borrow_mut().get_mut(name) {
            change(known);
        }
    }

    fn in_turn(&self, name: &Arc<str>, answer: &Answer) -> Vec<IpAddr> {
        let mut turn = 0;
        self.note(name, |known| {
            turn = known.turn;
            known.turn = turn.wrapping_add(1);
        });
        let mut addresses = interleave(&answer.addresses);
        let length = addresses.len().max(1);
        addresses.rotate_left(turn % length);
        addresses
    }
}

/// IPv6 and IPv4 by turns (RFC 8305 §4).
fn interleave(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (mut six, mut four): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv6());
    six.reverse();
    four.reverse();
    let mut all = Vec::with_capacity(addresses.len());
    while !six.is_empty() || !four.is_empty() {
        all.extend(six.pop());
        all.extend(four.pop());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::source::STALE;
    use super::*;

    fn parsed(addresses: &[&str]) -> Vec<IpAddr> {
        addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect()
    }

    #[test]
    fn families_take_turns() {
        let cases: [(&[&str], &[&str]); 3] = [
            (
                &["10.0.0.1", "10.0.0.2", "::1", "::2"],
                &["::1", "10.0.0.1", "::2", "10.0.0.2"],
            ),
            (
                &["10.0.0.1", "10.0.0.2", "::1"],
                &["::1", "10.0.0.1", "10.0.0.2"],
            ),
            (&["10.0.0.1"], &["10.0.0.1"]),
        ];
        for (given, expected) in cases {
            assert_eq!(interleave(&parsed(given)), parsed(expected));
        }
    }

    #[test]
    fn names_below_localhost_are_loopback() {
        for (name, local) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("app.localhost", true),
            ("localhost.example.org", false),
            ("notlocalhost", false),
        ] {
            assert_eq!(is_local(name), local, "{name}");
        }
    }

    /// A resolver that knows `name` and whose servers are nowhere.
    fn knowing(name: &Arc<str>, fresh: Duration) -> Resolver {
        let nowhere = "127.0.0.1:1".parse().unwrap();
        let resolver = Resolver::new(Source::of(&[nowhere]));
        let fresh_until = Instant::now() + fresh;
        let answer = Answer {
            addresses: parsed(&["10.0.0.1", "10.0.0.2"]).into(),
            fresh_until,
            usable_until: fresh_until + STALE,
        };
        let known = Known {
            answer: Some(answer),
            ..Known::default()
        };
        resolver.known.borrow_mut().insert(name.clone(), known);
        resolver
    }

    #[tokio::test]
    async fn each_address_comes_first_in_its_turn() {
        let name: Arc<str> = "app.test".into();
        let resolver = knowing(&name, Duration::from_secs(60));
        let mut first = Vec::new();
        for _ in 0..4 {
            first.push(resolver.find(&name).await.unwrap()[0]);
        }
        assert_eq!(
            first,
            parsed(&["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"])
        );
    }

    #[tokio::test]
    async fn an_old_answer_is_used_when_there_is_no_new_one() {
        let name: Arc<str> = "app.test".into();
        let resolver = knowing(&name, Duration::ZERO);
        assert_eq!(resolver.find(&name).await.unwrap().len(), 2);
        let known = resolver.known.borrow();
        let answer = known[&name].answer.as_ref().unwrap();
        assert!(
            answer.fresh_until > Instant::now(),
            "it is asked again soon"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_was_left_alone_is_asked_anew() {
        let name: Arc<str> = "app.test".into();
        let resolver = knowing(&name, Duration::ZERO);
        let first = resolver.question(&name);
        assert!(first.ptr_eq(&resolver.question(&name)));
        tokio::time::advance(TAKEN_UP).await;
        assert!(!first.ptr_eq(&resolver.question(&name)));
    }

    #[tokio::test]
    async fn an_answer_is_not_used_for_ever() {
        let name: Arc<str> = "app.test".into();
        let resolver = knowing(&name, Duration::ZERO);
        resolver.note(&name, |known| {
            known.answer.as_mut().unwrap().usable_until = Instant::now();
        });
        assert!(resolver.find(&name).await.is_err());
    }
}
