//! `streamgate explain URL`: which route a URL takes and what it gets there, from the configuration alone.
//!
//! Owns the question and the answer's two forms. Which route it is says the router that the process uses, what becomes of the
//! path says what forwards it, and where a value was set says the configuration's reader. Nothing is asked of a process.

mod asked;
mod deed;
mod entry;
mod guards;
mod report;
mod sections;
mod text;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Request};

use crate::config::model::ListenerProtocol;
use crate::config::{self, Explained, ProcessEnv};
use crate::respond;

use asked::Asked;
use entry::Entry;
use verdict::{Other, Verdict};

pub use asked::Url;

/// The exit code for a configuration that has mistakes (`EX_CONFIG` of sysexits).
const EXIT_CONFIG: u8 = 78;

/// The exit code where no route takes the URL.
const EXIT_NO_ROUTE: u8 = 1;

/// The flags of `explain`.
#[derive(Debug, Args, PartialEq)]
pub struct Options {
    /// An address as a browser has it: http, https, ws or wss.
    #[arg(value_name = "URL", value_parser = Url::parse)]
    pub url: Url,
    /// The request's method.
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = method)]
    pub method: Method,
    /// A field of the request, such as `Origin: https://app.example.org`; `Host` goes before the URL's. May be given several
    /// times.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = asked::field)]
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/streamgate/streamgate.toml"
    )]
    pub config: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

fn method(text: &str) -> Result<Method, String> {
    let upper = text.to_ascii_uppercase();
    Method::from_bytes(upper.as_bytes()).map_err(|_invalid| "that is no method".to_owned())
}

/// Answers on stdout. The exit code is 0 if a route takes the URL, 1 if none does or browsers would not get there, and 78 if the configuration is wrong.
#[must_use]
pub fn run(options: Options) -> ExitCode {
    let explained = match config::explained(&options.config, &ProcessEnv) {
        Ok(explained) => explained,
        Err(mistakes) => {
            eprint!("{mistakes}");
            return EXIT_CONFIG.into();
        }
    };
    let asked = match Asked::new(options.url, options.method, options.headers) {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("streamgate: {error}");
            return super::EXIT_USAGE.into();
        }
    };
    let answer = Answer::of(&explained, asked);
    if options.json {
        super::say(&format!("{:#}\n", report::report(&answer)));
    } else {
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = text::write(&answer, &mut page);
        super::say(&page);
    }
    match (&answer.entry, &answer.verdict) {
        (Some(_), Verdict::Taken(_)) if !answer.is_lost() => ExitCode::SUCCESS,
        _ => EXIT_NO_ROUTE.into(),
    }
}

/// All that can be said of a request.
#[derive(Debug)]
struct Answer<'a> {
    explained: &'a Explained,
    asked: Asked,
    /// Who has sent the client to this URL.
    redirected: Option<Redirected>,
    /// `None`: nobody listens for such a URL.
    entry: Option<Entry<'a>>,
    verdict: Verdict<'a>,
    others: Vec<Other>,
}

/// A listener that answers with a redirect to https.
#[derive(Debug)]
struct Redirected {
    /// The URL that was asked for.
    url: String,
    /// The listener's number.
    listener: usize,
}

impl<'a> Answer<'a> {
    fn of(explained: &'a Explained, asked: Asked) -> Self {
        let config = &explained.config;
        let first = entry::find(config, &asked);
        let (asked, redirected) = match first {
            Some(entry) if entry.listener.protocol == ListenerProtocol::RedirectToHttps => {
                follow(entry, asked, entry::https_port(config))
            }
            _ => (asked, None),
        };
        let verdict = verdict::find(config, &asked);
        let taken = match &verdict {
            Verdict::Taken(taken) => Some(taken),
            _ => None,
        };
        Self {
            others: verdict::others(config, &asked, taken),
            entry: entry::find(config, &asked),
            explained,
            asked,
            redirected,
            verdict,
        }
    }

    /// Whether the redirect is the end: browsers do not follow one that answers a WebSocket's handshake (WHATWG WebSockets,
    /// "establish a WebSocket connection"; Fetch's redirect mode is "error" there).
    fn is_lost(&self) -> bool {
        self.redirected.is_some() && self.asked.is_websocket()
    }

    /// `FILE:LINE` of a table.
    fn place(&self, path: &[&str]) -> &str {
        self.explained.settings.place(path).unwrap_or("default")
    }
}

