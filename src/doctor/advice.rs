//! What to change, in the words of each proxy's own configuration.
//!
//! Invariant: every topic has words for all of [`Proxy::USUAL`], so that nobody who is not recognised is left alone.

use super::chain::{Hop, Proxy};

/// What is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    /// Events are held back.
    Buffering,
    /// Compression holds events back.
    Compression,
    /// The head comes with the first bytes only.
    LateHead,
    /// A silent event stream is cut.
    SilentStream,
    /// A silent WebSocket is cut.
    SilentSocket,
    /// A stream is cut although it is not silent.
    WholeTime,
    /// `Upgrade` does not arrive.
    Upgrade,
    /// The server behind the proxy does not answer.
    Gateway,
}

impl Topic {
    /// All of them.
    #[cfg(test)]
    const ALL: [Self; 8] = [
        Self::Buffering,
        Self::Compression,
        Self::LateHead,
        Self::SilentStream,
        Self::SilentSocket,
        Self::WholeTime,
        Self::Upgrade,
        Self::Gateway,
    ];
}

/// One piece of advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Advice {
    /// For whom; `None`: for the app.
    pub(super) proxy: Option<Proxy>,
    /// What to do.
    pub(super) words: &'static str,
}

/// What to do: for those who were recognised, or for all where nobody was, and for the app.
pub(super) fn advice(topic: Topic, hops: &[Hop]) -> Vec<Advice> {
    let known: Vec<Proxy> = hops
        .iter()
        .map(|hop| hop.proxy)
        .filter(|proxy| *proxy != Proxy::Streamgate)
        .collect();
    let asked = match known.is_empty() {
        true => &Proxy::USUAL[..],
        false => &known,
    };
    let for_proxies = asked.iter().filter_map(|&proxy| {
        let words = words(topic, proxy)?;
        Some(Advice {
            proxy: Some(proxy),
            words,
        })
    });
    let mut all: Vec<Advice> = for_proxies.collect();
    if hops.iter().any(|hop| hop.proxy == Proxy::Streamgate)
        && let Some(words) = words(topic, Proxy::Streamgate)
    {
        let proxy = Some(Proxy::Streamgate);
        all.push(Advice { proxy, words });
    }
    if let Some(words) = for_the_app(topic) {
        all.push(Advice { proxy: None, words });
    }
    all
}

const fn for_the_app(topic: Topic) -> Option<&'static str> {
    Some(match topic {
        Topic::Buffering => {
            "send `X-Accel-Buffering: no` and `Cache-Control: no-cache, no-transform`, and flush behind each event"
        }
        Topic::Compression => "send `Cache-Control: no-cache, no-transform`",
        Topic::LateHead => "send a comment (`:` and two line ends) right behind the head",
        Topic::SilentStream => "send a comment (`:` and two line ends) every 15 s",
        Topic::SilentSocket => "send a ping every 15 s",
        Topic::WholeTime => "let clients come back: ids and `Last-Event-ID` for events",
        Topic::Upgrade | Topic::Gateway => return None,
    })
}

fn words(topic: Topic, proxy: Proxy) -> Option<&'static str> {
    match proxy {
        Proxy::Nginx => Some(nginx(topic)),
        Proxy::Haproxy => Some(haproxy(topic)),
        Proxy::Caddy => Some(caddy(topic)),
        Proxy::Traefik => Some(traefik(topic)),
        Proxy::Alb => Some(alb(topic)),
        Proxy::CloudFront => Some(cloudfront(topic)),
        Proxy::Cloudflare => Some(cloudflare(topic)),
        Proxy::Envoy => envoy(topic),
        Proxy::Apache => apache(topic),
        Proxy::Streamgate => streamgate(topic),
    }
}

