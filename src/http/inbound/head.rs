//! One request's head, judged line by line as the lines end.
//!
//! Invariants: a head that passes is read alike by every parser that keeps to RFC 9112; the verdict is that of the first
//! bad line, however the bytes were split. Offsets are counted from the head's first byte, which its owner keeps in
//! place until the head is whole.

use std::ops::Range;

use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, Uri, Version};

use super::fault::Fault;
use crate::http::host::{HostError, RequestHost};

/// How long the body is (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    Known(u64),
    Chunked,
}

/// What a whole head says of what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole {
    /// Bytes of the head, its empty line included.
    pub(super) length: usize,
    pub(super) body: BodyLength,
    /// The client wants another protocol: what follows may belong to that one.
    pub(super) upgrade: bool,
}

/// How much of a head there may be.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Bytes, from the request line to the empty line.
    pub size: usize,
    /// Fields.
    pub count: usize,
}

/// A head as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the line begins that has not ended yet.
    line: usize,
    /// Up to where that line has been searched for its end.
    searched: usize,
    /// An empty line came first.
    blank: bool,
    request: Option<RequestLine>,
    fields: usize,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

#[derive(Debug)]
struct RequestLine {
    version: Version,
    method: Range<usize>,
    target: Range<usize>,
}

/// What is known of a request that nobody serves. All of it has been checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Method and target, if the request line was good.
    pub asked: Option<(Method, Uri)>,
    /// The host, if the head had come so far.
    pub host: Option<RequestHost>,
}

impl Head {
    /// Whether anything of a request has come. An empty line before it is nothing yet.
    pub(super) fn has_begun(&self, input: &[u8]) -> bool {
        self.request.is_some() || input.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// What is known of it. `input` begins with the head's first byte.
    pub(super) fn outline(&self, input: &[u8]) -> Outline {
        let text = |range: &Range<usize>| input.get(range.clone()).unwrap_or_default();
        let asked = self.request.as_ref().and_then(|line| {
            let method = Method::from_bytes(text(&line.method)).ok()?;
            Some((method, Uri::try_from(text(&line.target)).ok()?))
        });
        let host = self.host.as_ref();
        let host = host.and_then(|host| std::str::from_utf8(text(host).trim_ascii()).ok());
        Outline {
            asked,
            host: host.and_then(|host| RequestHost::parse(host).ok()),
        }
    }

    /// Reads on. `input` begins with the head's first byte and has what came before in it too; `None`: more is needed.
    pub(super) fn read(&mut self, input: &[u8], bounds: Bounds) -> Result<Option<Whole>, Fault> {
        while let Some(at) = memchr::memchr(b'\n', &input[self.searched..]) {
            let feed = self.searched + at;
            let end = feed.saturating_sub(1).max(self.line);
            check_bytes(&input[self.searched.min(end)..end.min(bounds.size)])?;
            if feed >= bounds.size {
                return Err(Fault::TooLong);
            }
            if end == feed || input[end] != b'\r' {
                return Err(Fault::BareLf);
            }
            let line = self.line..end;
            (self.line, self.searched) = (feed + 1, feed + 1);
            if self.take(input, line, bounds)? {
                return self.whole(input).map(Some);
            }
        }
        // What has come of the next line: a control character is told at once, and not when the line ends.
        let mut end = input.len().min(bounds.size);
        if end == input.len() && end > self.searched && input[end - 1] == b'\r' {
            end -= 1;
        }
        check_bytes(&input[self.searched..end.max(self.searched)])?;
        if input.len() > bounds.size {
            return Err(Fault::TooLong);
        }
        self.searched = end.max(self.searched);
        Ok(None)
    }

    /// Takes one line; true if it was the last.
    fn take(&mut self, input: &[u8], line: Range<usize>, bounds: Bounds) -> Result<bool, Fault> {
        if self.request.is_none() {
            // At least one empty line before the request line is to be ignored (RFC 9112 §2.2).
            if line.is_empty() && !self.blank {
                self.blank = true;
                return Ok(false);
            }
            self.request = Some(request_line(&input[line.clone()], line.start)?);
            return Ok(false);
        }
        if line.is_empty() {
            return Ok(true);
        }
        self.fields += 1;
        if self.fields > bounds.count {
            return Err(Fault::TooMany);
        }
        self.field(&input[line.clone()], line.start)?;
        Ok(false)
    }

    fn field(&mut self, line: &[u8], start: usize) -> Result<(), Fault> {
        if matches!(line[0], b' ' | b'\t') {
            return Err(Fault::Folded);
        }
        let colon = memchr::memchr(b':', line).ok_or(Fault::NoColon)?;
        let name = &line[..colon];
        if matches!(name.last(), Some(b' ' | b'\t')) {
            return Err(Fault::SpaceBeforeColon);
        }
        if !is_token(name) {
            return Err(Fault::Name);
        }
        let Some(known) = Known::of(name) else {
            return Ok(());
        };
        let value = line[colon + 1..].trim_ascii();
        if !value.is_ascii() {
            return Err(Fault::UnsafeValue);
        }
        match known {
            Known::Routing => {}
            Known::ContentLength => {
                let length = plain_number(value).ok_or(Fault::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(Fault::ContentLength);
                }
            }
            Known::TransferEncoding => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::TransferEncoding);
                }
                self.chunked = true;
            }
            Known::Upgrade => self.upgrade(value)?,
            Known::Host => {
                let at = start + colon + 1;
                if self.host.replace(at..start + line.len()).is_some() {
                    return Err(HostError::Several.into());
                }
            }
        }
        Ok(())
    }

    fn upgrade(&mut self, value: &[u8]) -> Result<(), Fault> {
        for protocol in value.split(|byte| *byte == b',') {
            let name = protocol.split(|byte| *byte == b'/').next();
            let name = name.unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"h2c") {
                return Err(Fault::UpgradeH2c);
            }
        }
        self.upgrade = true;
        Ok(())
    }

    /// The verdict over a head whose lines are good each.
    fn whole(&self, input: &[u8]) -> Result<Whole, Fault> {
        let request = self.request.as_ref().ok_or(Fault::RequestLine)?;
        let body = match (self.chunked, self.length) {
            (true, Some(_)) => return Err(Fault::TwoFramings),
            (true, None) if request.version < Version::HTTP_11 => {
                return Err(Fault::TransferEncoding);
            }
            (true, None) => BodyLength::Chunked,
            (false, length) => BodyLength::Known(length.unwrap_or(0)),
        };
        let target = &input[request.target.clone()];
        match &self.host {
            None if request.version == Version::HTTP_11 => return Err(HostError::Missing.into()),
            // An origin-form target names no host of its own: the service reads the field.
            host if !target.starts_with(b"/") => {
                self.same_host(target, host.clone().map(|host| &input[host]))?;
            }
            _ => {}
        }
        Ok(Whole {
            length: self.line,
            body,
            upgrade: self.upgrade,
        })
    }

    /// An absolute-form target must name the host that `Host` names. (RFC 9112 §3.2.2 would ignore the field; the next
    /// hop may not.)
    fn same_host(&self, target: &[u8], host: Option<&[u8]>) -> Result<(), Fault> {
        let uri = Uri::try_from(target).map_err(|_invalid| Fault::Target)?;
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            let host = HeaderValue::from_bytes(host.trim_ascii()).map_err(|_| HostError::Name)?;
            headers.insert(HOST, host);
        }
        let version = self.request.as_ref().map(|request| request.version);
        RequestHost::of(&uri, &headers, version.unwrap_or_default())?;
        Ok(())
    }
}

