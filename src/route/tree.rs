//! The routes of one host, as a tree of path segments.
//!
//! Owns the order of paths and methods: literal before named before prefix at each segment, a listed method before
//! any. Invariants: children of a node are sorted by their text; a node is visited at most once in a look-up, since
//! its place in the tree is its place in the path, so a look-up costs no more than the tree has nodes, whatever the
//! path holds; recursion is as deep as the longest pattern.

use std::cmp::Ordering;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::route::path::{End, PathPattern, Segment, decode_value};

/// One host's routes. A route is its index in the router.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: Vec<(Box<str>, Node)>,
    named: Option<Box<Node>>,
    /// For paths that end here.
    exact: Leaf,
    /// For paths that go on from here.
    prefix: Leaf,
}

/// The routes of one path pattern, told apart by method.
#[derive(Debug, Default)]
struct Leaf {
    listed: Vec<(Method, usize)>,
    any: Option<usize>,
}

/// What is looked for, and the methods of those routes that had the path but not the method.
struct Search<'m> {
    method: &'m Method,
    allowed: &'m mut Vec<Method>,
}

impl Tree {
    /// Adds a route; without methods it takes any. Returns those routes already here that match exactly the same
    /// requests for one of the methods.
    pub(super) fn insert(
        &mut self,
        path: &PathPattern,
        methods: &[Method],
        route: usize,
    ) -> Vec<usize> {
        let mut node = &mut self.root;
        for segment in path.segments() {
            node = match segment {
                Segment::Literal(text) => node.literal(text),
                Segment::Named(_) => node.named.get_or_insert_default(),
            };
        }
        match path.end() {
            End::Exact => node.exact.insert(methods, route),
            End::Prefix => node.prefix.insert(methods, route),
        }
    }

    /// The most specific route for a path and a method. If there is none, the methods that the path's routes do
    /// take are added to `allowed`.
    pub(super) fn find(
        &self,
        path: &str,
        method: &Method,
        allowed: &mut Vec<Method>,
    ) -> Option<usize> {
        let rest = path.strip_prefix('/')?;
        self.root.find(Some(rest), &mut Search { method, allowed })
    }
}

impl Node {
    fn literal(&mut self, text: &str) -> &mut Self {
        let at = match self
            .literals
            .binary_search_by(|(known, _)| (**known).cmp(text))
        {
            Ok(at) => at,
            Err(at) => {
                self.literals.insert(at, (text.into(), Self::default()));
                at
            }
        };
        &mut self.literals[at].1
    }

    /// `rest` is what follows the slash behind this node's segment; `None` when the path ended with the segment.
    fn find(&self, rest: Option<&str>, search: &mut Search<'_>) -> Option<usize> {
        let Some(rest) = rest else {
            return self.exact.find(search);
        };
        let (segment, next) = match memchr::memchr(b'/', rest.as_bytes()) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        if let Some(route) = self
            .child(segment)
            .and_then(|child| child.find(next, search))
        {
            return Some(route);
        }
        if let Some(named) = &self.named
            && decode_value(segment).is_some()
            && let Some(route) = named.find(next, search)
        {
            return Some(route);
        }
        self.prefix.find(search)
    }

    fn child(&self, segment: &str) -> Option<&Self> {
        let at = self
            .literals
            .binary_search_by(|(known, _)| compare(known, segment))
            .ok()?;
        Some(&self.literals[at].1)
    }
}

/// Compares decoded text with a segment as it came, without decoding it into memory.
fn compare(known: &str, segment: &str) -> Ordering {
    if memchr::memchr(b'%', segment.as_bytes()).is_none() {
        return known.cmp(segment);
    }
    known.bytes().cmp(percent_decode_str(segment))
}

impl Leaf {
    fn insert(&mut self, methods: &[Method], route: usize) -> Vec<usize> {
        let mut same = Vec::new();
        if methods.is_empty() {
            match self.any {
                Some(first) => same.push(first),
                None => self.any = Some(route),
            }
        }
        for method in methods {
            match self.listed(method) {
                Some(first) => same.push(first),
                None => self.listed.push((method.clone(), route)),
            }
        }
        // A method that a route lists twice is no conflict with itself.
        same.retain(|first| *first != route);
        same.sort_unstable();
        same.dedup();
        same
    }

    fn listed(&self, method: &Method) -> Option<usize> {
        self.listed
            .iter()
            .find(|(known, _)| known == method)
            .map(|(_, route)| *route)
    }

    fn find(&self, search: &mut Search<'_>) -> Option<usize> {
        // Whoever answers GET can answer HEAD (RFC 9110 §9.3.2).
        let as_get = || {
            (*search.method == Method::HEAD)
                .then(|| self.listed(&Method::GET))
                .flatten()
        };
        let found = self.listed(search.method).or_else(as_get).or(self.any);
        if found.is_none() {
            search
                .allowed
                .extend(self.listed.iter().map(|(method, _)| method.clone()));
        }
        found
    }
}