const fn nginx(topic: Topic) -> &'static str {
    match topic {
        Topic::Buffering => {
            "in the `location`: `proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection \"\";`"
        }
        Topic::LateHead => {
            "in the `location`: `proxy_buffering off;`; over HTTP/2 it holds a head back even so, until something follows"
        }
        Topic::Compression => {
            "leave `text/event-stream` out of `gzip_types`, or `gzip off;` in the `location`"
        }
        Topic::SilentStream | Topic::SilentSocket => {
            "in the `location`: `proxy_read_timeout 1h; proxy_send_timeout 1h;` (the default is 60 s)"
        }
        Topic::WholeTime => {
            "look at `keepalive_time` and at reloads with `worker_shutdown_timeout`"
        }
        Topic::Upgrade => {
            "in the `location`: `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";`"
        }
        Topic::Gateway => "look at `proxy_pass` and the error log",
    }
}

const fn haproxy(topic: Topic) -> &'static str {
    match topic {
        Topic::Buffering | Topic::LateHead => {
            "`option http-no-delay` in `defaults` (without it each event waits 200 ms), and no `http-response wait-for-body`"
        }
        Topic::Compression => "leave `text/event-stream` out of `compression type`",
        Topic::SilentStream => {
            "`timeout server 1h` in the backend and `timeout client 1h` in the frontend"
        }
        Topic::SilentSocket => "`timeout tunnel 1h` in `defaults` or the backend",
        Topic::WholeTime => {
            "look at `timeout tunnel`, `hard-stop-after`, and `timeout http-request` of a proxy behind it"
        }
        Topic::Upgrade => {
            "`mode http` passes `Upgrade` on by itself: take `option httpclose` and `http-request del-header` off this path"
        }
        Topic::Gateway => "look at the server's `check` in the statistics",
    }
}

const fn caddy(topic: Topic) -> &'static str {
    match topic {
        Topic::Buffering => {
            "`flush_interval -1` in `reverse_proxy` where the type is not `text/event-stream`, and no `response_buffers`"
        }
        Topic::LateHead | Topic::Compression => {
            "keep event streams out of `encode`: `@rest not header Accept text/event-stream*`, then `encode @rest gzip`"
        }
        Topic::SilentStream => {
            "look at `read_timeout` in `reverse_proxy`'s `transport http` (none by default)"
        }
        Topic::SilentSocket => {
            "look at `stream_timeout` in `reverse_proxy` (none by default), and at what is in front of it"
        }
        Topic::WholeTime => {
            "look at `stream_timeout` in `reverse_proxy` and `servers { timeouts { write … } }`"
        }
        Topic::Upgrade => {
            "look for `header_up -Upgrade`, and for `versions h2c` in `transport http`"
        }
        Topic::Gateway => "look at `reverse_proxy`'s upstream and the log",
    }
}

const fn traefik(topic: Topic) -> &'static str {
    match topic {
        Topic::Buffering | Topic::LateHead => {
            "take the `buffering` middleware off this router; `responseForwarding.flushInterval: \"-1\"` for other types than `text/event-stream`"
        }
        Topic::Compression => {
            "`excludedContentTypes: [text/event-stream]` in the `compress` middleware"
        }
        Topic::SilentStream | Topic::SilentSocket => {
            "look at `forwardingTimeouts` of the `serversTransport` and `respondingTimeouts` of the entry point"
        }
        Topic::WholeTime => {
            "`transport.respondingTimeouts: { readTimeout: 0, writeTimeout: 0 }` at the entry point"
        }
        Topic::Upgrade => {
            "take middlewares that change `Upgrade` and `Connection` off this router, and `h2c` off the service"
        }
        Topic::Gateway => "look at the service's servers in the dashboard",
    }
}

const fn alb(topic: Topic) -> &'static str {
    match topic {
        Topic::Buffering | Topic::LateHead | Topic::Compression => {
            "it holds nothing back and compresses nothing: look at what is behind it (a Lambda target does)"
        }
        Topic::SilentStream | Topic::SilentSocket => {
            "raise the attribute `idle_timeout.timeout_seconds` (60 by default, 4000 at most)"
        }
        Topic::WholeTime => {
            "look at the target group's deregistration delay: a deployment ends streams"
        }
        Topic::Upgrade => "the target group's protocol version has to be `HTTP1`",
        Topic::Gateway => "look at the target group's health",
    }
}

