//! One line of a configuration, as it may be shown.
//!
//! Columns count characters from 1. Offsets are bytes of the whole text; one that lies within a character counts as
//! the character's begin.

use std::ops::Range;

/// One line of a text, without its end.
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    start: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// The line that a byte of the text is in.
    pub(crate) fn around(text: &'a str, offset: usize) -> Self {
        let offset = offset.min(text.len());
        let start = text.as_bytes()[..offset]
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |at| at + 1);
        let number = text.as_bytes()[..start]
            .iter()
            .filter(|&&b| b == b'\n')
            .count()
            + 1;
        let line = text[start..].split('\n').next().unwrap_or_default();
        Self {
            number,
            start,
            text: line.strip_suffix('\r').unwrap_or(line),
        }
    }

    /// What stands before a byte of the text.
    pub(crate) fn before(&self, offset: usize) -> &'a str {
        let mut end = offset.saturating_sub(self.start).min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }

    /// The column of a byte of the text: characters, from 1.
    pub(crate) fn column(&self, offset: usize) -> usize {
        self.before(offset).chars().count() + 1
    }

    /// How many characters of the line are in a span.
    pub(crate) fn characters(&self, start: usize, end: usize) -> usize {
        self.before(end).chars().count() - self.before(start).chars().count()
    }

    /// The line as it may be shown, with `hidden` stretches of the whole text covered.
    pub(crate) fn shown(&self, hidden: &[Range<usize>]) -> String {
        presentable(self.text, self.start, hidden)
    }
}

/// A stretch of a text as it may be shown: what is hidden and what looks like `user:password@` is covered, and nothing
/// is left that a terminal would obey. `start` is where the stretch begins, in the terms of `hidden`.
pub(crate) fn presentable(text: &str, start: usize, hidden: &[Range<usize>]) -> String {
    let user_information = user_information(text);
    let show = |(at, c): (usize, char)| {
        let covered = hidden.iter().any(|range| range.contains(&(start + at)))
            || user_information.iter().any(|range| range.contains(&at));
        match c {
            _ if covered => '*',
            '\t' => c,
            _ if c.is_control() => '\u{fffd}',
            _ => c,
        }
    };
    text.char_indices().map(show).collect()
}

/// Where user information stands in the URLs of a text (RFC 3986 §3.2.1), also in one without its scheme.
fn user_information(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('@') {
        let before = &text[..at];
        let start = before
            .rfind(['/', '"', '\'', '`', ' ', '\t'])
            .map_or(0, |at| at + 1);
        if text[start..at].contains(':') || text[..start].ends_with("//") {
            found.push(start..at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_is_covered() {
        let table = [
            ("\"http://me:pw@host/\"", "\"http://*****@host/\""),
            ("http://token@host", "http://*****@host"),
            ("`me:pw@host` is wrong", "`*****@host` is wrong"),
            ("mail me@host", "mail me@host"),
            ("a\u{1b}[2J", "a\u{fffd}[2J"),
        ];
        for (text, expected) in table {
            assert_eq!(presentable(text, 0, &[]), expected);
        }
    }
}
