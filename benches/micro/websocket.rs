//! WebSocket: following frames, sifting a feed's, reading a client's messages.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};

use streamgate::websocket::boundary::{Boundary, Extensions, Sender};
use streamgate::websocket::inbound::Inbound;
use streamgate::websocket::sieve::Sieve;

use crate::inputs;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const LIMIT: usize = 1 << 20;
/// What one read of a socket gives at most, and what a small one gives.
const READS: [usize; 2] = [16 * 1024, 100];

/// Follows a tunnel's frames by their heads.
pub(crate) fn boundary(c: &mut Criterion) {
    let stream = inputs::frames(Some(KEY));
    let mut group = c.benchmark_group("websocket/boundary");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for read in READS {
        group.bench_with_input(BenchmarkId::from_parameter(read), &read, |b, read| {
            b.iter(|| follow(black_box(&stream), *read));
        });
    }
    group.finish();
}

fn follow(stream: &[u8], read: usize) -> usize {
    let mut boundary = Boundary::new(Sender::Client, Extensions::None);
    let (mut from, mut to, mut events) = (0, 0, 0);
    while to < stream.len() {
        to = (to + read).min(stream.len());
        let mut rest = &stream[from..to];
        while let Ok(Some(event)) = boundary.next(&mut rest) {
            black_box(event);
            events += 1;
        }
        // A part of a head is given again with what follows.
        from = to - rest.len();
    }
    events
}

/// Sifts a feed's frames in front of tungstenite.
pub(crate) fn sieve(c: &mut Criterion) {
    let stream = inputs::frames(None);
    let mut group = c.benchmark_group("websocket/sieve");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    let mut out = Vec::with_capacity(2 * stream.len());
    for read in READS {
        group.bench_with_input(BenchmarkId::from_parameter(read), &read, |b, read| {
            b.iter(|| {
                let mut sieve = Sieve::new(LIMIT, Extensions::None);
                for part in black_box(&stream).chunks(*read) {
                    let mut rest = part;
                    out.clear();
                    while !rest.is_empty() {
                        sieve
                            .push(&mut rest, &mut out, usize::MAX)
                            .expect("the frames are sound");
                    }
                    black_box(&out);
                }
            });
        });
    }
    group.finish();
}

/// Reads a client's messages: unmasked, put together, text held to UTF-8.
pub(crate) fn inbound(c: &mut Criterion) {
    let stream = inputs::frames(Some(KEY));
    let mut group = c.benchmark_group("websocket/inbound");
    group.throughput(Throughput::Bytes(stream.len() as u64));
    for read in READS {
        group.bench_with_input(BenchmarkId::from_parameter(read), &read, |b, read| {
            b.iter(|| {
                let mut inbound = Inbound::new(Extensions::None, LIMIT);
                for part in black_box(&stream).chunks(*read) {
                    let mut rest = part;
                    while let Some(item) = inbound.next(&mut rest).expect("the frames are sound") {
                        black_box(item);
                    }
                }
            });
        });
    }
    group.finish();
}
