//! Mistakes in a configuration, each with the place where it stands.
//!
//! Owns the texts that were read and how a mistake is shown; knows nothing of TOML or of what a key means.
//! A line is shown as it was typed, never with variables put in, and whatever was marked as a secret is covered.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::config::excerpt::{Line, presentable};

/// A file among those that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileId(usize);

/// A stretch of bytes in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: FileId,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Place {
    pub(crate) fn new(file: FileId, span: Range<usize>) -> Self {
        Self {
            file,
            start: span.start,
            end: span.end,
        }
    }
}

/// One file's text, and what of it must not be shown.
#[derive(Debug, Clone)]
struct Source {
    name: String,
    directory: PathBuf,
    text: String,
    covered: Vec<Range<usize>>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, and somebody should look.
    Warning,
}

/// One mistake, or one thing to look at.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    severity: Severity,
    file: FileId,
    place: Option<Place>,
    message: String,
    hint: Option<String>,
    of_pair: bool,
}

impl Finding {
    /// It is about a certificate and its key.
    pub(crate) fn of_pair(&mut self) -> &mut Self {
        self.of_pair = true;
        self
    }

    /// Adds the line that says what to do.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(presentable(&hint.into(), 0, &[]));
    }
}

/// All that was found in one run, with the texts it was found in.
///
/// `Display` gives each finding in the order of the files:
///
/// ```text
/// conf/streamgate.toml:41:1: error: unknown key `stip_prefix` in `[[route]]`
///    41 | stip_prefix = "/api"
///       | ^^^^^^^^^^^
/// hint: did you mean `strip_prefix`? allowed here: bridge, host, methods, …
/// ```
///
/// Columns count characters from 1. A secret's value is never shown.
#[derive(Clone, Default)]
pub struct Diagnostics {
    sources: Vec<Source>,
    findings: Vec<Finding>,
}

impl Diagnostics {
    /// The number of errors; warnings do not count.
    pub fn len(&self) -> usize {
        self.count(Severity::Error)
    }

