//! Logs that are saved and taken up again.

use std::num::NonZeroUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::bridge::cursor::Epoch;
use crate::bridge::log::{Budget, Kind, Note, Writer};
use crate::bridge::state::dormant::Dormant;
use crate::bridge::tests::config;
use crate::config::model::{self, SnapshotCaps};

fn wide() -> model::Bridge {
    let mut config = config(&[9]);
    config.snapshot = Some(SnapshotCaps {
        keys: NonZeroUsize::new(1_000).unwrap(),
        bytes: 1 << 20,
    });
    config
}

fn bridge(config: model::Bridge) -> Arc<Bridge> {
    Bridge::new(Arc::new(config))
}

fn halt(down: Instant) -> Halt {
    Halt {
        down,
        source: 0,
        last_id: Some(b"x".to_vec()),
        retry: Some(Duration::from_millis(70)),
        place: None,
    }
}

/// Lays a log with these down in `bridge`, each a second older than the next, the newest one of now.
fn lay_down(bridge: &Arc<Bridge>, key: &str, notes: Vec<(Note, String)>) -> Epoch {
    let config = bridge.config();
    let now = Instant::now();
    let mut writer = Writer::new(config.replay, config.snapshot, Budget::process());
    let count = notes.len();
    for (number, (note, data)) in notes.into_iter().enumerate() {
        let ago = Duration::from_secs((count - number - 1) as u64);
        let at = now.checked_sub(ago).unwrap();
        writer.append(at, note, |_seq, out| {
            out.extend_from_slice(format!("data: {data}\n\n").as_bytes());
        });
    }
    let dormant = Dormant {
        epoch: Epoch::random(),
        writer,
        halt: halt(now),
    };
    let epoch = dormant.epoch;
    let key = fingerprint::of_text(key);
    bridge.dormants().put(key, dormant);
    epoch
}

fn messages(count: usize) -> Vec<(Note, String)> {
    (0..count)
        .map(|number| (Note::default(), number.to_string()))
        .collect()
}

fn saved(bridge: &Arc<Bridge>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let saved = save([bridge].into_iter(), &mut bytes).unwrap();
    assert_eq!(saved.bytes, bytes.len() as u64);
    bytes
}

fn read(bridge: &Arc<Bridge>, bytes: &[u8]) -> Result<Restored, Damaged> {
    restore([bridge].into_iter(), &mut &bytes[..])
}

/// All that clients can see of a log.
type Seen = (
    u64,
    u64,
    Vec<(
        u64,
        Kind,
        Option<String>,
        Option<String>,
        Option<String>,
        Vec<u8>,
    )>,
);

fn seen(log: &crate::bridge::log::Log) -> Seen {
    let view = log.view();
    let all = older(&view);
    let older = all.iter().map(|(seq, event)| (*seq, &**event));
    let text = |text: Option<&str>| text.map(str::to_owned);
    let events = older.chain(view.events()).map(|(seq, event)| {
        let key = text(event.key().map(|key| &**key));
        let (tag, verbatim) = (text(event.tag()), text(event.verbatim()));
        (
            seq,
            event.kind(),
            key,
            tag,
            verbatim,
            event.plain().to_vec(),
        )
    });
    (view.floor(), view.head(), events.collect())
}

