//! The findings as people and programs read them.
//!
//! Invariant: what a server sent cannot move a terminal's cursor or colour it: control characters are replaced.

use std::fmt::Write;

use serde_json::{Value, json};

use super::chain::Hop;
use super::findings::{Area, Finding, Measured, Verdict};

/// Columns of a line of text at most.
const WIDTH: usize = 110;

/// Where the words of a finding begin.
const INDENT: usize = 11;

/// Characters of one finding at most.
const LONGEST: usize = 1000;

/// Whether a report has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    On,
    Off,
}

/// The worst of the findings.
pub(super) fn worst(findings: &[Finding]) -> Verdict {
    let verdicts = findings.iter().map(|finding| finding.verdict);
    verdicts.max().unwrap_or(Verdict::Ok)
}

/// For people.
pub(super) fn text(measured: &Measured, findings: &[Finding], colours: Colours) -> String {
    let mut out = format!("{}\n", plain(&measured.target.shown()));
    for area in Area::ALL {
        let here: Vec<&Finding> = findings.iter().filter(|found| found.area == area).collect();
        if here.is_empty() {
            continue;
        }
        let _ = writeln!(out, "\n{}", area.words().0);
        for found in here {
            one(found, colours, &mut out);
        }
    }
    let _ = writeln!(out, "\n{}", summary(findings));
    out
}

fn one(found: &Finding, colours: Colours, out: &mut String) {
    let word = found.verdict.word();
    let padding = " ".repeat(INDENT - 2 - word.len());
    let painted = match colours {
        Colours::Off => word.to_owned(),
        Colours::On => format!("\x1b[{}m{word}\x1b[0m", colour(found.verdict)),
    };
    let _ = write!(out, "  {painted}{padding}");
    wrapped(&plain(&found.says), INDENT, out);
    for advice in &found.advice {
        let whom = advice.proxy.map_or("the app", super::chain::Proxy::name);
        let _ = write!(out, "{}", " ".repeat(INDENT));
        wrapped(&format!("-> {whom}: {}", advice.words), INDENT + 3, out);
    }
}

const fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "32",
        Verdict::Note => "36",
        Verdict::Warning => "33",
        Verdict::Problem => "1;31",
    }
}

/// Writes words in lines, from the second on behind `indent` spaces. The first begins where it stands.
fn wrapped(text: &str, indent: usize, out: &mut String) {
    let mut column = INDENT;
    for (at, word) in text.split(' ').enumerate() {
        let width = word.chars().count() + 1;
        if at > 0 && column + width > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if at > 0 {
            out.push(' ');
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

fn summary(findings: &[Finding]) -> String {
    let count = |verdict| {
        findings
            .iter()
            .filter(|found| found.verdict == verdict)
            .count()
    };
    let counted = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    format!(
        "{}, {}",
        counted(count(Verdict::Problem), "problem"),
        counted(count(Verdict::Warning), "warning")
    )
}

/// For programs.
pub(super) fn json(measured: &Measured, findings: &[Finding], hops: &[Hop]) -> Value {
    let all: Vec<Value> = findings.iter().map(one_as_json).collect();
    let proxies: Vec<Value> = hops
        .iter()
        .map(|hop| json!({ "name": hop.proxy.name(), "known_by": hop.by }))
        .collect();
    json!({
        "url": measured.target.shown(),
        "verdict": worst(findings).word(),
        "proxies": proxies,
        "findings": all,
    })
}

fn one_as_json(found: &Finding) -> Value {
    let advice: Vec<Value> = found
        .advice
        .iter()
        .map(|advice| {
            let whom = advice.proxy.map_or("app", super::chain::Proxy::name);
            json!({ "for": whom, "do": advice.words })
        })
        .collect();
    json!({
        "area": found.area.words().1,
        "name": found.name,
        "verdict": found.verdict.word(),
        "says": plain(&found.says),
        "figure": found.figure,
        "advice": advice,
    })
}

/// Text without what a terminal might obey.
pub(super) fn plain(text: &str) -> String {
    let kept = text.chars().take(LONGEST);
    kept.map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_sent_cannot_steer_a_terminal() {
        assert_eq!(plain("a\x1b[2Jb\r\n\u{9b}c"), "a?[2Jb???c");
        assert_eq!(plain(&"x".repeat(5000)).len(), LONGEST);
    }

    #[test]
    fn long_lines_are_wrapped_between_words() {
        let mut out = String::new();
        wrapped(&"word ".repeat(60), INDENT, &mut out);
        assert!(out.lines().count() > 2);
        assert!(out.lines().all(|line| line.len() <= WIDTH), "{out}");
        assert!(
            out.lines()
                .skip(1)
                .all(|line| line.starts_with(&" ".repeat(INDENT)))
        );
    }
}