    /// Whether there is no error. There may be warnings.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether all that is wrong are certificates and keys that cannot be used or do not fit: one of the two may be about to
    /// come.
    pub fn is_half_a_pair(&self) -> bool {
        let mut errors = self
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error)
            .peekable();
        errors.peek().is_some() && errors.all(|finding| finding.of_pair)
    }

    /// The number of warnings.
    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    /// One line for each finding, for a log: `FILE:LINE:COLUMN: message`, errors and warnings alike.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.sorted()
            .into_iter()
            .map(|finding| format!("{}: {}", self.location(finding), finding.message))
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    }

    /// Takes a text in. Its directory is what relative paths in it start from.
    pub(crate) fn add_source(&mut self, name: String, directory: PathBuf, text: String) -> FileId {
        self.sources.push(Source {
            name,
            directory,
            text,
            covered: Vec::new(),
        });
        FileId(self.sources.len() - 1)
    }

    pub(crate) fn error(&mut self, place: Place, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Error, place.file, Some(place), message.into())
    }

    pub(crate) fn warning(&mut self, place: Place, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Warning, place.file, Some(place), message.into())
    }

    /// An error of a whole file, for what is missing or cannot be read.
    pub(crate) fn file_error(&mut self, file: FileId, message: impl Into<String>) -> &mut Finding {
        self.push(Severity::Error, file, None, message.into())
    }

    /// The same as [`Self::file_error`], as a warning.
    pub(crate) fn file_warning(
        &mut self,
        file: FileId,
        message: impl Into<String>,
    ) -> &mut Finding {
        self.push(Severity::Warning, file, None, message.into())
    }

    fn push(
        &mut self,
        severity: Severity,
        file: FileId,
        place: Option<Place>,
        message: String,
    ) -> &mut Finding {
        self.findings.push(Finding {
            severity,
            file,
            place,
            // A message may quote what was typed.
            message: presentable(&message, 0, &[]),
            hint: None,
            of_pair: false,
        });
        self.findings
            .last_mut()
            .expect("a finding was pushed on the line above")
    }

    /// Covers a stretch of a file: it is never shown.
    pub(crate) fn cover(&mut self, place: Place) {
        self.sources[place.file.0]
            .covered
            .push(place.start..place.end);
    }

    pub(crate) fn directory(&self, file: FileId) -> &PathBuf {
        &self.sources[file.0].directory
    }

    pub(crate) fn name(&self, file: FileId) -> &str {
        &self.sources[file.0].name
    }

    /// What stands at a place, as it was typed.
    pub(crate) fn source_at(&self, place: Place) -> &str {
        self.sources[place.file.0]
            .text
            .get(place.start..place.end)
            .unwrap_or_default()
    }

    /// What stands at a place as it may be shown, without the quotes of a string.
    pub(crate) fn typed(&self, place: Place) -> String {
        let covered = &self.sources[place.file.0].covered;
        let text = presentable(self.source_at(place), place.start, covered);
        for quote in ["\"\"\"", "'''", "\"", "'"] {
            if let Some(inner) = text
                .strip_prefix(quote)
                .and_then(|rest| rest.strip_suffix(quote))
            {
                return inner.to_owned();
            }
        }
        text
    }

    /// `FILE:LINE:COLUMN` of a place, to name a second one in a message.
    pub(crate) fn position(&self, place: Place) -> String {
        let source = &self.sources[place.file.0];
        let line = Line::around(&source.text, place.start);
        format!(
            "{}:{}:{}",
            source.name,
            line.number,
            line.column(place.start)
        )
    }

    /// `FILE:LINE` of a place.
    pub(crate) fn line(&self, place: Place) -> String {
        let source = &self.sources[place.file.0];
        let number = Line::around(&source.text, place.start).number;
        format!("{}:{number}", source.name)
    }

    fn location(&self, finding: &Finding) -> String {
        match finding.place {
            Some(place) => self.position(place),
            None => self.name(finding.file).to_owned(),
        }
    }

    fn sorted(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.findings.iter().collect();
        findings.sort_by_key(|finding| (finding.file, finding.place));
        findings
    }

    fn show(&self, finding: &Finding, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(
            f,
            "{}: {severity}: {}",
            self.location(finding),
            finding.message
        )?;
        if let Some(place) = finding.place {
            self.show_line(place, f)?;
        }
        if let Some(hint) = &finding.hint {
            writeln!(f, "hint: {}", hint)?;
        }
        Ok(())
    }

    fn show_line(&self, place: Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = &self.sources[place.file.0];
        let line = Line::around(&source.text, place.start);
        writeln!(f, "{:>5} | {}", line.number, line.shown(&source.covered))?;
        // A tab stays a tab, so that the carets stand under what they mean whatever a tab's width is.
        let before: String = line
            .before(place.start)
            .chars()
            .map(|c| if c == '\t' { c } else { ' ' })
            .collect();
        let width = line.characters(place.start, place.end).max(1);
        writeln!(f, "{:>5} | {before}{}", "", "^".repeat(width))
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self.sorted() {
            self.show(finding, f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The texts hold secrets: only what may be shown is shown.
        f.debug_list().entries(self.lines()).finish()
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Range<usize>, covered: Option<Range<usize>>) -> String {
        let mut diagnostics = Diagnostics::default();
        let file = diagnostics.add_source("a.toml".into(), PathBuf::new(), text.into());
        if let Some(range) = covered {
            diagnostics.cover(Place::new(file, range));
        }
        diagnostics.error(Place::new(file, span), "wrong");
        diagnostics.to_string()
    }

    #[test]
    fn carets_stand_under_the_span() {
        let table: &[(&str, Range<usize>, &str)] = &[
            (
                "a = 1\nb = 22\n",
                10..12,
                "a.toml:2:5: error: wrong\n    2 | b = 22\n      |     ^^\n",
            ),
            (
                "é = ü\r\n",
                5..7,
                "a.toml:1:5: error: wrong\n    1 | é = ü\n      |     ^\n",
            ),
            (
                "\ta = 1",
                1..2,
                "a.toml:1:2: error: wrong\n    1 | \ta = 1\n      | \t^\n",
            ),
            (
                "a = [\n1]",
                4..8,
                "a.toml:1:5: error: wrong\n    1 | a = [\n      |     ^\n",
            ),
            (
                "a =",
                3..3,
                "a.toml:1:4: error: wrong\n    1 | a =\n      |    ^\n",
            ),
            ("", 0..0, "a.toml:1:1: error: wrong\n    1 | \n      | ^\n"),
        ];
        for (text, span, expected) in table {
            assert_eq!(&shown(text, span.clone(), None), expected, "{text:?}");
        }
    }

    #[test]
    fn secrets_and_control_characters_are_not_shown() {
        assert!(shown("key = \"s3cr3t\"", 0..3, Some(7..13)).contains("key = \"******\""));
        let url = shown("url = \"http://me:pw@host/\"", 0..3, None);
        assert!(url.contains("\"http://*****@host/\""), "{url}");
        assert!(shown("a = \u{1b}[2J", 0..1, None).contains("a = \u{fffd}[2J"));
    }

    #[test]
    fn findings_come_in_the_order_of_the_text() {
        let mut diagnostics = Diagnostics::default();
        let file = diagnostics.add_source("a.toml".into(), PathBuf::new(), "a\nb\n".into());
        diagnostics.warning(Place::new(file, 2..3), "second");
        diagnostics.error(Place::new(file, 0..1), "first");
        assert_eq!(
            diagnostics.lines().collect::<Vec<_>>(),
            ["a.toml:1:1: first", "a.toml:2:1: second"]
        );
        assert_eq!((diagnostics.len(), diagnostics.warnings()), (1, 1));
    }
}
