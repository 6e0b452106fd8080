//! Routes and requests of any text: a look-up never fails, and the order of the routes never matters.
//!
//! The input's lines are routes, `HOST PATH METHOD`, each part optional; the last line is the request.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use streamgate::route::plain_path::{self, EncodedSlashes};
use streamgate::route::{Found, HostPattern, PathPattern, Router, Rule};

fuzz_target!(|text: &str| {
    let mut lines: Vec<&str> = text.lines().take(32).collect();
    let Some(request) = lines.pop() else { return };
    let rules: Vec<(Rule, usize)> = lines.iter().filter_map(|line| rule(line)).zip(0..).collect();
    let mut reversed = rules.clone();
    reversed.reverse();
    let (one, other) = match (Router::new(rules), Router::new(reversed)) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(_), Err(_)) => return,
        _ => panic!("the order decides whether routes conflict"),
    };
    let mut parts = request.split(' ');
    let (host, target) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
    let method = parts.next().and_then(|method| method.parse().ok());
    if plain_path::check(target, EncodedSlashes::Keep).is_err() {
        return;
    }
    let method = method.unwrap_or(Method::GET);
    let host = host.to_ascii_lowercase();
    let found = one.find(&host, target, &method);
    assert_eq!(found, other.find(&host, target, &method));
    if let Found::Route { captures, .. } = found {
        for (_, value) in captures.iter() {
            assert!(!value.is_empty() && !value.contains('\0'));
        }
    }
});

fn rule(line: &str) -> Option<Rule> {
    let mut parts = line.split(' ');
    let host = match parts.next()? {
        "" => None,
        host => Some(HostPattern::parse(host).ok()?),
    };
    let path = PathPattern::parse(parts.next().unwrap_or("/*")).ok()?;
    let methods = parts.next().and_then(|method| method.parse().ok());
    Some(Rule {
        host,
        path,
        methods: methods.into_iter().collect(),
    })
}
