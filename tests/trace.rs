//! Traces: which context a backend is told.

use crate::harness::{Backend, Gate, Head, echo_http};
use crate::tunnel::handshake;

/// A trace that a client has begun.
pub const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// Its place in it, without the flags.
pub const THEIRS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

/// Trace, span and flags of what a backend got, which is one field and a sound one.
pub fn told(request: &Head) -> (String, String, String) {
    let fields = request.all("traceparent");
    let [field] = fields[..] else {
        panic!("one traceparent: {fields:?}");
    };
    let parts: Vec<_> = field.split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        panic!("four parts: {field}");
    };
    assert_eq!(
        (version, trace.len(), span.len()),
        ("00", 32, 16),
        "{field}"
    );
    (trace.to_owned(), span.to_owned(), flags.to_owned())
}

/// What the backend gets of a request with these fields.
async fn passed_on(gate: &Gate, backend: &Backend, fields: &str) -> Head {
    let mut client = gate.tls().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
        ))
        .await;
    assert_eq!(client.head().await.status(), 200);
    client.text().await;
    backend.requests().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_taken_up_and_the_backend_is_told_of_a_span_of_its_own() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}[trace]\n", backend.for_everything())).await;
    let state = "tracestate: rojo=1, congo=t61rcWkgMzE\r\ntracestate: a@b=c\r\n";
    let fields = format!("traceparent: {THEIRS}-01\r\n{state}");
    let request = passed_on(&gate, &backend, &fields).await;
    let (trace, span, flags) = told(&request);
    assert_eq!((&*trace, &*flags), (TRACE, "01"));
    assert_ne!(span, THEIRS[36..]);
    let states = request.all("tracestate");
    assert_eq!(states, ["rojo=1, congo=t61rcWkgMzE", "a@b=c"]);
    gate.logged("the request", |line| line.has("trace_id", TRACE))
        .await;
    // A state that is not sound goes, and the context stays.
    let fields = format!("traceparent: {THEIRS}-01\r\ntracestate: Nonsense\r\n");
    let request = passed_on(&gate, &backend, &fields).await;
    assert_eq!(told(&request).0, TRACE);
    assert_eq!(request.all("tracestate").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_context_begins_a_trace() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}[trace]\n", backend.for_everything())).await;
    let mut seen = vec![TRACE.to_owned()];
    for fields in [
        String::new(),
        "traceparent: 00-nonsense\r\n".to_owned(),
        format!("traceparent: {}-01\r\n", THEIRS.to_uppercase()),
        format!("traceparent: {THEIRS}-01\r\ntraceparent: {THEIRS}-01\r\n"),
        format!("traceparent: {THEIRS}-01-more\r\n"),
        format!("traceparent: ff{}-01\r\n", &THEIRS[2..]),
    ] {
        let request = passed_on(&gate, &backend, &format!("{fields}tracestate: a=1\r\n")).await;
        let (trace, _span, flags) = told(&request);
        assert!(!seen.contains(&trace), "{fields}: {trace}");
        assert_eq!(flags, "03", "{fields}");
        assert_eq!(request.all("tracestate").len(), 0, "{fields}");
        seen.push(trace);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_traces_both_fields_pass_as_they_are() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let fields = "traceparent: 00-nonsense\r\ntraceparent: more\r\ntracestate: Nonsense\r\n";
    let request = passed_on(&gate, &backend, fields).await;
    assert_eq!(request.all("traceparent"), ["00-nonsense", "more"]);
    assert_eq!(request.all("tracestate"), ["Nonsense"]);
    assert_eq!(
        passed_on(&gate, &backend, "").await.get("traceparent"),
        None
    );
    let mut lines = gate.log.since(0).into_iter();
    assert!(lines.all(|line| line.get("trace_id").is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_trusted_proxy_decides_what_is_sampled() {
    let backend = Backend::that(echo_http).await;
    let trusted = "[trust]\nproxies = [\"127.0.0.1\"]\n";
    for (trust, sample, sent, expected) in [
        ("", "0.0", "01", "00"),
        ("", "1.0", "00", "01"),
        (trusted, "0.0", "01", "01"),
        (trusted, "1.0", "00", "00"),
    ] {
        let routes = backend.for_everything();
        let text = format!("{routes}{trust}[trace]\nsample = {sample}\n");
        let gate = Gate::start(&text).await;
        let fields = format!("traceparent: {THEIRS}-{sent}\r\n");
        let (trace, _, flags) = told(&passed_on(&gate, &backend, &fields).await);
        assert_eq!((&*trace, &*flags), (TRACE, expected), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_a_context_too_and_a_reload_begins_and_ends_it() {
    let mut backend = Backend::by_hand().await;
    let routes = backend.for_everything();
    let gate = Gate::start(&routes).await;
    for (text, has_trace) in [(format!("{routes}[trace]\n"), true), (routes, false)] {
        gate.reload_well(&text).await;
        let mark = gate.log.mark();
        let mut client = gate.tls().await;
        let field = format!("traceparent: {THEIRS}-00\r\n");
        client.send(handshake("/ws", &field)).await;
        let exchange = backend.next().await;
        let sent = exchange.request.get("traceparent").map(str::to_owned);
        let is_theirs = sent.as_deref() == Some(&field[13..][..55]);
        assert_eq!(is_theirs, !has_trace, "{sent:?}");
        let _tunnel = exchange.into_tunnel().await;
        assert_eq!(client.head().await.status(), 101);
        drop(client);
        for message in ["stream open", "stream close"] {
            let line = gate
                .log
                .wait(mark, message, |line| line.message() == message);
            let trace = line.await.text("trace_id");
            assert_eq!(trace.as_deref() == Some(TRACE), has_trace, "{message}");
        }
    }
}
