//! Of what feeds a bridge: two that are [fed alike](model::Bridge::is_fed_alike) have the same, in any process and as far
//! as possible in any version.
//!
//! It is a digest, so that a file that holds it tells nothing of the secrets in a feed's headers. Invariant: whatever
//! `is_fed_alike` compares is in it; a new field of the bridge does not compile until somebody has decided.

use std::fmt::Display;

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::model::{self, EventName, FeedKind, Mapping, Mode};
use crate::net::Scheme;

use super::form::Digest;

/// The fingerprint of what feeds `bridge`.
pub(super) fn of(bridge: &model::Bridge) -> Digest {
    let mut print = Print(Context::new(&SHA256));
    print.bridge(bridge);
    digest(print.0)
}

/// The digest of one text.
pub(super) fn of_text(text: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(text.as_bytes());
    digest(context)
}

fn digest(context: Context) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// Each value goes in with its name and its length, so that no two configurations make the same bytes.
struct Print(Context);

impl Print {
    fn bytes(&mut self, name: &str, value: &[u8]) {
        for part in [name.as_bytes(), value] {
            self.0.update(&(part.len() as u64).to_be_bytes());
            self.0.update(part);
        }
    }

    fn put(&mut self, name: &str, value: impl Display) {
        self.bytes(name, value.to_string().as_bytes());
    }

    fn bridge(&mut self, bridge: &model::Bridge) {
        let model::Bridge {
            name,
            source,
            tls,
            mode,
            share_key,
            connect,
            keepalive,
            resume,
            across_sources,
            reconnect,
            idle,
            max_message,
            replay,
            mapping,
            snapshot,
            // How clients are served.
            start: _,
            on_gap: _,
            slow: _,
            heartbeat: _,
            heartbeat_event: _,
            retry: _,
            limits: _,
            publish: _,
            close_map: _,
            open_event: _,
        } = bridge;
        self.put("name", name);
        for source in source {
            self.source(source);
        }
        if let Some(tls) = tls {
            self.bytes("tls", &tls.fingerprint());
        }
        let mode = match mode {
            Mode::Shared => "shared",
            Mode::Session => "session",
        };
        self.put("mode", mode);
        self.put("share_key", share_key);
        self.connect(connect);
        if let Some(keepalive) = keepalive {
            self.put("keepalive.every", keepalive.every.as_nanos());
            self.put("keepalive.text", &keepalive.text);
            self.maybe("keepalive.drop", keepalive.drop.as_ref());
        }
        if let Some(resume) = resume {
            self.put("resume.pointer", &resume.pointer);
            self.put("resume.send", &resume.send);
        }
        // Only where it is so: states of before there was such a key are those of bridges without.
        if *across_sources {
            self.put("across_sources", across_sources);
        }
        self.put("reconnect.initial", reconnect.initial.as_nanos());
        self.put("reconnect.max", reconnect.max.as_nanos());
        self.idle(idle);
        self.put("max_message", max_message);
        self.put("replay.events", replay.events);
        self.put("replay.bytes", replay.bytes);
        self.put("replay.age", replay.age.as_nanos());
        self.mapping(mapping);
        if let Some(snapshot) = snapshot {
            self.put("snapshot.keys", snapshot.keys);
            self.put("snapshot.bytes", snapshot.bytes);
        }
    }

    fn maybe(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn source(&mut self, source: &model::Source) {
        let model::Source { kind, server, path } = source;
        self.put(
            "source",
            match kind {
                FeedKind::WebSocket => "websocket",
                FeedKind::EventSource => "events",
            },
        );
        self.put(
            "source.scheme",
            match server.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
                Scheme::H2c => "h2c",
            },
        );
        self.put("source.server", server);
        self.put("source.path", path);
    }

