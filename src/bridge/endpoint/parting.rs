//! What a subscriber is told last: when to come back, or that it is not to.
//!
//! An end never says so by its status: the response's head went out long before. What is final is said by an id, which
//! the client brings when it comes back ([`FinalId`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::bridge::Bridge;
use crate::bridge::channel::Channel;
use crate::bridge::cursor::FinalId;
use crate::bridge::log::Form;
use crate::bridge::map::{self, Over};
use crate::bridge::session::Ending;
use crate::config::model::Verdict;
use crate::http::chunked;
use crate::observe::access::End;
use crate::sse::encode;
use crate::websocket::close::CloseCode;

use super::prelude::{frame, random};

/// `retry:` for a client that cannot be served now: at least this, and as much again and more at random.
pub(super) const BUSY: Duration = Duration::from_secs(10);
/// `retry:` before an end of ours is at least this.
const RETURN: Duration = Duration::from_millis(250);

/// A subscriber's end.
pub(super) struct Parting<'a> {
    bridge: &'a Bridge,
    channel: &'a Channel,
    /// Why it ends. That a session's feed was closed in order is known here.
    pub(super) end: End,
    /// What a drain says to a WebSocket.
    pub(super) going: CloseCode,
}

impl<'a> Parting<'a> {
    /// The end of a subscriber of `channel`.
    pub(super) fn new(bridge: &'a Bridge, channel: &'a Arc<Channel>, end: End) -> Self {
        let ending = channel.session().and_then(|session| session.ending());
        let end = match (end, ending) {
            (End::BackendFailed, Some(Ending::Final { .. })) => End::Backend,
            (end, _) => end,
        };
        Self {
            bridge,
            channel,
            end,
            going: CloseCode::GoingAway,
        }
    }

    /// Whether it is an end of ours, at which there is something to say.
    pub(super) fn is_ours(&self) -> bool {
        matches!(
            self.end,
            End::Age
                | End::Drain
                | End::Operator
                | End::Removed
                | End::Expired
                | End::Backend
                | End::BackendFailed
                | End::TakenOver
        )
    }

    /// The close code of the feed, where it is final and may be passed on to a WebSocket (RFC 6455 §7.4).
    pub(super) fn close_code(&self) -> Option<u16> {
        let may_be_sent = |code: &u16| matches!(code, 1000..=1003 | 1007..=1011 | 3000..=4999);
        match self.channel.session()?.ending()? {
            Ending::Final { code, .. } => code.filter(may_be_sent),
            Ending::Lost | Ending::Refused => None,
        }
    }

    /// The last words, whole. A WebSocket's Close comes after them; it has no words for the time of its return.
    pub(super) fn words(&self, form: Form) -> Bytes {
        let mut plain = Vec::new();
        let ending = self.channel.session().and_then(|session| session.ending());
        match (self.end, ending) {
            (End::TakenOver, _) => self.over(Over::TakenOver, Verdict::Done, &mut plain),
            (End::Backend, Some(Ending::Final { code, verdict })) => {
                self.over(Over::Closed { code }, verdict, &mut plain);
            }
            (End::BackendFailed, Some(Ending::Refused)) => {
                tell_busy(self.bridge, BUSY, &mut plain);
            }
            _ => {
                if self.end == End::Expired {
                    map::expired(&mut plain);
                }
                // Spread, so that the clients do not return all at once.
                let wait = random(RETURN, return_window(self.bridge));
                encode::retry(wait, &mut plain);
                encode::end(&mut plain);
            }
        }
        let mut out = Vec::from(frame(form, plain));
        if form == Form::SseChunked {
            out.extend_from_slice(chunked::LAST);
        }
        out.into()
    }

    fn over(&self, over: Over, verdict: Verdict, out: &mut Vec<u8>) {
        let seq = self.channel.log().view().head() - 1;
        let id = FinalId {
            id: self.channel.id(seq),
            verdict,
        };
        map::over(over, id, out);
    }
}

