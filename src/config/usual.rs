//! What a key means where nobody sets it, out of its own doc comment: `Default `"10s"`: …`, `"0"` (the default), `Absent: …`.
//!
//! The comment is the reference, so it is also what `explain` and the JSON schema say; a test sets every key to what its
//! comment says and finds that nothing changes.

/// What holds if a key is not set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Usual {
    /// As it would be typed; `None`: no value says the same.
    pub(crate) value: Option<String>,
    /// The same in words, or what the value means.
    pub(crate) words: Option<String>,
}

/// The most characters of words beside a value that says the same.
const BRIEF: usize = 30;

impl Usual {
    /// Reads a key's doc comment.
    pub(crate) fn of(docs: &str) -> Self {
        let docs = docs.split_whitespace().collect::<Vec<_>>().join(" ");
        for (before, after) in [("Default `", '`'), ("Absent or `", '`')] {
            if let Some((value, rest)) = behind(&docs, before).and_then(|it| it.split_once(after)) {
                return Self {
                    value: Some(value.to_owned()),
                    words: meaning(rest),
                };
            }
        }
        if let Some(at) = docs.find("the default")
            && let Some((value, rest)) = last_code(&docs[..at])
            && matches!(rest, " (" | ", ")
        {
            let behind = docs[at..].trim_start_matches("the default");
            return Self {
                value: Some(value.to_owned()),
                words: meaning(behind.trim_start_matches(')')),
            };
        }
        let words = ["Default: ", "Absent: "]
            .iter()
            .find_map(|before| behind(&docs, before));
        Self {
            value: None,
            words: words.map(|text| sentence(text).to_owned()),
        }
    }

    /// As an operator reads it: `10s`, `0 (no limit)`, `those of the system`; `not set` where the comment says nothing.
    pub(crate) fn shown(&self) -> String {
        let value = self.value.as_deref().map(unquoted);
        match (value, &self.words) {
            (Some(value), Some(words)) if words.chars().count() <= BRIEF => {
                format!("{value} ({words})")
            }
            (Some(value), _) => value.to_owned(),
            (None, Some(words)) => words.replace('`', ""),
            (None, None) => "not set".to_owned(),
        }
    }
}

/// Whether a table must have the key.
pub(crate) fn is_required(docs: &str) -> bool {
    docs.split_whitespace().any(|word| word == "Required.")
}

fn behind<'d>(docs: &'d str, before: &str) -> Option<&'d str> {
    docs.find(before).map(|at| &docs[at + before.len()..])
}

/// What `: words` or ` (words)` behind a value says.
fn meaning(rest: &str) -> Option<String> {
    if let Some(rest) = rest.strip_prefix(": ") {
        return Some(sentence(rest).replace('`', ""));
    }
    let inside = rest.strip_prefix(" (")?.split_once(')')?.0;
    Some(inside.replace('`', ""))
}

/// Up to the end of the sentence, or of its first half.
fn sentence(text: &str) -> &str {
    let is_code = |at: usize| text[..at].matches('`').count() % 2 == 1;
    let ends = [". ", "; "].iter().flat_map(|end| text.match_indices(end));
    let end = ends.map(|(at, _)| at).filter(|at| !is_code(*at)).min();
    text[..end.unwrap_or(text.len())].trim_end_matches('.')
}

/// The last stretch of code in a text, with what stands behind it.
fn last_code(text: &str) -> Option<(&str, &str)> {
    let (before, rest) = text.rsplit_once('`')?;
    let (_, code) = before.rsplit_once('`')?;
    Some((code, rest))
}

fn unquoted(literal: &str) -> &str {
    literal
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(literal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_says_what_holds() {
        for (docs, shown) in [
            ("Silence. Default `\"60s\"`.", "60s"),
            (
                "Bytes.\n Default `0`: as many as `rate` names.",
                "0 (as many as rate names)",
            ),
            ("None. Default `\"0\"` (none), up to `\"1d\"`.", "0 (none)"),
            ("`error`, `info` (the default), `debug`.", "info"),
            (
                "Whether. `false`, the default: it is passed on.",
                "false (it is passed on)",
            ),
            (
                "Threads. `0` (the default): one per core. Up to 1024.",
                "0 (one per core)",
            ),
            (
                "Fate. Default `\"keep\"`: they go on with what they began with.",
                "keep",
            ),
            ("After. Absent or `\"0\"`: never.", "0 (never)"),
            (
                "Which. Default: those of the system, `/etc/resolv.conf`. More.",
                "those of the system, /etc/resolv.conf",
            ),
            ("Who. Absent: any host.", "any host"),
            ("Something else.", "not set"),
        ] {
            assert_eq!(Usual::of(docs).shown(), shown, "{docs}");
        }
    }

    #[test]
    fn only_the_word_alone_makes_a_key_required() {
        assert!(is_required("The chain as PEM. Required."));
        assert!(!is_required("Required with `send`."));
    }
}
