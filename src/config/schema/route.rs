//! `[[route]]`: which requests go where.

use http::Method;

use crate::config::model::{Sender, StreamFate};
use crate::config::schema::action::{NewPath, Redirect, Respond};
use crate::config::schema::collection::List;
use crate::config::schema::fields::RouteHeaders;
use crate::config::schema::rate::Frequency;
use crate::config::schema::scalar::{Integer, OneOf, Refusal, Scalar, Text};
use crate::config::schema::table::table;
use crate::config::spelling;
use crate::config::units::{DAY, HOUR, Period, RateLimit, SizeLimit, TIB, TimeLimit};
use crate::http::page_origin::OriginPattern;
use crate::route::{HostPattern, PathPattern};

table! {
    /// `[[route]]`: the most specific one takes a request, by host, then path, then method; the order has no meaning.
    Route, "`[[route]]`", "a table, `[[route]]`" {
        /// `"app.example.org"` or `"*.example.org"`. Absent: any host.
        host: HostPattern,
        /// `"/exact"`, `"/prefix/*"`, or with named segments `"/rooms/{room}/events"`. Default `"/*"`: any path.
        path: PathPattern,
        /// `["GET", "POST"]`; `GET` takes `HEAD` too. Absent: any method.
        methods: List<HttpMethod>,
        /// The name of an `[upstream.NAME]` that requests go to. A route has exactly one of `upstream`, `bridge`, `redirect`
        /// and `respond`.
        upstream: Text,
        /// The name of a `[bridge.NAME]` that is served.
        bridge: Text,
        /// Another address, `"https://new.example.org/{rest}"`, or `{ to = "…", status = 308 }`.
        redirect: Redirect,
        /// A fixed response: a status, or `{ status = 200, body = "…" }`, or `{ status = 503, file = "maintenance.html" }`.
        respond: Respond,
        /// Taken off the front of the path before it goes to the upstream.
        strip_prefix: Text,
        /// The path that the upstream gets instead: `"/v2/{rest}"`, where `{rest}` is what the path's `*` stands for, as it came.
        /// Other names are those of the path. The query stays.
        rewrite: NewPath,
        /// Whether the upstream gets the `Host` that the client sent. `true` (the default), or `false`: the server's own.
        preserve_host: bool,
        /// What changes in the fields of requests and responses.
        headers: RouteHeaders,
        /// The pages whose browsers may open WebSockets here, or use the bridge: `["https://app.example.org", "https://*.example.net"]`.
        /// Others get 403; who sends no `Origin` is no browser, and passes. Absent: any page.
        origins: List<OriginPattern>,
        /// The name of an `[auth.NAME]` that every request has to pass; 401 for who does not. Absent: anybody may ask.
        auth: Text,
        /// Bounds for requests on this route.
        limits: RouteLimits,
        /// Time limits of what goes to an upstream.
        timeouts: Timeouts,
        /// After so much silence (give or take a tenth): the client of an event stream is sent a comment, between two events; a side of
        /// a WebSocket that has sent nothing is sent a ping, whose answer the other side does not see; see `timeouts.pong`.
        /// Absent or `"0"`: never.
        heartbeat: TimeLimit<100, DAY>,
        /// Whether an event stream (a `GET`) that its server breaks off is taken up again, by `Last-Event-ID` and in the same response;
        /// see `timeouts.resume`. An event that is half there is held back, up to 1 MiB. `false`, the default: the client is told
        /// of the break.
        resume: bool,
        /// Whether what breaks RFC 6455 ends a WebSocket (1002, both sides): frames that are none, a Close whose code nobody may
        /// send, frames behind a Close. `false`, the default: it is passed on, and nothing that needs frames works there any
        /// more. Clients whose messages are limited have to speak in frames in any case.
        strict: bool,
        /// What becomes of live streams (WebSockets, event streams) whose server fails its health check: `"keep"`, `"drain"` (they
        /// end as when the process stops, spread over `server.drain_timeout`) or `"close"`. Default `"keep"`.
        on_unhealthy: OneOf<StreamFate>,
        /// The same for live streams whose route, whose server or whose bridge a reload removes. Default `"keep"`: they go on with
        /// what they began with.
        on_remove: OneOf<StreamFate>,
    }
}

