//! Five fixed pieces of work, each run so many times that valgrind can count its instructions: `benches/instructions.py`
//! runs them and compares the counts with those that were committed.
//!
//! `instructions CASE ROUNDS` runs one, `instructions` lists them. Only what is called by [`counted`] is counted, so what
//! a case prepares costs nothing.

use std::hint::black_box;
use std::process::ExitCode;

use tokio::time::Instant;

use streamgate::bridge::counts::Counts;
use streamgate::bridge::cursor::{Cursor, Epoch, EventId, resolve};
use streamgate::bridge::log::{Budget, Form, Note, Writer};
use streamgate::bridge::map::{Mapped, Message};
use streamgate::config::model::{Mapping, OnGap, Start};
use streamgate::http::chunked;
use streamgate::http::inbound::{Bounds, Inbound};
use streamgate::route::Found;
use streamgate::websocket::boundary::{Boundary, Extensions, Sender};

mod inputs;

type Case = (&'static str, fn(u64));

/// The cases by name.
const CASES: [Case; 5] = [
    ("route", route),
    ("request-head", request_head),
    ("event", event),
    ("frames", frames),
    ("log", log),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    // `cargo bench` adds this to what it runs: it has nothing to measure here.
    let name = arguments.next().filter(|name| name != "--bench");
    let Some(name) = name else {
        CASES.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    };
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
    let case = CASES.iter().find(|(known, _)| *known == name);
    let (Some((_, run)), Some(rounds)) = (case, rounds) else {
        eprintln!("usage: instructions CASE ROUNDS");
        return ExitCode::FAILURE;
    };
    run(rounds);
    ExitCode::SUCCESS
}

/// What the counting begins and ends with: valgrind knows it by its name, so it is a function of its own.
#[inline(never)]
fn counted(rounds: u64, work: &mut dyn FnMut()) {
    for _ in 0..rounds {
        work();
    }
    // Without something behind the loop this could become a jump, of which valgrind sees no end.
    black_box(rounds);
}

/// A look-up among a thousand routes, by a path with a named segment.
fn route(rounds: u64) {
    let router = inputs::router(1_000);
    let (host, path) = inputs::asked(520);
    counted(rounds, &mut || {
        let found = router.find(black_box(&host), black_box(&path), &inputs::METHOD);
        assert!(matches!(found, Found::Route { target: 520, .. }));
    });
}

/// A browser's request head, judged.
fn request_head(rounds: u64) {
    let head = inputs::request_head();
    let bounds = Bounds {
        size: 32 * 1024,
        count: 100,
    };
    let mut inbound = Inbound::new(bounds);
    counted(rounds, &mut || {
        let (passed, _none) = inbound.follow(black_box(&head));
        assert_eq!(passed, head.len());
        inbound.resume();
    });
}

/// A message becomes an event, framed as one chunk.
fn event(rounds: u64) {
    let (text, mapping, counts) = (inputs::message(200), Mapping::default(), Counts::default());
    let id = EventId {
        epoch: Epoch::random(),
        seq: 123_456,
    };
    let mut out = Vec::new();
    counted(rounds, &mut || {
        out.clear();
        out.resize(chunked::HEAD_ROOM, 0);
        let mapped = Mapped::of(Message::Text(black_box(&text)), &mapping, &counts);
        mapped.expect("text is never left out").encode(id, &mut out);
        black_box(chunked::enclose(&mut out));
    });
}

/// A client's frames of all kinds, followed by their heads in reads of 4 KiB.
fn frames(rounds: u64) {
    const READ: usize = 4 * 1024;
    let stream = inputs::frames(Some([0x37, 0xfa, 0x21, 0x3d]));
    counted(rounds, &mut || {
        let mut boundary = Boundary::new(Sender::Client, Extensions::None);
        let (mut from, mut to, mut events) = (0, 0, 0);
        while to < stream.len() {
            to = (to + READ).min(stream.len());
            let mut rest = &stream[from..to];
            while let Some(event) = boundary.next(&mut rest).expect("the frames are sound") {
                black_box(event);
                events += 1;
            }
            from = to - rest.len();
        }
        assert!(events > 200 && boundary.is_between_messages());
    });
}

/// An event appended to a full log, and read by a subscriber that comes back for it.
fn log(rounds: u64) {
    let (epoch, text) = (Epoch::random(), inputs::message(200));
    let mut replay = inputs::replay();
    replay.events = 1_000.try_into().expect("it is not zero");
    let mut writer = Writer::new(replay, None, Budget::process());
    let (log, now) = (writer.log(), Instant::now());
    let mut put = || {
        writer.append(now, Note::default(), |seq, out| {
            EventId { epoch, seq }.write(out);
            out.extend_from_slice(black_box(&text).as_bytes());
        })
    };
    for _ in 0..1_000 {
        put();
    }
    counted(rounds, &mut || {
        let seq = put();
        let view = log.view();
        let cursor = Cursor::Behind(EventId {
            epoch,
            seq: seq - 1,
        });
        let opening = resolve(cursor, epoch, &view, Start::Live, OnGap::Available);
        let event = view.event(opening.next).expect("it was just appended");
        assert!(event.form(Form::SseChunked).len() > text.len());
    });
}