const fn cloudfront(topic: Topic) -> &'static str {
    match topic {
        Topic::Buffering | Topic::LateHead => {
            "give the path a behaviour with the cache policy `CachingDisabled` and the origin request policy `AllViewer`"
        }
        Topic::Compression => "switch `Compress objects automatically` off in the path's behaviour",
        Topic::SilentStream => {
            "raise the origin's response timeout (30 s by default), and keep heartbeats below it"
        }
        Topic::SilentSocket => {
            "it cuts a WebSocket that is silent for 10 minutes: keep pings below that"
        }
        Topic::WholeTime => "it may end any connection: let clients come back",
        Topic::Upgrade => {
            "the behaviour has to pass `Sec-WebSocket-*` on: origin request policy `AllViewer`"
        }
        Topic::Gateway => "look at the origin's address and its certificate",
    }
}

const fn cloudflare(topic: Topic) -> &'static str {
    match topic {
        Topic::Buffering | Topic::LateHead => {
            "switch `Response Buffering` off for the path, and transformations (Rocket Loader, e-mail obfuscation, quick tunnels)"
        }
        Topic::Compression => {
            "send `Cache-Control: no-transform`, or switch compression off by a rule for the path"
        }
        Topic::SilentStream => {
            "it cuts a stream that says nothing for about 100 s: keep heartbeats well below"
        }
        Topic::SilentSocket => {
            "it cuts a WebSocket that is silent for about 100 s: keep pings well below"
        }
        Topic::WholeTime => {
            "it ends connections when it restarts its servers: let clients come back"
        }
        Topic::Upgrade => "switch Network › WebSockets on",
        Topic::Gateway => "look at the origin's address, its port and the SSL mode",
    }
}

const fn envoy(topic: Topic) -> Option<&'static str> {
    match topic {
        Topic::Buffering | Topic::LateHead => {
            Some("take the `buffer` and `compressor` filters off this route")
        }
        Topic::Compression => {
            Some("leave `text/event-stream` out of the compressor's `content_type`")
        }
        Topic::SilentStream | Topic::SilentSocket => Some(
            "`idle_timeout: 3600s` on the route, and `stream_idle_timeout` of the connection manager (5 minutes)",
        ),
        Topic::WholeTime => Some("`timeout: 0s` on the route (15 s by default)"),
        Topic::Upgrade => Some("`upgrade_configs: [{ upgrade_type: websocket }]`"),
        Topic::Gateway => None,
    }
}

const fn apache(topic: Topic) -> Option<&'static str> {
    match topic {
        Topic::Buffering | Topic::LateHead => {
            Some("`ProxyPass … flushpackets=on`, and no `mod_deflate` for this path")
        }
        Topic::Compression => Some("`SetEnv no-gzip 1` for this path"),
        Topic::SilentStream | Topic::SilentSocket => Some("`ProxyPass … timeout=3600`"),
        Topic::WholeTime | Topic::Gateway => None,
        Topic::Upgrade => Some("`ProxyPass … upgrade=websocket`"),
    }
}

const fn streamgate(topic: Topic) -> Option<&'static str> {
    match topic {
        Topic::SilentStream | Topic::SilentSocket => Some(
            "`heartbeat = \"15s\"` on the route keeps streams alive through what is in front of it; look at `stream_idle` too",
        ),
        Topic::WholeTime => Some("look at `stream_max` of the route"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_recognised_gets_advice_and_otherwise_all_do() {
        let nginx = Hop {
            proxy: Proxy::Nginx,
            by: "server",
        };
        let own = Hop {
            proxy: Proxy::Streamgate,
            by: "via",
        };
        for topic in Topic::ALL {
            let known = advice(topic, &[nginx]);
            assert_eq!(known[0].proxy, Some(Proxy::Nginx), "{topic:?}");
            assert!(known.len() <= 2, "{topic:?}");
            let unknown = advice(topic, &[]);
            for proxy in Proxy::USUAL {
                assert!(
                    unknown.iter().any(|advice| advice.proxy == Some(proxy)),
                    "{topic:?}"
                );
            }
            // What is in front of streamgate is to be looked for.
            assert!(advice(topic, &[own]).len() >= unknown.len(), "{topic:?}");
        }
        let cut = advice(Topic::SilentSocket, &[nginx, own]);
        let names: Vec<_> = cut.iter().map(|advice| advice.proxy).collect();
        assert_eq!(names, [Some(Proxy::Nginx), Some(Proxy::Streamgate), None]);
    }
}