table! {
    /// `limits = { … }` of a route.
    RouteLimits, "`limits` of a `[[route]]`", "a table, `limits = { … }`" {
        /// Requests of one sender, `"20/s"`, `"100/m"` or `"1000/h"`; 429 with `Retry-After` beyond. WebSocket handshakes count, and all that a
        /// bridge is asked for; an EventSource of a bridge is told when to come back, for a 429 would end it. Default `"0"`: no limit.
        rate: Frequency<1_000_000>,
        /// Requests that may come at once. Default `0`: as many as `rate` names.
        burst: Integer<0, 1_000_000>,
        /// Who is one sender: `"client"` (the default), an address, IPv6 by /64; or `"header:NAME"`, one value of a field that somebody
        /// vouches for, such as a key that the app checks; or `"user"`, who was let in by the route's `auth`, from wherever (who is not
        /// let in is not counted). Who sends no such field, or has no name, is counted by address.
        by: Sender,
        /// Bytes of a request's body, in the place of `body_size` in `[limits]`; 413 beyond. `"0"`: no limit.
        body_size: SizeLimit<TIB>,
        /// Bytes of one WebSocket message of a client, as they are sent (compressed, where that was agreed on); 1009 beyond. Default
        /// `"0"`: no limit.
        message_size: SizeLimit<TIB>,
        /// WebSocket messages of one client, `"50/s"`; 1008 beyond. Pings, pongs and fragments below 1 KiB may come ten times as
        /// fast, and 100 a second in any case. Default `"0"`: no limit.
        messages: RateLimit<1_000_000>,
        /// Messages that may come at once. Default `0`: those of one second.
        message_burst: Integer<0, 1_000_000>,
        /// Long streams (WebSockets, event streams, a bridge's subscribers) at once; 503 beyond. Default `0`: no limit.
        streams: Integer<0, 10_000_000>,
        /// The same for each client address, IPv6 by /64; 429 beyond. Default `0`: no limit.
        streams_per_ip: Integer<0, 10_000_000>,
        /// The same for each user that the route's `auth` has let in, from wherever; 429 beyond. Default `0`: no limit.
        streams_per_user: Integer<0, 10_000_000>,
    }
}

table! {
    /// `timeouts = { … }` of a route. `"0"`: no limit, but for `pong` and `resume`.
    Timeouts, "`timeouts` of a `[[route]]`", "a table, `timeouts = { … }`" {
        /// From the end of the request to the head of the response; 504 beyond. Default `"60s"`.
        response: TimeLimit<10, DAY>,
        /// The same for the answer to a WebSocket handshake. Default `"15s"`.
        upgrade: TimeLimit<10, DAY>,
        /// Silence within a body. Default `"60s"`.
        idle: TimeLimit<10, DAY>,
        /// Silence in a long stream: a WebSocket, an event stream. Default `"1h"`.
        stream_idle: TimeLimit<10, { 365 * DAY }>,
        /// A long stream's whole life, shortened by up to a tenth at random. Default `"0"`: no limit.
        stream_max: TimeLimit<10, { 365 * DAY }>,
        /// After a ping of `heartbeat`, until anything comes; a side that sends nothing is dead. Default `"10s"`, from `"10ms"` to `"1h"`.
        pong: Period<10, HOUR>,
        /// With `resume`: how long after its last event a broken stream is asked for again. Default `"30s"`, from `"10ms"` to `"1d"`.
        resume: Period<10, DAY>,
    }
}

impl Scalar for OriginPattern {
    const EXPECTED: &'static str = "an origin such as \"https://app.example.org\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|error| Refusal::malformed(error.to_string()))
    }
}

impl Scalar for HostPattern {
    const EXPECTED: &'static str = "a host such as \"app.example.org\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|error| Refusal::malformed(error.to_string()))
    }
}

impl Scalar for PathPattern {
    const EXPECTED: &'static str = "a path such as \"/api/*\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|error| Refusal::malformed(error.to_string()))
    }
}

/// A method (RFC 9110 §9), but not `CONNECT`: a route's path cannot match it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpMethod(pub(crate) Method);

/// The methods that are suggested (RFC 9110 §9.3, RFC 5789).
const KNOWN: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH",
];

impl Scalar for HttpMethod {
    const EXPECTED: &'static str = "a method such as \"GET\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let method = Method::from_bytes(text.as_bytes())
            .map_err(|_| Refusal::malformed("that is no method"))?;
        if method == Method::CONNECT {
            return Err(Refusal::malformed("`CONNECT` cannot be routed"));
        }
        let upper = text.to_ascii_uppercase();
        if upper != text {
            // Methods are case-sensitive (RFC 9110 §9.1): `get` would never match what browsers send.
            return Err(Refusal::malformed("methods are upper case")
                .with_hint(format!("write \"{upper}\"")));
        }
        if !KNOWN.contains(&text)
            && KNOWN
                .iter()
                .any(|known| strsim::damerau_levenshtein(known, text) == 1)
        {
            return Err(
                Refusal::malformed("that is no method").with_hint(spelling::hint(
                    text,
                    "known are",
                    KNOWN,
                )),
            );
        }
        Ok(Self(method))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_upper_case_and_spelt_right() {
        for text in ["GET", "PATCH", "PROPFIND", "PURGE"] {
            assert!(HttpMethod::parse(text).is_ok(), "{text}");
        }
        for text in ["", "get", "PSOT", "GETT", "CONNECT", "A B"] {
            assert!(HttpMethod::parse(text).is_err(), "{text}");
        }
    }
}
