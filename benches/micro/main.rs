//! The codecs, the router and the bridge's log, each by itself: `cargo bench --bench micro`, or
//! `cargo bench --bench micro -- NAME` for those with NAME in their name.
//!
//! For whoever changes one of these and wants to know what it costs. Times are those of the machine; what guards against
//! growth unseen is `benches/instructions.py`, whose counts do not depend on who else is busy.

#![allow(
    missing_docs,
    reason = "criterion's macros make functions of their own"
)]

mod bridge;
mod http;
#[path = "../inputs.rs"]
mod inputs;
mod route;
mod sse;
mod websocket;

criterion::criterion_group!(
    benches,
    websocket::boundary,
    websocket::sieve,
    websocket::inbound,
    sse::boundary,
    sse::decode,
    sse::encode,
    http::chunked,
    http::inbound,
    route::find,
    bridge::append,
    bridge::read,
    bridge::map,
);
criterion::criterion_main!(benches);