/// The whole body for a client that cannot be served now. A status other than 200 would end its EventSource for ever.
pub(super) fn busy(bridge: &Bridge, at_least: Duration) -> Bytes {
    let mut out = Vec::new();
    tell_busy(bridge, at_least, &mut out);
    out.into()
}

fn tell_busy(bridge: &Bridge, at_least: Duration, out: &mut Vec<u8>) {
    encode::retry(random(at_least, 2 * BUSY + return_window(bridge)), out);
    map::busy(out);
}

fn return_window(bridge: &Bridge) -> Duration {
    let clients = Duration::from_secs_f64(
        bridge.subscribers() as f64 / f64::from(bridge.config().limits.accept_rate),
    );
    clients.max(bridge.config().retry.spread)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::log::tests::{fill, writer};
    use crate::bridge::session::Session;
    use crate::bridge::tests::config;
    use crate::sse::encode::tests::{Decoder, decode};

    fn channel(ending: Option<Ending>) -> Arc<Channel> {
        let mut writer = writer(10);
        fill(&mut writer, 5);
        let (channel, _publishes) = Channel::of(writer.log());
        let Some(ending) = ending else {
            return Arc::new(channel);
        };
        let session = Session::new(String::new());
        session.end(ending);
        Arc::new(channel.of_session(session))
    }

    fn bridge() -> Arc<Bridge> {
        Bridge::new(Arc::new(config(&[])))
    }

    #[test]
    fn an_end_of_ours_is_a_block_and_the_last_chunk() {
        let (bridge, channel) = (bridge(), channel(None));
        let closing = Parting::new(&bridge, &channel, End::Drain).words(Form::SseChunked);
        let closing = std::str::from_utf8(&closing).unwrap();
        assert!(closing.ends_with("\n\n\r\n0\r\n\r\n"), "{closing:?}");
        let busy = busy(&bridge, BUSY);
        let busy = std::str::from_utf8(&busy).unwrap();
        assert!(busy.contains(r#"data: {"state":"busy"}"#), "{busy}");
    }

    #[test]
    fn each_way_to_end_is_told_in_its_words() {
        let closed = |code, verdict| Some(Ending::Final { code, verdict });
        let ended = r#"{"state":"ended","code":1000}"#;
        let refused = r#"{"state":"ended","code":4401}"#;
        let unopened = r#"{"state":"ended","code":null}"#;
        let table = [
            (closed(Some(1000), Verdict::Done), ended, "-5-end"),
            (closed(Some(4401), Verdict::Unauthorized), refused, "-5-401"),
            (closed(None, Verdict::NotFound), unopened, "-5-404"),
        ];
        let bridge = bridge();
        for (ending, data, id) in table {
            let channel = channel(ending);
            let parting = Parting::new(&bridge, &channel, End::BackendFailed);
            assert_eq!(parting.end, End::Backend);
            let told = decode(&parting.words(Form::SsePlain));
            assert_eq!(
                (told[0].event.as_str(), told[0].data.as_str()),
                ("streamgate.status", data)
            );
            assert_eq!(told[0].id, format!("{}{id}", channel.epoch()));
        }
        let taken = channel(Some(Ending::Lost));
        let words = Parting::new(&bridge, &taken, End::TakenOver).words(Form::SsePlain);
        assert!(decode(&words)[0].id.ends_with("-5-end"));
    }

    #[test]
    fn who_is_to_come_back_is_told_when_and_keeps_its_cursor() {
        let table = [
            (Ending::Lost, 250, 3_250),
            (Ending::Refused, 10_000, 33_000),
        ];
        for (ending, least, most) in table {
            let (bridge, channel) = (bridge(), channel(Some(ending)));
            let words = Parting::new(&bridge, &channel, End::BackendFailed).words(Form::SsePlain);
            let mut decoder = Decoder::default();
            decoder.decode(std::str::from_utf8(&words).unwrap());
            assert!(
                (least..=most).contains(&decoder.retry.unwrap()),
                "{ending:?}"
            );
            assert_eq!(decoder.last_id, "");
        }
    }
}
