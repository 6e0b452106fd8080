//! The page of the configuration's keys, `streamgate.toml(5)`, out of their doc comments; and what the program's own page says
//! beside its options.

use std::fmt::Write as _;

use crate::config::KeyReference;

/// What the pages are of.
pub(super) const SOURCE: &str = concat!("streamgate ", env!("CARGO_PKG_VERSION"));

/// The end of `streamgate(1)`, which the definition of the command line does not know.
pub(super) const PROGRAM: &str = r".SH SIGNALS
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
No new connection is taken, live streams are ended in order within \fBdrain_timeout\fR; the second time, at once.
.TP
\fBSIGHUP\fR
The configuration is read anew. A mistake in it changes nothing.
.TP
\fBSIGUSR2\fR
A new process, of the program as it lies there now, takes over the listening sockets and the logs of bridges; then this one
ends as by \fBSIGTERM\fR. If the new one cannot start, this one goes on.
.SH EXIT STATUS
.TP
\fB0\fR
Stopped as asked, or nothing wrong.
.TP
\fB1\fR
Could not start: an address in use, for instance.
.TP
\fB64\fR
The command line is wrong.
.TP
\fB78\fR
The configuration is wrong.
.SH FILES
.TP
\fI/etc/streamgate/streamgate.toml\fR
The configuration, see \fBstreamgate.toml\fR(5).
.SH SEE ALSO
\fBstreamgate.toml\fR(5), \fBsystemctl\fR(1), \fBsystemd.socket\fR(5)
";

const HEAD: &str = r#".ie \n(.g .ds Aq \(aq
.el .ds Aq '
.TH "streamgate.toml" 5 "{date}" "{source}" "Configuration"
.SH NAME
streamgate.toml \- the configuration of streamgate
.SH DESCRIPTION
A file in TOML. Durations have a unit ("250ms", "10s", "1m30s", "1h", "7d"), sizes too ("512B", "64KiB", "8MiB", "1GiB").
Paths start from the file that names them. In any string \fB${NAME}\fR is an environment variable, \fB${NAME:\-default}\fR has
a default, and \fB$$\fR is a dollar. Keys that do not exist are mistakes.
.PP
\fBstreamgate check\fR \fIFILE\fR tells of every mistake, with its line and a hint. Below, the names of upstreams and bridges
are left out: \fBupstream.servers\fR is \fBservers\fR in a table \fB[upstream.\fR\fINAME\fR\fB]\fR.
.SH KEYS
"#;

const TAIL: &str = r".SH SEE ALSO
\fBstreamgate\fR(1), \fBsystemd.exec\fR(5) for credentials
";

/// `streamgate.toml(5)`: a section for each table, in the order of the schema.
pub(super) fn configuration(keys: &[KeyReference], date: &str) -> String {
    let mut page = HEAD.replace("{date}", date).replace("{source}", SOURCE);
    for (index, key) in keys.iter().enumerate() {
        let below = format!("{}.", key.path);
        let is_table = keys
            .get(index + 1)
            .is_some_and(|next| next.path.starts_with(&below));
        let request = if is_table { ".SS" } else { ".TP\n.B" };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "{request} {}\n{}", escape(&key.path), text(&key.docs));
    }
    page.push_str(TAIL);
    page
}

/// A doc comment's Markdown: paragraphs, and code in bold.
fn text(markdown: &str) -> String {
    let paragraphs: Vec<String> = markdown.split("\n\n").map(paragraph).collect();
    paragraphs.join("\n.IP\n")
}

fn paragraph(markdown: &str) -> String {
    let mut bold = false;
    let mut line = String::new();
    for (index, part) in markdown.split('`').enumerate() {
        if index > 0 {
            bold = !bold;
            line.push_str(if bold { "\\fB" } else { "\\fR" });
        }
        line.push_str(&escape(part));
    }
    if bold {
        line.push_str("\\fR");
    }
    line.lines()
        .map(not_a_request)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What roff would read as its own stands as itself, and what is not ASCII by its number: not every roff reads UTF-8.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            ' '..='~' | '\n' => escaped.push(char),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\[u{:04X}]", u32::from(char));
            }
        }
    }
    escaped
}

/// A line that begins with a dot is a request to roff.
fn not_a_request(line: &str) -> String {
    if line.starts_with('.') {
        return format!("\\&{line}");
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str, docs: &str) -> KeyReference {
        KeyReference {
            path: path.to_owned(),
            docs: docs.to_owned(),
        }
    }

    #[test]
    fn tables_are_sections_and_keys_are_items() {
        let keys = [
            key("tls", "`[tls]`: what is common."),
            key("tls.min_version", "The lowest."),
            key("include", "More files."),
        ];
        let page = configuration(&keys, "Nov 06, 1994");
        assert!(page.contains("\" 5 \"Nov 06, 1994\" \"streamgate "));
        assert!(page.contains(".SS tls\n\\fB[tls]\\fR: what is common.\n.TP\n.B tls.min_version\nThe lowest.\n.TP\n.B include\n"));
    }

    #[test]
    fn what_roff_would_take_for_its_own_is_text() {
        for (markdown, roff) in [
            (".so /etc/passwd", "\\&.so /etc/passwd"),
            ("a\\b 'x'", "a\\eb \\(aqx\\(aq"),
            ("'x", "\\(aqx"),
            ("`${NAME:-x}` of", "\\fB${NAME:\\-x}\\fR of"),
            ("one\n\ntwo", "one\n.IP\ntwo"),
            ("an `open one", "an \\fBopen one\\fR"),
            ("grüß… you", "gr\\[u00FC]\\[u00DF]\\[u2026] you"),
        ] {
            assert_eq!(text(markdown), roff, "{markdown}");
        }
    }
}