/// The fields that decide where a request begins, ends and goes.
enum Known {
    ContentLength,
    TransferEncoding,
    Host,
    Upgrade,
    /// Others whose bytes matter to us.
    Routing,
}

impl Known {
    fn of(name: &[u8]) -> Option<Self> {
        // Most fields are told apart by their length alone.
        let (known, text) = match name.len() {
            2 => (Self::Routing, "te"),
            4 => (Self::Host, "host"),
            6 => (Self::Routing, "expect"),
            7 => (Self::Upgrade, "upgrade"),
            10 => (Self::Routing, "connection"),
            14 => (Self::ContentLength, "content-length"),
            17 => (Self::TransferEncoding, "transfer-encoding"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(text.as_bytes()).then_some(known)
    }
}

fn request_line(line: &[u8], start: usize) -> Result<RequestLine, Fault> {
    let first = memchr::memchr(b' ', line).ok_or(Fault::RequestLine)?;
    let second = memchr::memchr(b' ', &line[first + 1..]).ok_or(Fault::RequestLine)? + first + 1;
    let (method, target, version) = (
        &line[..first],
        &line[first + 1..second],
        &line[second + 1..],
    );
    if !is_token(method) || target.is_empty() {
        return Err(Fault::RequestLine);
    }
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ if version.contains(&b' ') || version.contains(&b'\t') => return Err(Fault::RequestLine),
        _ => return Err(Fault::Version),
    };
    if method == b"CONNECT" {
        return Err(Fault::Connect);
    }
    check_target(method, target)?;
    Ok(RequestLine {
        version,
        method: start..start + first,
        target: start + first + 1..start + second,
    })
}

/// The forms of RFC 9112 §3.2, without a fragment, which is never sent (RFC 9110 §7.1).
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Fault> {
    if target == b"*" {
        let asterisk = method == b"OPTIONS";
        return asterisk.then_some(()).ok_or(Fault::Target);
    }
    if !target.iter().all(u8::is_ascii_graphic) || target.contains(&b'#') {
        return Err(Fault::Target);
    }
    let ordinary = |byte: &u8| {
        !matches!(
            byte,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
    };
    if target[0] == b'/' && target.len() <= TARGET_MAX && target.iter().all(ordinary) {
        return Ok(());
    }
    // What is rare is left to the parser that the service will read it with.
    let uri = Uri::try_from(target).map_err(|_invalid| Fault::Target)?;
    let absolute = matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some();
    if target[0] == b'/' || absolute {
        return Ok(());
    }
    Err(Fault::Target)
}

/// [`Uri`] takes this many bytes.
const TARGET_MAX: usize = u16::MAX as usize - 1;

/// RFC 9110 §5.6.2
fn is_token(name: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_tchar)
}

/// Nineteen digits always fit into 64 bits, and no body is that long.
fn plain_number(value: &[u8]) -> Option<u64> {
    let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    text.parse().ok()
}

/// Only HTAB of the control characters may stand within a line (RFC 9110 §5.5).
fn check_bytes(line: &[u8]) -> Result<(), Fault> {
    let bad = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
    // Without an early end this is done for many bytes at once, and nearly always there is none.
    if !line.iter().fold(false, |any, byte| any | bad(byte)) {
        return Ok(());
    }
    match line.iter().find(|byte| bad(byte)) {
        None => Ok(()),
        Some(b'\r') => Err(Fault::BareCr),
        Some(_) => Err(Fault::Control),
    }
}
