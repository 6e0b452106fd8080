//! From a request's host, path and method to the route that is meant: the most specific one.
//!
//! Owns patterns, their order and what they capture; knows nothing of what a route does (`T`). The order in which
//! routes are given never matters. Specificity is, in this order: the host (a name, then the longest wildcard, then
//! any), the path segment by segment from the left (literal, then named, then prefix), the method (listed, then
//! any). What a more specific host or path does not take falls to the next one.

mod captures;
pub mod host;
pub mod path;
pub mod plain_path;
pub mod template;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::route::tree::Tree;

pub use captures::Captures;
pub use host::{HostPattern, HostPatternError};
pub use path::{PathPattern, PathPatternError};
pub use template::{Escape, Template, TemplateError};

/// Which requests a route is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `None`: any host.
    pub host: Option<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Empty: any method. A rule with GET is for HEAD too.
    pub methods: Vec<Method>,
}

/// Two rules that match exactly the same requests, by their places in what the router was built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The earlier one.
    pub first: usize,
    /// The later one.
    pub second: usize,
}

/// The outcome of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, T> {
    /// The most specific route that takes the method.
    Route {
        /// What the route leads to.
        target: &'a T,
        /// What its named segments stand for.
        captures: Captures,
    },
    /// Routes match the path, but none takes the method. Those they take, sorted, each once, never empty
    /// (RFC 9110 §15.5.6).
    MethodNotAllowed(Vec<Method>),
    /// No route matches the path.
    Nothing,
}

/// Routes with what they lead to. Immutable once built; a look-up takes no lock.
#[derive(Debug)]
pub struct Router<T> {
    exact: HashMap<Box<str>, Tree>,
    /// By the suffix without its `*.`
    below: HashMap<Box<str>, Tree>,
    any: Tree,
    routes: Vec<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    target: T,
    /// Which segment each name stands for, in rising order.
    names: Vec<(usize, Arc<str>)>,
}

impl<T> Router<T> {
    /// Builds a router.
    ///
    /// # Errors
    /// All pairs of rules that match exactly the same requests: the same host, the same path (what its segments
    /// are called does not count), and a method that both list, or no methods on either side.
    pub fn new(rules: impl IntoIterator<Item = (Rule, T)>) -> Result<Self, Vec<Conflict>> {
        let mut router = Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            any: Tree::default(),
            routes: Vec::new(),
        };
        let mut conflicts = Vec::new();
        for (second, (rule, target)) in rules.into_iter().enumerate() {
            let same = router
                .tree(rule.host.as_ref())
                .insert(&rule.path, &rule.methods, second);
            conflicts.extend(same.into_iter().map(|first| Conflict { first, second }));
            router.routes.push(Entry {
                target,
                names: places_of_names(&rule.path),
            });
        }
        if conflicts.is_empty() {
            Ok(router)
        } else {
            Err(conflicts)
        }
    }

    /// Looks a request up. `host` is lower case, without port and trailing dot; `path` is still percent-encoded,
    /// without its query, and has passed [`plain_path::check`].
    ///
    /// Allocates only for captures, and for the methods of [`Found::MethodNotAllowed`].
    #[must_use]
    pub fn find(&self, host: &str, path: &str, method: &Method) -> Found<'_, T> {
        let mut allowed = Vec::new();
        for tree in self.trees(host) {
            if let Some(index) = tree.find(path, method, &mut allowed) {
                let entry = &self.routes[index];
                return Found::Route {
                    target: &entry.target,
                    captures: capture(&entry.names, path),
                };
            }
        }
        if allowed.is_empty() {
            return Found::Nothing;
        }
        if allowed.contains(&Method::GET) {
            allowed.push(Method::HEAD);
        }
        allowed.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        allowed.dedup();
        Found::MethodNotAllowed(allowed)
    }

    fn tree(&mut self, host: Option<&HostPattern>) -> &mut Tree {
        let Some(host) = host else {
            return &mut self.any;
        };
        match (host.exact(), host.suffix()) {
            (Some(name), _) => self.exact.entry(name.into()).or_default(),
            (None, Some(suffix)) => self.below.entry(suffix.into()).or_default(),
            (None, None) => &mut self.any,
        }
    }

    /// The trees whose host matches, the most specific first.
    fn trees<'s>(&'s self, host: &'s str) -> impl Iterator<Item = &'s Tree> {
        let exact = self.exact.get(host);
        let below = suffixes(host).filter_map(|suffix| self.below.get(suffix));
        exact.into_iter().chain(below).chain([&self.any])
    }
}

/// What stands behind each dot of a name, the longest first.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |rest| {
        rest.split_once('.').map(|(_, suffix)| suffix)
    })
    .skip(1)
}

fn places_of_names(path: &PathPattern) -> Vec<(usize, Arc<str>)> {
    let name_of = |(index, segment): (usize, &path::Segment)| match segment {
        path::Segment::Named(name) => Some((index, Arc::clone(name))),
        path::Segment::Literal(_) => None,
    };
    path.segments()
        .iter()
        .enumerate()
        .filter_map(name_of)
        .collect()
}

fn capture(names: &[(usize, Arc<str>)], path: &str) -> Captures {
    if names.is_empty() {
        return Captures::empty();
    }
    let mut segments = path.split('/').skip(1).enumerate();
    names
        .iter()
        .filter_map(|(place, name)| {
            let (_, segment) = segments.find(|(index, _)| index == place)?;
            Some((Arc::clone(name), path::decode_value(segment)?))
        })
        .collect()
}

#[cfg(test)]
mod tests;
