//! Event streams of any bytes in any split: our events, ids and reconnection times are another decoder's.
#![no_main]

mod eventsource;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use streamgate::sse::boundary::Boundary;
use streamgate::sse::decode::{DEFAULT_LIMIT, Decoder, Event, Item};
use streamgate::sse::position::{MAX_ID, MAX_RETRY, Position};

fuzz_target!(|input: (u8, &[u8])| {
    let (split, bytes) = input;
    let step = usize::from(split).max(1);
    let mut decoder = Decoder::new(DEFAULT_LIMIT, None);
    let ours = items(&mut decoder, bytes, step);
    same(&ours, bytes);
    position(decoder.position(), bytes, step);
    limited(&ours, bytes, step);
    taken_up(&ours, bytes, step);
});

fn items(decoder: &mut Decoder, bytes: &[u8], step: usize) -> Vec<Item> {
    let mut items = Vec::new();
    for mut piece in bytes.chunks(step) {
        items.extend(std::iter::from_fn(|| decoder.next(&mut piece)));
        assert!(piece.is_empty(), "all is taken in");
    }
    items
}

fn event(item: &Item) -> &Event {
    match item {
        Item::Event(event) => event,
        Item::Oversize { bytes } => panic!("{bytes} bytes are not too many"),
    }
}

fn same(ours: &[Item], bytes: &[u8]) {
    let theirs = eventsource::events(bytes);
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().map(event).zip(&theirs) {
        assert_eq!(ours.name.as_deref().unwrap_or("message"), theirs.event);
        assert_eq!(ours.data, theirs.data);
        if ours.id.is_some() || is_sendable(&theirs.id) {
            assert_eq!(ours.id.as_deref().unwrap_or(""), theirs.id);
        }
    }
}

/// By the text any id is one. Ours are none where they could not be sent back: with control characters, and too long in
/// bytes before they were decoded, which makes no value shorter.
fn is_sendable(id: &str) -> bool {
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    id.len() <= MAX_ID && !id.bytes().any(is_control)
}

fn position(decoders: &Position, bytes: &[u8], step: usize) {
    let mut position = Position::new(None);
    bytes.chunks(step).for_each(|piece| position.follow(piece));
    assert_eq!(position.last_id(), decoders.last_id());
    let whole = Boundary::default().follow(bytes).unwrap_or(0);
    let theirs = eventsource::last_id(&bytes[..whole]);
    if position.is_known() {
        let ours = position.last_id().unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(ours), theirs);
    } else {
        assert!(!is_sendable(&theirs));
    }
    let retries = eventsource::lines(bytes);
    let retry = retries.iter().filter_map(|line| retry(line)).next_back();
    assert_eq!(position.retry(), retry);
}

fn retry(line: &str) -> Option<Duration> {
    let value = line.strip_prefix("retry:")?;
    let digits = value.strip_prefix(' ').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let milliseconds = digits.parse().unwrap_or(u64::MAX);
    Some(Duration::from_millis(milliseconds).min(MAX_RETRY))
}

/// With a limit, events are left out and told, and the others are the same.
fn limited(all: &[Item], bytes: &[u8], limit: usize) {
    let some = items(&mut Decoder::new(limit, None), bytes, bytes.len().max(1));
    let (events, told): (Vec<&Item>, Vec<_>) =
        some.iter().partition(|item| matches!(item, Item::Event(_)));
    assert!(
        all.len() <= events.len() + told.len(),
        "events are missing in silence"
    );
    let mut all = all.iter();
    for item in events {
        assert!(event(item).data.chars().count() < limit);
        assert!(
            all.any(|other| other == item),
            "an event that was not there"
        );
    }
    for item in told {
        assert!(matches!(item, Item::Oversize { bytes } if *bytes > limit as u64));
    }
}

/// A connection that breaks and a feed that begins anew: what was whole, then everything.
fn taken_up(all: &[Item], bytes: &[u8], cut: usize) {
    let before = &bytes[..cut.min(bytes.len())];
    let mut decoder = Decoder::default();
    let mut twice = items(&mut decoder, before, before.len().max(1));
    decoder.begin_again();
    let id = decoder.position().last_id().map(<[u8]>::to_vec);
    let is_known = decoder.position().is_known();
    let rest = items(&mut decoder, bytes, bytes.len().max(1));
    if is_known {
        let mut fresh = Decoder::new(DEFAULT_LIMIT, id);
        assert_eq!(items(&mut fresh, bytes, bytes.len().max(1)), rest);
    }
    assert_eq!(twice, all[..twice.len()]);
    twice.extend(rest);
    assert_eq!(
        twice.len() - all.len(),
        items(&mut Decoder::default(), before, 1).len()
    );
}
