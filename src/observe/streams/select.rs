//! Which of this worker's streams are meant, and a page of them.
//!
//! Every row is looked at once, and no more of them are held than a page has. Invariant: pages that follow each other by
//! their [`Mark`]s show every stream once that lives all the while.

use std::collections::BinaryHeap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ipnet::IpNet;
use tokio::time::Instant;

use super::{ROWS, Row};
use crate::net::ClientAddr;
use crate::observe::access::Kind;

/// Which streams are meant: all that fit everything that is set.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Of this kind.
    pub kind: Option<Kind>,
    /// On the route of this name.
    pub route: Option<Box<str>>,
    /// Of these clients.
    pub client: Option<ClientPart>,
    /// Of this user.
    pub user: Option<Box<str>>,
    /// At this server, or on this bridge's channel.
    pub backend: Option<Box<str>>,
    /// With this in the id, the route, the client, the user or the backend, in ASCII letters of any case.
    pub part: Option<Box<str>>,
}

/// Clients by their address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientPart {
    /// This one.
    Address(SocketAddr),
    /// Those of a network; an address alone is one of one.
    Network(IpNet),
}

/// A stream's place among all, the oldest first: what a page goes on behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// When it was opened.
    pub opened: Instant,
    /// Its id.
    pub id: Box<str>,
}

/// A page of this worker's streams.
#[derive(Debug)]
pub struct Selection {
    /// Streams that live here.
    pub total: usize,
    /// Those that are meant, on all pages.
    pub matched: usize,
    /// The oldest of those that are meant, behind the mark.
    pub rows: Vec<Rc<Row>>,
}

/// A row in the order of [`Mark`]s.
struct Placed(Rc<Row>);

impl ClientPart {
    /// Reads `192.0.2.1`, `192.0.2.1:5000`, `[2001:db8::1]:5000` or `192.0.2.0/24`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Network(address.into()));
        }
        let network = || text.parse().map(Self::Network);
        text.parse().map(Self::Address).or_else(|_| network()).ok()
    }

    fn has(&self, client: ClientAddr) -> bool {
        let ip = client.0.ip().to_canonical();
        match self {
            Self::Address(address) => {
                (address.ip().to_canonical(), address.port()) == (ip, client.0.port())
            }
            Self::Network(network) => network.contains(&ip),
        }
    }
}

impl Query {
    /// Whether nothing is set: all streams are meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.kind.is_none()
            && self.route.is_none()
            && self.client.is_none()
            && self.user.is_none()
            && self.backend.is_none()
            && self.part.is_none()
    }

    /// Whether this stream is meant.
    pub(super) fn fits(&self, row: &Row) -> bool {
        let is = |wanted: &Option<Box<str>>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| **wanted == *found)
        };
        let user = row.user.as_deref().unwrap_or_default();
        self.kind.is_none_or(|kind| kind == row.kind)
            && is(&self.route, &row.route)
            && is(&self.user, user)
            && is(&self.backend, &row.backend)
            && self.client.is_none_or(|client| client.has(row.client))
            && self.part.as_ref().is_none_or(|part| has_part(row, part))
    }
}

fn has_part(row: &Row, part: &str) -> bool {
    let user = row.user.as_deref().unwrap_or_default();
    let words = [row.id.as_str(), &row.route, user, &row.backend];
    words.into_iter().any(|word| contains(word, part)) || {
        let mut client = String::with_capacity(48);
        // A string takes whatever is written.
        let _ = write!(client, "{}", row.client);
        contains(&client, part)
    }
}

/// Whether `part` is in `text`, whatever the case of its ASCII letters.
fn contains(text: &str, part: &str) -> bool {
    let part = part.as_bytes();
    part.is_empty()
        || text
            .as_bytes()
            .windows(part.len())
            .any(|window| window.eq_ignore_ascii_case(part))
}

