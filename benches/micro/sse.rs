//! Server-sent events: following a stream that passes, decoding one, encoding one.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

use streamgate::sse::boundary::Boundary;
use streamgate::sse::decode::Decoder;
use streamgate::sse::encode;

use crate::inputs;

/// Events of the streams that are read.
const EVENTS: usize = 100;
/// What one read gives: many events, or about one.
const READS: [usize; 2] = [16 * 1024, 250];

/// Where something may be written between two events.
pub(crate) fn boundary(c: &mut Criterion) {
    let stream = event_stream(EVENTS);
    let mut group = c.benchmark_group("sse/boundary");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for read in READS {
        group.bench_with_input(BenchmarkId::from_parameter(read), &read, |b, read| {
            b.iter(|| {
                let mut boundary = Boundary::default();
                for part in black_box(&stream).chunks(*read) {
                    black_box(boundary.follow(part));
                }
            });
        });
    }
    group.finish();
}

/// A feed's events, as a client dispatches them.
pub(crate) fn decode(c: &mut Criterion) {
    let stream = event_stream(EVENTS);
    let mut group = c.benchmark_group("sse/decode");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for read in READS {
        group.bench_with_input(BenchmarkId::from_parameter(read), &read, |b, read| {
            b.iter(|| {
                let mut decoder = Decoder::default();
                for mut part in black_box(&stream).chunks(*read) {
                    while let Some(item) = decoder.next(&mut part) {
                        black_box(item);
                    }
                }
            });
        });
    }
    group.finish();
}

/// A block of id, name and data: of one line, and of twenty.
pub(crate) fn encode(c: &mut Criterion) {
    let line = inputs::message(200);
    let lines = format!("{}\n", inputs::message(100)).repeat(20);
    let mut group = c.benchmark_group("sse/encode");
    for (name, data) in [("one line", line), ("twenty lines", lines)] {
        group.throughput(Throughput::Bytes(data.len() as u64));
        let mut out = Vec::new();
        group.bench_with_input(BenchmarkId::from_parameter(name), &data, |b, data| {
            b.iter(|| {
                out.clear();
                encode::id(b"0123456789-42", &mut out);
                encode::event("tick", &mut out);
                encode::data(black_box(data).as_bytes(), &mut out);
                encode::end(&mut out);
                black_box(out.len())
            });
        });
    }
    group.finish();
}

/// An event stream as a server sends it: `count` events with id, name and two lines of data, and a comment now and then.
pub(crate) fn event_stream(count: usize) -> Vec<u8> {
    let mut text = String::new();
    for index in 0..count {
        if index % 10 == 0 {
            text.push_str(": keep-alive\n\n");
        }
        let data = inputs::message(180);
        write!(
            text,
            "id: {index}\nevent: tick\ndata: {data}\ndata: more\n\n"
        )
        .expect("a string takes all");
    }
    text.into_bytes()
}
