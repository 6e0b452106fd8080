//! Which route takes a request, and why each other one does not: asked of the router itself.

use http::Method;

use crate::cli::explain::asked::Asked;
use crate::config::Config;
use crate::config::model::{Route, RouteAction};
use crate::route::{Captures, Found, PathPattern, Router, Rule, plain_path};
use crate::service::ticket_stem;

/// What becomes of a request.
#[derive(Debug)]
pub(super) enum Verdict<'a> {
    /// A route takes it.
    Taken(Taken<'a>),
    /// Routes are for its path, with these methods: 405.
    NotAllowed(Vec<Method>),
    /// 404
    NotFound,
    /// 400; why its path is refused before there is a route.
    Refused(String),
}

/// A route that takes a request.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    /// Its number in the order of the files.
    pub(super) index: usize,
    pub(super) route: &'a Route,
    pub(super) captures: Captures,
    /// Whether the request is for a ticket for the route's streams.
    pub(super) is_ticket: bool,
}

/// A route that does not take the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Other {
    /// Its number in the order of the files.
    pub(super) index: usize,
    pub(super) why: Why,
    /// Whether it shares the host or the begin of the path with the request.
    pub(super) is_near: bool,
}

/// Why it does not. Those come first that are the nearest to taking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// It would, but the other one's host is more specific.
    HostLess,
    /// It would, but the other one's path is more specific.
    PathLess,
    /// It would, but the other one lists the method.
    MethodLess,
    /// It is for other methods.
    Method,
    /// It is for another host.
    Host,
    /// It is for other paths.
    Path,
    /// It is for another host and other paths.
    Both,
}

/// Looks the request up.
pub(super) fn find<'a>(config: &'a Config, asked: &Asked) -> Verdict<'a> {
    let path = asked.path();
    if let Err(unsafe_path) = plain_path::check(path, config.server.encoded_slashes) {
        return Verdict::Refused(unsafe_path.to_string());
    }
    let rules = config.routes.iter().map(Route::rule).enumerate();
    let router = Router::new(rules.map(|(index, rule)| (rule, index)))
        .expect("the configuration was checked, and two routes that conflict are a mistake in it");
    let host = asked.host.name();
    if let Some(stem) = ticket_stem(&asked.method, path)
        && let Found::Route { target, captures } = router.find(host, stem, &Method::GET)
        && gives_tickets(config, &config.routes[*target])
    {
        return taken(config, *target, captures, true);
    }
    match router.find(host, path, &asked.method) {
        Found::Route { target, captures } => taken(config, *target, captures, false),
        Found::MethodNotAllowed(methods) => Verdict::NotAllowed(methods),
        Found::Nothing => Verdict::NotFound,
    }
}

fn taken(config: &Config, index: usize, captures: Captures, is_ticket: bool) -> Verdict<'_> {
    Verdict::Taken(Taken {
        index,
        route: &config.routes[index],
        captures,
        is_ticket,
    })
}

/// Whether a client can get tickets for the route's streams.
fn gives_tickets(config: &Config, route: &Route) -> bool {
    let auth = route.auth.as_ref().and_then(|name| config.auths.get(name));
    matches!(route.action, RouteAction::Bridge { .. }) && auth.is_some_and(|auth| auth.tickets)
}

/// All routes but the one that takes the request, the nearest first.
pub(super) fn others(config: &Config, asked: &Asked, taken: Option<&Taken<'_>>) -> Vec<Other> {
    let is_ticket = taken.is_some_and(|taken| taken.is_ticket);
    let stem = ticket_stem(&asked.method, asked.path()).filter(|_stem| is_ticket);
    let (path, method) = match stem {
        Some(stem) => (stem, &Method::GET),
        None => (asked.path(), &asked.method),
    };
    let request = (asked.host.name(), path, method);
    let routes = config.routes.iter().enumerate();
    let mut others: Vec<Other> = routes
        .filter(|(index, _)| taken.is_none_or(|taken| taken.index != *index))
        .map(|(index, route)| Other {
            index,
            why: why(route, request, taken.map(|taken| taken.route)),
            is_near: is_near(route, request),
        })
        .collect();
    others.sort_by_key(|other| (other.why, !other.is_near));
    others
}

type Request<'a> = (&'a str, &'a str, &'a Method);

/// Each route is asked by itself, and once more without what may be in the way.
fn why(route: &Route, request: Request<'_>, winner: Option<&Route>) -> Why {
    let rule = route.rule();
    let any_host = Rule {
        host: None,
        ..rule.clone()
    };
    match outcome(rule.clone(), request) {
        Outcome::Takes => match winner {
            Some(winner) if winner.host != route.host => Why::HostLess,
            Some(winner) if winner.path != route.path => Why::PathLess,
            _ => Why::MethodLess,
        },
        Outcome::OtherMethod => Why::Method,
        Outcome::Nothing => match outcome(any_host, request) {
            Outcome::Nothing if is_for_host(rule, request) => Why::Path,
            Outcome::Nothing => Why::Both,
            Outcome::Takes | Outcome::OtherMethod => Why::Host,
        },
    }
}