/// The oldest `limit` streams of this worker that are meant and come behind `after`.
#[must_use]
pub fn select(query: &Query, after: Option<&Mark>, limit: usize) -> Selection {
    ROWS.with_borrow(|rows| {
        let mut page = BinaryHeap::with_capacity(limit.min(rows.len()) + 1);
        let mut matched = 0;
        for (_key, row) in rows.iter().filter(|(_key, row)| query.fits(row)) {
            matched += 1;
            if after.is_some_and(|after| place(row) <= (after.opened, &after.id)) {
                continue;
            }
            // The youngest of a full page is on its top, and most rows are younger still.
            let is_late = |page: &BinaryHeap<Placed>| {
                page.len() >= limit && page.peek().is_none_or(|last| place(&last.0) <= place(row))
            };
            if is_late(&page) {
                continue;
            }
            page.push(Placed(row.clone()));
            if page.len() > limit {
                page.pop();
            }
        }
        let rows_of_page = page.into_sorted_vec();
        Selection {
            total: rows.len(),
            matched,
            rows: rows_of_page.into_iter().map(|placed| placed.0).collect(),
        }
    })
}

fn place(row: &Row) -> (Instant, &str) {
    (row.opened, row.id.as_str())
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        place(&self.0) == place(&other.0)
    }
}

impl Eq for Placed {}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        place(&self.0).cmp(&place(&other.0))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::listed_as;
    use super::*;

    fn ids(selection: &Selection) -> Vec<&str> {
        selection.rows.iter().map(|row| row.id.as_str()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn pages_show_every_stream_once_and_the_oldest_first() {
        let mut streams = Vec::new();
        // Two at a time, so that two have the same moment; the later ones take places that were given back.
        for number in 0..10 {
            streams.push(listed_as(&format!("s{number}"), "192.0.2.1:5", "/ws"));
            if number % 2 == 1 {
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        }
        drop(streams.remove(2));
        streams.push(listed_as("s10", "192.0.2.1:5", "/ws"));
        let mut shown = Vec::new();
        let mut after: Option<Mark> = None;
        loop {
            let page = select(&Query::default(), after.as_ref(), 3);
            assert_eq!((page.total, page.matched), (10, 10));
            let Some(last) = page.rows.last() else { break };
            after = Some(Mark {
                opened: last.opened,
                id: last.id.as_str().into(),
            });
            shown.extend(ids(&page).into_iter().map(str::to_owned));
        }
        let expected = ["s0", "s1", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10"];
        assert_eq!(shown, expected);
        assert!(select(&Query::default(), None, 0).rows.is_empty());
    }

    #[test]
    fn a_query_means_what_fits_all_of_it() {
        let _streams = [
            listed_as("one", "192.0.2.1:5", "/ws"),
            listed_as("two", "[::ffff:192.0.2.9]:7", "/WS/Chat"),
            listed_as("three", "[2001:db8::1]:9", "/ws"),
        ];
        let client = |text: &str| Query {
            client: Some(ClientPart::parse(text).unwrap()),
            ..Query::default()
        };
        let part = |text: &str| Query {
            part: Some(text.into()),
            ..Query::default()
        };
        let route = |text: &str| Query {
            route: Some(text.into()),
            ..Query::default()
        };
        let kind = |kind| Query {
            kind: Some(kind),
            ..Query::default()
        };
        let both = Query {
            part: Some("t".into()),
            ..route("/ws")
        };
        let table: [(Query, &[&str]); 14] = [
            (Query::default(), &["one", "two", "three"]),
            (client("192.0.2.1"), &["one"]),
            (client("192.0.2.1:5"), &["one"]),
            (client("192.0.2.1:6"), &[]),
            (client("192.0.2.0/24"), &["one", "two"]),
            (client("2001:db8::/32"), &["three"]),
            (route("/ws"), &["one", "three"]),
            (part("CHAT"), &["two"]),
            (part("App:3"), &["one", "two", "three"]),
            (part("db8::1]"), &["three"]),
            (part("nowhere"), &[]),
            (both, &["three"]),
            (kind(Kind::Tunnel), &["one", "two", "three"]),
            (kind(Kind::EventStream), &[]),
        ];
        for (query, expected) in table {
            let found = select(&query, None, 10);
            let mut found = ids(&found);
            found.sort_unstable_by_key(|id| ["one", "two", "three"].iter().position(|x| x == id));
            assert_eq!(found, expected, "{query:?}");
        }
        for wrong in ["", "example.org", "192.0.2.1/40", "192.0.2", "::1:x"] {
            assert_eq!(ClientPart::parse(wrong), None, "{wrong}");
        }
    }
}
