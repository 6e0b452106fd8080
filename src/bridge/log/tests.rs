//! What a log holds, and what its readers see.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

use super::writer::SEGMENT_BYTES;
use super::*;
use crate::config::model::Replay;

pub(crate) fn caps(events: usize, bytes: usize, age: Duration) -> Replay {
    let events = NonZeroUsize::new(events).unwrap();
    Replay { events, bytes, age }
}

pub(crate) fn unlimited() -> &'static Budget {
    Box::leak(Box::new(Budget::new(u64::MAX)))
}

pub(crate) fn writer(events: usize) -> Writer {
    let caps = caps(events, usize::MAX, Duration::from_secs(600));
    Writer::new(caps, None, unlimited())
}

pub(crate) fn fill(writer: &mut Writer, count: usize) {
    for _ in 0..count {
        writer.append(Instant::now(), Note::default(), |seq, out| {
            out.extend_from_slice(format!("data: {seq}\n\n").as_bytes());
        });
    }
}

fn large(writer: &mut Writer, now: Instant, len: usize) {
    writer.append(now, Note::default(), |_seq, out| {
        out.resize(out.len() + len, b'x')
    });
}

#[test]
fn an_event_is_one_chunk() {
    let mut writer = writer(10);
    for len in [1, 15, 16, 255, 256, 70_000] {
        let seq = writer.append(Instant::now(), Note::default(), |_seq, out| {
            out.resize(out.len() + len, b'x')
        });
        let view = writer.log().view();
        let event = view.event(seq).unwrap();
        assert!(
            event
                .framed()
                .starts_with(format!("{len:x}\r\n").as_bytes())
        );
        assert!(event.framed().ends_with(b"x\r\n"));
        assert_eq!(event.plain().len(), len);
    }
}

#[test]
fn count_evicts_exactly_and_segments_go_whole() {
    let mut writer = writer(100);
    let log = writer.log();
    fill(&mut writer, 1_000);
    let view = log.view();
    assert_eq!((view.floor(), view.head()), (901, 1_001));
    assert!(view.event(900).is_none() && view.event(1_001).is_none());
    for seq in 901..1_001 {
        let event = view.event(seq).unwrap();
        assert_eq!(event.plain(), format!("data: {seq}\n\n").as_bytes());
    }
    assert!(view.chain.len() <= 3, "{}", view.chain.len());
}

#[test]
fn bytes_evict_but_never_the_newest() {
    let now = Instant::now();
    let mut writer = Writer::new(
        caps(100, 1_000, Duration::from_secs(600)),
        None,
        unlimited(),
    );
    (0..10).for_each(|_| large(&mut writer, now, 300));
    assert_eq!(writer.log().view().floor(), 8);
    large(&mut writer, now, 5_000);
    let view = writer.log().view();
    assert_eq!((view.floor(), view.head()), (11, 12));
}

#[test]
fn large_events_close_a_segment_early() {
    let now = Instant::now();
    let bytes = 1 << 20;
    let mut writer = Writer::new(
        caps(100, bytes, Duration::from_secs(600)),
        None,
        unlimited(),
    );
    (0..50).for_each(|_| large(&mut writer, now, 100_000));
    let view = writer.log().view();
    let held: usize = view.chain.iter().flat_map(|segment| &segment.slots).fold(
        0,
        |held, slot: &OnceLock<Arc<Event>>| {
            held + slot.get().map_or(0, |event| event.framed().len())
        },
    );
    assert!(held < bytes + SEGMENT_BYTES as usize + 100_010, "{held}");
}

#[test]
fn age_evicts_also_when_nothing_new_comes() {
    let begun = Instant::now();
    let mut writer = Writer::new(
        caps(100, usize::MAX, Duration::from_secs(10)),
        None,
        unlimited(),
    );
    large(&mut writer, begun, 10);
    large(&mut writer, begun + Duration::from_secs(5), 10);
    assert_eq!(writer.next_expiry(), Some(begun + Duration::from_secs(10)));
    writer.evict(begun + Duration::from_secs(10));
    assert_eq!(writer.log().view().floor(), 2);
    writer.evict(begun + Duration::from_secs(15));
    let view = writer.log().view();
    assert_eq!((view.floor(), view.head()), (3, 3));
    assert!(view.chain.is_empty() && writer.next_expiry().is_none());
    large(&mut writer, begun + Duration::from_secs(16), 10);
    assert!(writer.log().view().event(3).is_some());
}

#[test]
fn one_look_evicts_all_that_is_too_old_however_much_it_is() {
    let begun = Instant::now();
    let mut writer = Writer::new(
        caps(1_000, usize::MAX, Duration::from_secs(10)),
        None,
        unlimited(),
    );
    (0..500).for_each(|_| large(&mut writer, begun, 10));
    writer.evict(begun + Duration::from_secs(10));
    let view = writer.log().view();
    assert_eq!((view.floor(), view.head()), (501, 501));
    assert!(view.chain.is_empty());
}

#[test]
fn since_is_the_first_event_that_is_not_older() {
    let begun = Instant::now();
    let mut writer = writer(100);
    for second in 0..200 {
        large(&mut writer, begun + Duration::from_secs(second), 10);
    }
    let view = writer.log().view();
    let table = [(0, 101), (100, 101), (101, 102), (199, 200), (200, 201)];
    for (second, expected) in table {
        let time = begun + Duration::from_secs(second);
        assert_eq!(view.since(time), expected, "{second}");
    }
}

#[test]
fn bytes_behind_are_those_of_the_events_not_yet_read() {
    let mut writer = writer(500);
    fill(&mut writer, 300);
    let view = writer.log().view();
    for seq in [1, 64, 65, 299, 300, 301, 400] {
        let expected: usize = (seq..301)
            .map(|seq| view.event(seq).unwrap().framed().len())
            .sum();
        assert_eq!(view.bytes_behind(seq), expected as u64, "{seq}");
    }
}

#[test]
fn a_reader_sees_no_hole_while_another_thread_writes() {
    let mut writer = writer(200);
    let log = writer.log();
    let reader = std::thread::spawn(move || {
        let mut seen = 1;
        while seen < 20_001 {
            let view = log.view();
            for seq in seen.max(view.floor())..view.head() {
                let event = view.event(seq).expect("in the view");
                assert_eq!(event.plain(), format!("data: {seq}\n\n").as_bytes());
            }
            seen = view.head();
        }
    });
    fill(&mut writer, 20_000);
    reader.join().unwrap();
}
