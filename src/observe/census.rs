//! How many long streams live, of which kind and on which routes: what a drain says of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::access::Kind;
use super::streams;

/// Routes that are named.
const NAMED: usize = 3;

/// A count of the streams that live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census(BTreeMap<Arc<str>, [usize; Kind::ALL.len()]>);

impl Census {
    /// Counts those of this worker.
    #[must_use]
    pub fn take() -> Self {
        let mut census = Self::default();
        streams::each(|row| census.count(row.kind, &row.route));
        census
    }

    fn count(&mut self, kind: Kind, route: &Arc<str>) {
        // Looked up first: a route's name is not copied for each of its streams.
        match self.0.get_mut(route) {
            Some(kinds) => kinds[kind as usize] += 1,
            None => self.0.entry(route.clone()).or_default()[kind as usize] += 1,
        }
    }

    /// Adds what another worker has counted.
    pub fn add(&mut self, other: &Self) {
        for (route, more) in &other.0 {
            let kinds = self.0.entry(route.clone()).or_default();
            kinds
                .iter_mut()
                .zip(more)
                .for_each(|(kind, more)| *kind += more);
        }
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> usize {
        self.0.values().map(|kinds| kinds[kind as usize]).sum()
    }

    /// The routes with most of them, to be shown.
    #[must_use]
    pub fn routes(&self) -> impl fmt::Display {
        let mut routes: Vec<(usize, &str)> = self
            .0
            .iter()
            .map(|(route, kinds)| (kinds.iter().sum(), &**route))
            .collect();
        routes.sort_by_key(|(count, _route)| std::cmp::Reverse(*count));
        let mut shown: Vec<_> = routes
            .iter()
            .take(NAMED)
            .map(|(count, route)| format!("{route}: {count}"))
            .collect();
        let more: usize = routes.iter().skip(NAMED).map(|(count, _route)| count).sum();
        if more > 0 {
            shown.push(format!("others: {more}"));
        }
        shown.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up_and_the_fullest_routes_are_named() {
        let mut all = Census::default();
        for worker in 0..2 {
            let mut census = Census::default();
            for (route, kind, count) in [
                ("/ws", Kind::Tunnel, 3),
                ("/live", Kind::Subscription, 5),
                ("/live", Kind::Tunnel, 1),
                ("/a", Kind::EventStream, 2),
                ("/b", Kind::EventStream, worker),
            ] {
                for _stream in 0..count {
                    census.count(kind, &route.into());
                }
            }
            all.add(&census);
        }
        let kinds = Kind::ALL.map(|kind| all.of(kind));
        assert_eq!(kinds, [8, 5, 10]);
        assert_eq!(
            all.routes().to_string(),
            "/live: 12, /ws: 6, /a: 4, others: 1"
        );
        assert_eq!(Census::default().routes().to_string(), "");
    }
}