    fn connect(&mut self, connect: &model::FeedConnect) {
        let model::FeedConnect {
            headers,
            subprotocols,
            send,
            compression,
            forward,
        } = connect;
        for (name, value) in headers {
            self.put("connect.headers", name);
            self.bytes("connect.headers.value", value.as_bytes());
        }
        for subprotocol in subprotocols {
            self.put("connect.subprotocols", subprotocol);
        }
        for greeting in send {
            self.put("connect.send", &greeting.text);
            if let Some(expected) = &greeting.expect {
                self.put("expect", &expected.pointer);
                self.maybe("expect.value", expected.value.as_ref());
                self.put("expect.timeout", expected.timeout.as_nanos());
            }
        }
        self.put("connect.compression", compression);
        for name in forward {
            self.put("connect.forward", name);
        }
    }

    fn idle(&mut self, idle: &model::FeedIdle) {
        let model::FeedIdle {
            linger,
            eager,
            ping,
            pong,
            silence,
        } = idle;
        self.put("idle.linger", linger.as_nanos());
        self.put("idle.eager", eager);
        self.put("idle.ping", ping.as_nanos());
        self.put("idle.pong", pong.as_nanos());
        self.maybe("idle.silence", silence.map(|silence| silence.as_nanos()));
    }

    fn mapping(&mut self, mapping: &Mapping) {
        let Mapping {
            name,
            data,
            envelope,
            newline,
            binary,
            key,
            filter,
        } = mapping;
        match name {
            Some(EventName::Fixed(name)) => self.put("event.name", name),
            Some(EventName::At(pointer)) => self.put("event.name.pointer", pointer),
            None => {}
        }
        self.maybe("event.data", data.as_ref());
        self.put("envelope", envelope);
        self.put(
            "newline",
            match newline {
                model::Newline::Split => "split",
                model::Newline::Json => "json",
            },
        );
        self.put(
            "binary",
            match binary {
                model::Binary::Base64 => "base64",
                model::Binary::Utf8 => "utf8",
                model::Binary::Envelope => "envelope",
                model::Binary::Reject => "reject",
            },
        );
        self.maybe("key", key.as_ref());
        if let Some(filter) = filter {
            self.put("filter.query", &filter.query);
            self.put("filter.pointer", &filter.pointer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bridge::tests::config;
    use crate::config::model::{Binary, Bridge, OnGap};
    use crate::json::Pointer;
    use crate::route::Template;

    #[test]
    fn it_differs_exactly_where_the_feed_does() {
        type Change = fn(&mut Bridge);
        let changes: [(&str, Change); 12] = [
            ("nothing", |_| {}),
            ("how clients are served", |bridge| {
                bridge.on_gap = OnGap::Live
            }),
            ("limits", |bridge| bridge.limits.subscribers = 7),
            ("publish", |bridge| bridge.publish = None),
            ("the name", |bridge| bridge.name = "other".into()),
            ("a path", |bridge| {
                bridge.source[0].path = Template::parse("/other").unwrap();
            }),
            ("the sources", |bridge| bridge.source.truncate(1)),
            ("a secret", |bridge| {
                let value = "Bearer x".parse().unwrap();
                bridge.connect.headers.insert("authorization", value);
            }),
            ("the mapping", |bridge| bridge.mapping.binary = Binary::Utf8),
            ("the key", |bridge| {
                bridge.mapping.key = Some(Pointer::parse("/a~1b").unwrap());
            }),
            ("the caps", |bridge| bridge.replay.bytes += 1),
            ("the silence", |bridge| {
                bridge.idle.silence = Some(Duration::ZERO);
            }),
        ];
        let before = config(&[1, 2]);
        for (what, change) in changes {
            let mut after = before.clone();
            change(&mut after);
            let alike = before.is_fed_alike(&after);
            assert_eq!(of(&before) == of(&after), alike, "{what}");
        }
    }

    #[test]
    fn it_is_the_same_in_every_process() {
        let mut bridge = config(&[1]);
        bridge
            .connect
            .headers
            .insert("x-key", "secret".parse().unwrap());
        let hex: String = of(&bridge)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let known = "a996352fc26540a4df3da72357305340937df5699bbe9c6d7887d0d1b5d3db70";
        assert_eq!(hex, known, "logs of before would be lost");
    }
}
