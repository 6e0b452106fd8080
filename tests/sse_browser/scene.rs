//! What the tests of two browsers stand on: a window, the page's backends, and what the log says of streams.

use std::time::Duration;

use serde_json::Value;

use crate::browser::{Browser, serving};
use crate::firefox::Firefox;
use crate::harness::{Backend, Exchange, Gate, within_time};

/// A browser that starts on a busy machine takes longer than any one thing of ours may.
pub const START: Duration = Duration::from_secs(60);

/// Who made the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Chromium's.
    Google,
    /// Firefox's.
    Mozilla,
}

/// What the browser speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/2 is switched off.
    Http1,
    /// The browser's own choice.
    Http2,
}

impl Speaks {
    /// As the log has it.
    pub fn version(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// A browser with the page open.
pub enum Window {
    /// By its driver.
    Chromium(Browser),
    /// By itself.
    Firefox(Firefox),
}

impl Window {
    /// Starts the browser with the page that is at `/`.
    pub async fn open(maker: Maker, speaks: Speaks, port: u16) -> Self {
        match maker {
            Maker::Google => {
                let flags: &[&str] = match speaks {
                    Speaks::Http1 => &["--disable-http2"],
                    Speaks::Http2 => &[],
                };
                let browser = Browser::start_with(flags).await;
                browser.open(port, "/").await;
                Self::Chromium(browser)
            }
            Maker::Mozilla => {
                let allowed = speaks == Speaks::Http2;
                let preference = format!("user_pref(\"network.http.http2.enabled\", {allowed});\n");
                let url = format!("https://localhost:{port}/");
                Self::Firefox(Firefox::open_with(&preference, &url).await)
            }
        }
    }

    /// Ends the browser.
    pub async fn close(self) {
        match self {
            Self::Chromium(browser) => browser.close().await,
            Self::Firefox(browser) => browser.close().await,
        }
    }
}

/// A page, the source of its events, and where it posts what it has seen.
pub struct Scene {
    /// The source, played by hand.
    pub events: Backend,
    /// Where the page posts.
    pub outcome: Backend,
    page: Backend,
}

impl Scene {
    /// The source and the post are in the test's hand.
    pub async fn with(page: &'static str) -> Self {
        Self {
            events: Backend::by_hand().await,
            outcome: Backend::by_hand().await,
            page: serving(page).await,
        }
    }

    /// The page, the posts, and `events` on a route with these keys.
    pub fn config(&self, events: &Backend, keys: &str) -> String {
        format!(
            "{}{}{}[[route]]\npath = \"/events/*\"\nupstream = \"events\"\n{keys}\n\
             [[route]]\npath = \"/outcome\"\nupstream = \"outcome\"\n",
            self.page.for_everything(),
            events.upstream("events"),
            self.outcome.upstream("outcome"),
        )
    }

    /// The first request for events, for which a browser has to start.
    pub async fn first(&mut self) -> Exchange {
        let begun = async {
            loop {
                match self.events.request_if_any() {
                    Some(exchange) => return exchange,
                    None => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        within_time(START, "the browser", begun).await
    }

    /// What the page has seen. The answer is the test's to give.
    pub async fn seen(&mut self) -> (Value, Exchange) {
        let mut exchange = self.outcome.next().await;
        let posted = exchange.wire.text().await;
        (serde_json::from_str(&posted).unwrap(), exchange)
    }
}

/// Which protocol and which client's port each event stream of the log has.
pub fn streams(gate: &Gate) -> Vec<(String, String)> {
    let lines = gate.log.since(0);
    let opened = lines
        .iter()
        .filter(|line| line.message() == "stream open" && line.has("kind", "event_stream"));
    opened
        .map(|line| (line.text("version").unwrap(), line.text("client").unwrap()))
        .collect()
}
