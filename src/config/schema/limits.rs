//! `[limits]`: what one client can take from the others.

use crate::config::schema::scalar::Integer;
use crate::config::schema::table::table;
use crate::config::units::{HOUR, KIB, MIB, MINUTE, Period, Size, SizeLimit, TIB};

table! {
    /// `[limits]`: bounds for all clients together, and for each connection and request.
    Limits, "`[limits]`", "a table, `[limits]`" {
        /// Client connections in all; more wait in the kernel's queue. Default `100000`.
        connections: Integer<1, 10_000_000>,
        /// The same for each client address, IPv6 by /64; closed as soon as they are accepted beyond. Those of `trust.proxies` do not count,
        /// but for what their PROXY header announces. Default `0`: no limit.
        connections_per_ip: Integer<0, 10_000_000>,
        /// Bytes of a request's head; 431 beyond. Default `"32KiB"`, from `"8KiB"` to `"1MiB"`.
        header_size: Size<{ 8 * KIB }, MIB>,
        /// Fields of a request's head; 431 beyond. Default `100`, from 10 to 1000.
        header_count: Integer<10, 1000>,
        /// From a connection's first byte of a head to its last; 408 beyond. Default `"10s"`.
        header_timeout: Period<10, { 5 * MINUTE }>,
        /// The whole TLS handshake. Default `"10s"`.
        tls_handshake_timeout: Period<10, { 5 * MINUTE }>,
        /// How long a connection may stay open without a request. Default `"75s"`. A client that takes nothing of a response is let go after it too.
        keep_alive: Period<10, HOUR>,
        /// Bytes of a request's body; 413 beyond. `"0"` (the default): no limit, for bodies are passed on as they come.
        body_size: SizeLimit<TIB>,
        /// Bytes a second that a client must send of a request's body on average, as long as it is waited for and the response
        /// has not begun; 408 below. An upload may last for ever, but not stand still. gRPC is exempt. Default `"240B"`; `"0"`: any.
        body_rate: SizeLimit<MIB>,
        /// Time that every body has beyond what its bytes earn by `body_rate`. Default `"20s"`.
        body_grace: Period<10, { 5 * MINUTE }>,
        /// Requests that one connection may carry; the last one's response closes it. Default `0`: no limit.
        requests_per_connection: Integer<0, 1_000_000_000>,
        /// Bytes that the logs of all bridges hold together; beyond, those that hold more than their share lose their oldest events.
        /// Default `"1GiB"`.
        bridge_memory: Size<MIB, TIB>,
        /// What one HTTP/2 connection may ask for.
        http2: Http2,
    }
}

table! {
    /// `http2 = { … }` of `[limits]`.
    Http2, "`http2` of `[limits]`", "a table, `http2 = { … }`" {
        /// Requests at the same time on one connection. Default `128`, from 1 to 10000.
        streams: Integer<1, 10_000>,
        /// Requests that a client may cancel within 10 s before their response has begun; beyond, its connection is cut
        /// (CVE-2023-44487). Default `100`, from 10 to 100000.
        resets: Integer<10, 100_000>,
    }
}