fn note() -> impl Strategy<Value = (Note, String)> {
    let kinds = prop::sample::select(vec![Kind::Message, Kind::Binary, Kind::Gap, Kind::Marker]);
    let text = || prop::option::of("[a-e]{0,2}");
    (kinds, text(), text(), text(), "[^\r\n]{0,9}").prop_map(|(kind, key, tag, verbatim, data)| {
        let note = Note {
            kind,
            key: key.map(Arc::from),
            tag: tag.map(Box::from),
            verbatim: verbatim.map(Box::from),
        };
        (note, data)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_taken_up_as_it_was(
        notes in prop::collection::vec(note(), 0..60),
        events in 1_usize..30,
    ) {
        let mut config = wide();
        config.replay.events = NonZeroUsize::new(events).unwrap();
        let (before, after) = (bridge(config.clone()), bridge(config));
        let epoch = lay_down(&before, "a", notes);
        let bytes = saved(&before);
        let expected = seen(&before.dormants().logs()[0]);
        let restored = read(&after, &bytes).unwrap();
        prop_assert_eq!((restored.channels, restored.left), (1, 0));
        let mut one = after.dormants().wake("a").unwrap();
        prop_assert_eq!(one.epoch, epoch);
        prop_assert_eq!(seen(&one.writer.log()), expected.clone());
        let next = one.writer.append(Instant::now(), Note::default(), |_seq, out| {
            out.extend_from_slice(b"data: x\n\n");
        });
        prop_assert_eq!(next, expected.1, "the numbers go on");
    }

    #[test]
    fn a_damaged_state_is_told_and_only_whole_channels_are_taken_up(
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let before = bridge(wide());
        lay_down(&before, "a", messages(5));
        lay_down(&before, "b", messages(5));
        let mut bytes = saved(&before);
        let place = place.index(bytes.len());
        let cut = bridge(wide());
        prop_assert!(read(&cut, &bytes[..place]).is_err());
        bytes[place] ^= 1 << bit;
        let changed = bridge(wide());
        prop_assert!(read(&changed, &bytes).is_err());
        for log in [cut, changed].iter().flat_map(|bridge| bridge.dormants().logs()) {
            prop_assert_eq!(log.view().head(), 6);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        tags in prop::collection::vec((1_u8..5, prop::collection::vec(any::<u8>(), 0..40)), 0..5),
    ) {
        let target = bridge(wide());
        prop_assert!(read(&target, &bytes).is_err());
        let mut sealed = Vec::new();
        let mut out = record::Out::begin(&mut sealed).unwrap();
        for (tag, payload) in &tags {
            out.record(*tag, payload).unwrap();
        }
        let _ = read(&target, &sealed);
    }
}

#[test]
fn where_the_feed_stood_and_how_old_events_are_goes_along() {
    let (before, after) = (bridge(wide()), bridge(wide()));
    lay_down(&before, "a", messages(100));
    let bytes = saved(&before);
    read(&after, &bytes).unwrap();
    let one = after.dormants().wake("a").unwrap();
    let age = Instant::now() - one.halt.down;
    assert!(age < Duration::from_secs(60), "{age:?}");
    assert_eq!(
        Halt {
            down: one.halt.down,
            ..halt(one.halt.down)
        },
        one.halt
    );
    let view = one.writer.log().view();
    let age = Instant::now() - view.event(1).unwrap().at();
    let about = Duration::from_secs(98)..Duration::from_secs(160);
    assert!(about.contains(&age), "{age:?}");
    assert!(
        after.dormants().wake("a").is_none(),
        "a log goes on in one place only"
    );
}

#[test]
fn what_does_not_fit_any_more_is_left() {
    type Change = fn(&mut model::Bridge);
    let table: [(&str, Change, u64); 5] = [
        ("the same", |_| {}, 3),
        ("fed otherwise", |bridge| bridge.max_message = 7, 0),
        ("another name", |bridge| bridge.name = "other".into(), 0),
        ("fewer channels", |bridge| bridge.limits.channels = 2, 2),
        ("served otherwise", |bridge| bridge.open_event = false, 3),
    ];
    let before = bridge(wide());
    for key in ["a", "b", "c"] {
        lay_down(&before, key, messages(2));
    }
    let bytes = saved(&before);
    for (what, change, expected) in table {
        let mut config = wide();
        change(&mut config);
        let restored = read(&bridge(config), &bytes).unwrap();
        let found = (restored.channels, restored.left);
        assert_eq!(found, (expected, 3 - expected), "{what}");
    }
}

#[test]
fn logs_grow_old_while_nobody_opens_their_channels() {
    let mut config = wide();
    config.replay.age = Duration::from_secs(10);
    let bridge = bridge(config);
    lay_down(&bridge, "a", messages(30));
    bridge.sweep();
    let held = |bridge: &Arc<Bridge>| {
        let view = bridge.dormants().logs()[0].view();
        view.head() - view.floor()
    };
    assert_eq!(held(&bridge), 10);
    let before = Instant::now().checked_sub(Duration::from_secs(11));
    let mut one = bridge.dormants().wake("a").unwrap();
    one.halt = halt(before.unwrap());
    bridge.dormants().put([0; 32], one);
    bridge.sweep();
    assert_eq!(bridge.dormants().len(), 0, "nothing in it can be of use");
}

#[test]
fn the_one_that_is_down_for_longest_makes_room() {
    let bridge = bridge(wide());
    let now = Instant::now();
    for (key, ago) in [("a", 3), ("b", 9), ("c", 6)] {
        lay_down(&bridge, key, messages(1));
        let mut one = bridge.dormants().wake(key).unwrap();
        one.halt = halt(now.checked_sub(Duration::from_secs(ago)).unwrap());
        bridge.dormants().put(fingerprint::of_text(key), one);
    }
    bridge.dormants().make_room(2);
    assert!(bridge.dormants().wake("b").is_none());
    assert!(bridge.dormants().wake("a").is_some());
    assert!(bridge.dormants().wake("c").is_some());
}

/// A state that is read, and how much memory its logs take meanwhile.
struct Watched<'a> {
    state: &'a [u8],
    budget: &'static Budget,
    most: u64,
}

impl io::Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.most = self.most.max(self.budget.used());
        self.state.read(into)
    }
}

#[test]
fn a_state_larger_than_the_memory_there_is_takes_no_more_also_while_it_is_read() {
    let before = bridge(wide());
    for key in 0..40 {
        lay_down(&before, &key.to_string(), messages(100));
    }
    let limit = 64 * 1024;
    let budget: &'static Budget = Box::leak(Box::new(Budget::new(limit)));
    let mut watched = Watched {
        state: &saved(&before),
        budget,
        most: 0,
    };
    let after = bridge(wide());
    let restored = restore::restore_within(budget, [&after].into_iter(), &mut watched).unwrap();
    assert_eq!(restored.channels, 40);
    after.sweep();
    assert!(budget.used() <= limit, "{}", budget.used());
    assert!(watched.most <= limit + limit / 8, "{}", watched.most);
    for log in after.dormants().logs() {
        let view = log.view();
        assert_eq!(view.head(), 101);
        assert!(view.floor() < 101, "each has its share");
    }
}

#[test]
fn logs_without_a_feed_go_with_their_bridge() {
    let removals: [fn(&Bridge); 2] = [
        |bridge| bridge.removed(),
        |bridge| bridge.replaced(Duration::from_secs(60)),
    ];
    for remove in removals {
        let bridge = bridge(wide());
        lay_down(&bridge, "a", messages(3));
        assert_eq!(bridge.dormants().len(), 1);
        remove(&bridge);
        assert_eq!(bridge.dormants().len(), 0);
    }
}