/// Where a browser goes that is redirected to https.
fn follow(entry: Entry<'_>, asked: Asked, port: u16) -> (Asked, Option<Redirected>) {
    let request = Request::builder()
        .uri(asked.path_and_query())
        .header(header::HOST, asked.host.authority())
        .body(());
    let location = request
        .ok()
        .and_then(|request| respond::redirect_to_https(&request, port).ok())
        .and_then(|response| {
            let location = response.headers().get(header::LOCATION)?;
            Url::parse(location.to_str().ok()?).ok()
        });
    let Some(location) = location else {
        return (asked, None);
    };
    let from = Redirected {
        url: asked.url.text.clone(),
        listener: entry.index,
    };
    (asked.sent_to(location), Some(from))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    const TEXT: &str = "\
[[listen]]
address = \"127.0.0.1:80\"
[limits]
body_size = \"2MiB\"
[upstream.app]
servers = [\"http://a:3000\", { url = \"https://b\", weight = 2 }]
[bridge.prices]
source = \"ws://f/{room}\"
[[route]]
path = \"/api/*\"
upstream = \"app\"
rewrite = \"/v2/{rest}\"
timeouts.stream_idle = \"5m\"
origins = [\"https://a.org\"]
[[route]]
path = \"/live/{room}\"
bridge = \"prices\"
limits = { rate = \"5/m\" }
[[route]]
path = \"/old/{page}\"
redirect = \"https://new.org/{page}\"
";

    fn page(url: &str, fields: &[&str]) -> String {
        let env = BTreeMap::<String, String>::new();
        let explained = config::explained_str("a.toml", TEXT, Path::new("."), &env).unwrap();
        let fields = fields.iter().map(|text| asked::field(text).unwrap());
        let url = Url::parse(url).unwrap();
        let asked = Asked::new(url, Method::GET, fields.collect()).unwrap();
        let mut page = String::new();
        text::write(&Answer::of(&explained, asked), &mut page).unwrap();
        page
    }

    fn has(page: &str, words: &[&str]) {
        let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        for wanted in words {
            let found = page.lines().any(|line| plain(line).contains(wanted));
            assert!(found, "`{wanted}` is not in:\n{page}");
        }
    }

    #[test]
    fn a_proxied_path_is_shown_as_the_server_gets_it_with_all_that_holds() {
        let page = page("http://x.org/api/users?page=2", &[]);
        has(
            &page,
            &[
                "listener 127.0.0.1:80 (a.toml:1)",
                "route /api/* (a.toml:9)",
                "{rest} = users",
                "action upstream \"app\" (a.toml:5)",
                "servers http://a:3000, https://b:443 (weight 2)",
                "asks for /v2/users?page=2",
                "/live/{room} is for other paths (a.toml:15)",
                "timeouts.stream_idle 5m a.toml:13",
                "timeouts.response 60s default",
                "limits.body_size 2MiB a.toml:4",
                "connect_timeout 3s default",
                "header_timeout 10s default",
            ],
        );
    }

    #[test]
    fn a_bridge_has_no_settings_that_mean_nothing_there() {
        let page = page("http://x.org/live/gold", &[]);
        has(
            &page,
            &[
                "{room} = gold",
                "source ws://f/{room}",
                "limits.rate: 5/m of one address, 5 at once",
                "replay.events 10000 default",
                "publish.enabled false default",
            ],
        );
        assert!(!page.contains("timeouts.response"), "{page}");
    }

    #[test]
    fn a_page_of_another_origin_is_refused_a_websocket() {
        let foreign = page("ws://x.org/api/ws", &["Origin: https://b.org"]);
        has(&foreign, &["this one is https://b.org: REFUSED"]);
        let own = page("ws://x.org/api/ws", &["Origin: https://a.org"]);
        has(&own, &["this one is https://a.org: passes"]);
    }

    #[test]
    fn a_websocket_does_not_follow_the_redirect_to_https() {
        let text = TEXT.replace(":80\"\n", ":80\"\nredirect_to_https = true\n");
        let env = BTreeMap::<String, String>::new();
        let explained = config::explained_str("a.toml", &text, Path::new("."), &env).unwrap();
        for (url, is_lost) in [("ws://x.org/api/ws", true), ("http://x.org/api/ws", false)] {
            let asked = Asked::new(Url::parse(url).unwrap(), Method::GET, Vec::new()).unwrap();
            let answer = Answer::of(&explained, asked);
            assert!(answer.redirected.is_some(), "{url}");
            assert_eq!(answer.is_lost(), is_lost, "{url}");
            let mut page = String::new();
            text::write(&answer, &mut page).unwrap();
            assert_eq!(page.contains("browsers do not follow"), is_lost, "{page}");
            let outcome = &report::report(&answer)["outcome"];
            assert_eq!(outcome == "redirected", is_lost, "{outcome}");
        }
    }

    #[test]
    fn redirects_and_what_nobody_takes_are_told() {
        has(
            &page("http://x.org/old/a?b", &[]),
            &[
                "action redirect, 308 Permanent Redirect",
                "to https://new.org/a?b",
            ],
        );
        has(&page("http://x.org/none", &[]), &["route none: 404"]);
        has(
            &page("https://x.org/none", &[]),
            &["listener none speaks TLS: nobody takes it"],
        );
    }
}
