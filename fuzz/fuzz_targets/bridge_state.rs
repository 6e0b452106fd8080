//! A state of bridges: any bytes, and any records whose sums are right, are read or refused, within the caps of the log;
//! and what was taken up is written and read again as it is.
#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use flate2::Crc;
use libfuzzer_sys::fuzz_target;
use streamgate::bridge::{Bridge, state};
use streamgate::config::{self, BuiltIn, ProcessEnv, model};

const CONFIG: &str = "
[[listen]]
address = \"127.0.0.1:1\"
[bridge.b]
source = \"ws://127.0.0.1:1/\"
key = \"/k\"
replay = { events = 50, bytes = \"64KiB\", age = \"7d\" }
snapshot = { keys = 10, bytes = \"16KiB\" }
start = \"snapshot\"
[[route]]
path = \"/b\"
bridge = \"b\"
";

static BRIDGE: LazyLock<Arc<model::Bridge>> = LazyLock::new(|| {
    let built_in = BuiltIn {
        name: "fuzz.toml",
        text: CONFIG,
        base_dir: Path::new("."),
        certificates: Vec::new(),
    };
    let config = config::load_built_in(built_in, &ProcessEnv).unwrap_or_else(|_mistakes| panic!());
    config.bridges["b"].clone()
});

fuzz_target!(|input: (&[u8], Vec<(u8, Vec<u8>)>)| {
    let (bytes, records) = input;
    let _ = read(bytes);
    let Some(bridge) = read(&sealed(&records)) else {
        return;
    };
    let written = write(&bridge);
    let again = read(&written).expect("what is written can be read");
    assert_eq!(write(&again).len(), written.len());
});

fn read(mut bytes: &[u8]) -> Option<Arc<Bridge>> {
    let bridge = Bridge::new(BRIDGE.clone());
    let restored = state::restore([&bridge].into_iter(), &mut bytes).ok()?;
    assert!(restored.events <= 50 * restored.channels);
    Some(bridge)
}

fn write(bridge: &Arc<Bridge>) -> Vec<u8> {
    let mut bytes = Vec::new();
    state::save([bridge].into_iter(), &mut bytes).expect("a vector takes all");
    bytes
}

/// The records with right sums. Of a channel, bridge and fingerprint are put in front: nobody could guess them.
fn sealed(records: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut sum) = (Vec::new(), Crc::new());
    let mut put = |part: &[u8]| {
        sum.update(part);
        bytes.extend_from_slice(part);
        let end = bytes.len();
        (end, sum.sum())
    };
    let (_, first) = put(b"sgbridge\0\0\0\x01");
    let mut sums = vec![(12, first)];
    for (tag, payload) in records.iter().chain([&(4, Vec::new())]) {
        let known = [b"\0\0\0\x01b", &state::fingerprint(&BRIDGE)[..]].concat();
        let front = if *tag == 1 { &known[..] } else { &[] };
        let length = (front.len() + payload.len()) as u32;
        put(&[*tag]);
        put(&length.to_be_bytes());
        put(front);
        sums.push(put(payload));
    }
    let mut whole = Vec::new();
    let mut at = 0;
    for (end, sum) in sums {
        whole.extend_from_slice(&bytes[at..end]);
        whole.extend_from_slice(&sum.to_be_bytes());
        at = end;
    }
    whole
}
