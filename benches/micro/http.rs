//! HTTP/1.1: the chunked coding, and the judgement of a request's head.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

use streamgate::http::chunked::{Decoder, LAST, Piece, TAIL, head};
use streamgate::http::inbound::{Bounds, Halt, Inbound};

use crate::inputs;
use crate::sse::event_stream;

/// Follows a chunked body, in chunks as event streams have them and as large bodies have them.
pub(crate) fn chunked(c: &mut Criterion) {
    let data = event_stream(200);
    let mut group = c.benchmark_group("http/chunked");
    for size in [250, 8 * 1024] {
        let body = enclose(&data, size);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(size), &body, |b, body| {
            b.iter(|| decode(black_box(body)));
        });
    }
    group.finish();
}

fn decode(body: &[u8]) -> usize {
    let (mut decoder, mut passed) = (Decoder::new(), 0);
    for part in body.chunks(16 * 1024) {
        let mut rest = part;
        while !rest.is_empty() {
            let step = decoder.decode(rest).expect("the body is sound");
            if let Piece::Data(range) = step.piece {
                passed += range.len();
            }
            rest = &rest[step.consumed..];
        }
    }
    assert!(decoder.is_done(), "the body has its end");
    passed
}

/// Judges the head of a request, whole in one read and in three.
pub(crate) fn inbound(c: &mut Criterion) {
    let head = inputs::request_head();
    let bounds = Bounds {
        size: 32 * 1024,
        count: 100,
    };
    let mut group = c.benchmark_group("http/inbound");
    group.throughput(Throughput::Bytes(head.len() as u64));
    for reads in [1, 3] {
        group.bench_with_input(BenchmarkId::new("reads", reads), &reads, |b, reads| {
            let mut inbound = Inbound::new(bounds);
            b.iter(|| {
                for read in 1..*reads {
                    let part = &head[..head.len() * read / reads];
                    let partial = inbound.follow(black_box(part));
                    assert_eq!(partial, (0, Some(Halt::Partial)));
                }
                let (passed, _none) = inbound.follow(black_box(&head));
                assert_eq!(passed, head.len());
                inbound.resume();
            });
        });
    }
    group.finish();
}

/// `data` in the chunked coding, `size` bytes a chunk, with its end.
fn enclose(data: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in data.chunks(size) {
        head(part.len(), &mut out);
        out.extend_from_slice(part);
        out.extend_from_slice(TAIL);
    }
    out.extend_from_slice(LAST);
    out
}
