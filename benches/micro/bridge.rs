//! The bridge: a message becomes an event, the log takes it, a subscriber reads on from where it stands.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tokio::time::Instant;

use streamgate::bridge::counts::Counts;
use streamgate::bridge::cursor::{Cursor, Epoch, EventId, resolve};
use streamgate::bridge::log::{Budget, Form, Note, Writer};
use streamgate::bridge::map::{Mapped, Message};
use streamgate::config::model::{EventName, Mapping, OnGap, Start};
use streamgate::json::Pointer;

use crate::inputs;

/// One message appended to a log that is full, so that one is evicted, too.
pub(crate) fn append(c: &mut Criterion) {
    let (epoch, text, counts) = (Epoch::random(), inputs::message(200), Counts::default());
    let mapping = Mapping::default();
    let mut writer = Writer::new(inputs::replay(), None, Budget::process());
    let now = Instant::now();
    let mut put = || {
        let mapped = Mapped::of(Message::Text(black_box(&text)), &mapping, &counts);
        let mapped = mapped.expect("text is never left out");
        let note = mapped.note();
        writer.append(now, note, |seq, out| {
            mapped.encode(EventId { epoch, seq }, out)
        })
    };
    (0..inputs::replay().events.get()).for_each(|_| {
        put();
    });
    c.bench_function("bridge/log/append", |b| b.iter(&mut put));
}

/// A subscriber that comes back with its cursor, a hundred events behind, and takes them.
pub(crate) fn read(c: &mut Criterion) {
    const BEHIND: u64 = 100;
    let (epoch, text) = (Epoch::random(), inputs::message(200));
    let mut writer = Writer::new(inputs::replay(), None, Budget::process());
    for _ in 0..inputs::replay().events.get() {
        writer.append(Instant::now(), Note::default(), |_seq, out| {
            out.extend_from_slice(text.as_bytes());
        });
    }
    let log = writer.log();
    let seq = log.view().head() - 1 - BEHIND;
    let cursor = Cursor::Behind(EventId { epoch, seq });
    let mut group = c.benchmark_group("bridge/log");
    group.throughput(Throughput::Elements(BEHIND));
    group.bench_function("resume and read", |b| {
        b.iter(|| {
            let view = log.view();
            let opening = resolve(
                black_box(cursor),
                epoch,
                &view,
                Start::Live,
                OnGap::Available,
            );
            let mut bytes = 0;
            for seq in opening.next..view.head() {
                let event = view.event(seq).expect("what is not evicted is there");
                bytes += event.form(Form::SseChunked).len();
            }
            black_box(bytes)
        });
    });
    group.finish();
}

/// A message becomes the bytes of an event: as it is, and by three pointers into its JSON.
pub(crate) fn map(c: &mut Criterion) {
    let id = EventId {
        epoch: Epoch::random(),
        seq: 42,
    };
    let (text, counts) = (inputs::message(400), Counts::default());
    let mut group = c.benchmark_group("bridge/map");
    group.throughput(Throughput::Bytes(text.len() as u64));
    for (name, mapping) in [("whole", Mapping::default()), ("pointers", pointers())] {
        let mut out = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                let mapped = Mapped::of(Message::Text(black_box(&text)), &mapping, &counts);
                let mapped = mapped.expect("text is never left out");
                black_box(mapped.note());
                mapped.encode(id, &mut out);
                black_box(out.len())
            });
        });
    }
    group.finish();
    assert_eq!(counts.unmapped.count(), 0, "the pointers fit the message");
}

/// A mapping that takes an event's name and data out of [`inputs::message`].
fn pointers() -> Mapping {
    let pointer = |text| Pointer::parse(text).expect("the pointer is valid");
    Mapping {
        name: Some(EventName::At(pointer("/type"))),
        data: Some(pointer("/payload")),
        key: Some(pointer("/symbol")),
        ..Mapping::default()
    }
}
