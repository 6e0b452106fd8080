//! Any message through any mapping: what a client decodes, by another's decoder, is what was meant.
#![no_main]

mod eventsource;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use streamgate::bridge::counts::Counts;
use streamgate::bridge::cursor::{Epoch, EventId};
use streamgate::bridge::map::{Mapped, Message};
use streamgate::config::model::{Binary, EventName, Mapping, Newline};
use streamgate::json::{Json, Pointer};

/// Bits that choose a mapping, the message's bytes, whether it is binary, and the name its source gave it.
type Input<'a> = (u8, &'a [u8], bool, Option<&'a str>);

fuzz_target!(|input: Input<'_>| {
    let (bits, bytes, is_binary, name) = input;
    let mapping = mapping(bits);
    let text = String::from_utf8_lossy(bytes);
    let message = match (is_binary, name) {
        (true, _) => Message::Binary(bytes),
        (false, Some(name)) => Message::Event { name, text: &text },
        (false, None) => Message::Text(&text),
    };
    if Json::parse(&text).is_some() && serde_json::from_str::<Value>(&text).is_err() {
        // The other parser has limits of its own: depth, and the size of numbers.
        return;
    }
    let Some(mapped) = Mapped::of(message, &mapping, &Counts::default()) else {
        assert!(is_binary && mapping.binary == Binary::Reject);
        return;
    };
    let id = EventId {
        epoch: Epoch::random(),
        seq: 7,
    };
    let mut block = Vec::new();
    mapped.encode(id, &mut block);
    let events = eventsource::events(&block);
    assert_eq!(events.len(), 1, "one message is one event");
    let event = &events[0];
    assert_eq!(event.id, id.to_string());
    let is_text = match (is_binary, mapping.binary) {
        (false, _) => true,
        (true, Binary::Utf8) => std::str::from_utf8(bytes).is_ok(),
        (true, _) => false,
    };
    if is_text {
        let given = name.filter(|_| !is_binary);
        if let Some(name) = meant_name(&mapping, &text, given) {
            assert_eq!(event.event, name);
        }
        check_text(&mapping, &meant_data(&mapping, &text), &event.data);
    } else {
        check_binary(&mapping, bytes, &event.data);
    }
});

fn mapping(bits: u8) -> Mapping {
    let pointer = |text| Pointer::parse(text).expect("it is one");
    Mapping {
        name: match bits & 3 {
            0 => Some(EventName::Fixed("tick".into())),
            1 => Some(EventName::At(pointer("/t"))),
            _ => None,
        },
        data: (bits & 4 != 0).then(|| pointer("/d/0")),
        envelope: bits & 8 != 0,
        newline: [Newline::Split, Newline::Json][usize::from(bits >> 4 & 1)],
        binary: [
            Binary::Base64,
            Binary::Utf8,
            Binary::Envelope,
            Binary::Reject,
        ][usize::from(bits >> 5 & 3)],
        key: (bits & 128 != 0).then(|| pointer("/k")),
        filter: None,
    }
}

/// What another parser of JSON finds.
fn found(text: &str, pointer: &str) -> Option<String> {
    let json: Value = serde_json::from_str(text).ok()?;
    Some(match json.pointer(pointer)? {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// `None`: a number, which the other parser may write in another way.
fn meant_name(mapping: &Mapping, text: &str, given: Option<&str>) -> Option<String> {
    let json = serde_json::from_str::<Value>(text).unwrap_or_default();
    let name = match &mapping.name {
        Some(EventName::Fixed(name)) => Some(name.clone()),
        Some(EventName::At(_)) if json["t"].is_number() => return None,
        Some(EventName::At(_)) => found(text, "/t"),
        None => None,
    };
    let allowed = |name: &String| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        (1..=64).contains(&name.len())
            && name.chars().all(plain)
            && !["open", "error", "message"].contains(&name.as_str())
            && !name.starts_with("streamgate.")
    };
    let name = name.or(given.map(str::to_owned)).filter(allowed);
    Some(name.unwrap_or_else(|| "message".into()))
}

fn meant_data(mapping: &Mapping, text: &str) -> String {
    let part = mapping.data.as_ref().and_then(|_| found(text, "/d/0"));
    part.unwrap_or_else(|| text.to_owned())
}

/// The data may be written in another way where it is a part that is no string: then it says the same.
fn check_text(mapping: &Mapping, meant: &str, data: &str) {
    let said = if mapping.envelope {
        let json: Value = serde_json::from_str(data).expect("an envelope is JSON");
        assert_eq!(json["type"], "text");
        json["data"].as_str().expect("a string").to_owned()
    } else if mapping.newline == Newline::Json {
        serde_json::from_str(data).expect("a JSON string")
    } else {
        data.to_owned()
    };
    let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    if lines(&said) == lines(meant) || mapping.data.is_some() && json(&said) == json(meant) {
        return;
    }
    assert_eq!(said, meant);
}

fn check_binary(mapping: &Mapping, bytes: &[u8], data: &str) {
    let base64 = if mapping.envelope || mapping.binary == Binary::Envelope {
        let json: Value = serde_json::from_str(data).expect("an envelope is JSON");
        assert_eq!(json["type"], "binary");
        json["data"].as_str().expect("a string").to_owned()
    } else {
        data.to_owned()
    };
    assert_eq!(decode(&base64), bytes);
}

/// Base64 by the letter of RFC 4648 §4.
fn decode(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits: Vec<u32> = text
        .trim_end_matches('=')
        .chars()
        .map(|c| ALPHABET.find(c).expect("a digit of base64") as u32)
        .collect();
    let group = |digits: &[u32]| {
        let bits = (0..4).fold(0, |bits, at| bits << 6 | digits.get(at).unwrap_or(&0));
        bits.to_be_bytes()[1..digits.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