/// What one route by itself makes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Takes,
    OtherMethod,
    Nothing,
}

fn outcome(rule: Rule, (host, path, method): Request<'_>) -> Outcome {
    let router = Router::new([(rule, ())]).expect("one route conflicts with no other");
    match router.find(host, path, method) {
        Found::Route { .. } => Outcome::Takes,
        Found::MethodNotAllowed(_) => Outcome::OtherMethod,
        Found::Nothing => Outcome::Nothing,
    }
}

fn is_for_host(rule: Rule, (host, _path, method): Request<'_>) -> bool {
    let path = PathPattern::parse("/*").expect("`/*` is a prefix pattern");
    let any_path = Rule {
        path,
        methods: Vec::new(),
        ..rule
    };
    outcome(any_path, (host, "/", method)) == Outcome::Takes
}

fn is_near(route: &Route, request: Request<'_>) -> bool {
    let first = |path: &str| path.split('/').nth(1).map(str::to_owned);
    let pattern = route.path.to_string();
    let is_same = first(&pattern).is_some_and(|own| Some(own) == first(request.1));
    is_same || (route.host.is_some() && is_for_host(route.rule(), request))
}

impl Why {
    /// In words, of a route.
    pub(super) fn says(self, route: &Route) -> String {
        match self {
            Self::HostLess => "takes it too, but its host is less specific".to_owned(),
            Self::PathLess => "takes it too, but its path is less specific".to_owned(),
            Self::MethodLess => "takes it too, but does not list the method".to_owned(),
            Self::Method => {
                let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
                format!("is for {} only", methods.join(", "))
            }
            Self::Host => "is for another host".to_owned(),
            Self::Path => "is for other paths".to_owned(),
            Self::Both => "is for another host and other paths".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::cli::explain::asked::Url;

    const TEXT: &str = "\
[[listen]]
address = \"127.0.0.1:80\"
[[route]]
host = \"a.org\"
path = \"/api/{name}\"
methods = [\"GET\"]
respond = 200
[[route]]
path = \"/api/{name}\"
respond = 200
[[route]]
host = \"a.org\"
respond = 200
[[route]]
host = \"a.org\"
path = \"/api/{name}\"
respond = 200
[[route]]
host = \"*.b.org\"
path = \"/api/*\"
respond = 200
[[route]]
host = \"a.org\"
path = \"/other\"
respond = 200
[[route]]
host = \"b.org\"
path = \"/other\"
respond = 200
[[route]]
path = \"/api/users\"
methods = [\"DELETE\"]
respond = 200
";

    fn of<T>(url: &str, method: Method, look: impl FnOnce(&Config, &Asked) -> T) -> T {
        let env = BTreeMap::<String, String>::new();
        let config = crate::config::load_str("a.toml", TEXT, Path::new("."), &env).unwrap();
        let asked = Asked::new(Url::parse(url).unwrap(), method, Vec::new()).unwrap();
        look(&config, &asked)
    }

    #[test]
    fn each_route_has_its_reason() {
        let whys = of("http://a.org/api/users", Method::GET, |config, asked| {
            let Verdict::Taken(taken) = find(config, asked) else {
                panic!("a route takes it");
            };
            assert_eq!(
                (taken.index, taken.captures.get("name")),
                (0, Some("users"))
            );
            let others = others(config, asked, Some(&taken));
            others
                .iter()
                .map(|it| (it.index, it.why))
                .collect::<Vec<_>>()
        });
        let expected = [
            (1, Why::HostLess),
            (2, Why::PathLess),
            (3, Why::MethodLess),
            (7, Why::Method),
            (4, Why::Host),
            (5, Why::Path),
            (6, Why::Both),
        ];
        assert_eq!(whys, expected);
    }

    #[test]
    fn what_no_route_takes_has_a_reason_too() {
        of("http://c.org/api/users", Method::GET, |config, asked| {
            assert!(matches!(find(config, asked), Verdict::Taken(taken) if taken.index == 1));
        });
        of("http://c.org/x", Method::GET, |config, asked| {
            assert!(matches!(find(config, asked), Verdict::NotFound));
        });
        of("http://c.org/api/%2e%2e/x", Method::GET, |config, asked| {
            assert!(matches!(find(config, asked), Verdict::Refused(_)));
        });
    }
}
