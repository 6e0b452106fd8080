//! Events of any text: what is decoded, by us and by another, is what was meant.
#![no_main]

mod eventsource;

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use streamgate::sse::boundary::Boundary;
use streamgate::sse::decode::{Decoder, Item};
use streamgate::sse::encode;

type Meant<'a> = (&'a [u8], &'a str, &'a [u8], Option<u64>, &'a str);

fuzz_target!(|meant: Vec<Meant<'_>>| {
    let mut bytes = Vec::new();
    let mut boundary = Boundary::default();
    for event in &meant {
        let start = bytes.len();
        append(event, &mut bytes);
        assert_eq!(boundary.follow(&bytes[start..]), Some(bytes.len() - start));
        assert_eq!(
            Boundary::begun().follow(&bytes[start..bytes.len() - 1]),
            None,
            "one block"
        );
    }
    let theirs = eventsource::events(&bytes);
    assert_eq!(theirs.len(), meant.len());
    let (mut decoder, mut rest) = (Decoder::default(), &bytes[..]);
    for ((id, name, data, retry, _), theirs) in meant.iter().zip(theirs) {
        let Some(Item::Event(ours)) = decoder.next(&mut rest) else {
            panic!("an event is missing")
        };
        let id = lossy(cut(id));
        let name = lossy(cut(name.as_bytes()));
        let data = lossy(data).replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!((&theirs.id, &theirs.data), (&id, &data));
        assert_eq!(
            theirs.event,
            if name.is_empty() { "message" } else { &name }
        );
        assert_eq!(theirs.retry, retry.map(Duration::from_millis));
        assert_eq!((ours.name.unwrap_or_default(), ours.data), (name, data));
        // An id that could not be sent back is none for us.
        if decoder.position().is_known() {
            assert_eq!(ours.id.unwrap_or_default(), id);
        }
    }
    assert_eq!(decoder.next(&mut rest), None);
});

fn append((id, name, data, retry, comment): &Meant<'_>, out: &mut Vec<u8>) {
    encode::comment(comment, out);
    encode::id(id, out);
    encode::event(name, out);
    if let Some(retry) = retry {
        encode::retry(*retry, out);
    }
    encode::data(data, out);
    encode::end(out);
}

/// A value ends where its line would.
fn cut(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| b"\r\n\0".contains(byte));
    &value[..end.unwrap_or(value.len())]
}

fn lossy(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}
