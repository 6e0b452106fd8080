//! The router as a whole, in tables and against a naive matcher.

use http::Method;
use proptest::prelude::*;

use super::{Captures, Conflict, Found, HostPattern, PathPattern, Router, Rule};

/// `"host path METHOD,METHOD"`, with `-` for any host and no methods for any.
fn rule(text: &str) -> Rule {
    let mut words = text.split(' ');
    let host = words
        .next()
        .filter(|host| *host != "-")
        .map(|host| HostPattern::parse(host).unwrap());
    let path = PathPattern::parse(words.next().unwrap()).unwrap();
    let methods = words
        .next()
        .unwrap_or_default()
        .split(',')
        .filter(|method| !method.is_empty());
    Rule {
        host,
        path,
        methods: methods.map(|method| method.parse().unwrap()).collect(),
    }
}

fn router(rules: &[&'static str]) -> Router<&'static str> {
    Router::new(rules.iter().map(|text| (rule(text), *text))).unwrap()
}

fn target<'a>(found: Found<'a, &'static str>) -> Option<&'a str> {
    match found {
        Found::Route { target, .. } => Some(target),
        Found::MethodNotAllowed(_) | Found::Nothing => None,
    }
}

#[test]
fn most_specific_route_wins() {
    let router = router(&[
        "- /*",
        "- /only-here GET",
        "*.example.org /*",
        "*.b.example.org /deep",
        "a.example.org /x/*",
        "a.example.org /x/{id}",
        "a.example.org /x/{id} GET",
        "a.example.org /x/y",
        "a.example.org /x/{id}/z/*",
        "a.example.org /x/y/{tail}",
        "a.example.org /dir/",
        "a.example.org /dir/*",
        "a.example.org //x",
    ]);
    for (host, path, expected) in [
        ("a.example.org", "/x/y", "a.example.org /x/y"),
        ("a.example.org", "/x/%79", "a.example.org /x/y"),
        ("a.example.org", "/x/7", "a.example.org /x/{id} GET"),
        ("a.example.org", "/x/", "a.example.org /x/*"),
        ("a.example.org", "/x/%FF", "a.example.org /x/*"),
        ("a.example.org", "/x/a%0Ab", "a.example.org /x/*"),
        ("a.example.org", "/x", "*.example.org /*"),
        ("a.example.org", "/x/y/z", "a.example.org /x/y/{tail}"),
        ("a.example.org", "/x/y/z/", "a.example.org /x/{id}/z/*"),
        ("a.example.org", "/x/y/q/", "a.example.org /x/*"),
        ("a.example.org", "/dir/", "a.example.org /dir/"),
        ("a.example.org", "/dir/f", "a.example.org /dir/*"),
        ("a.example.org", "//x", "a.example.org //x"),
        ("a.example.org", "/only-here", "*.example.org /*"),
        ("x.b.example.org", "/deep", "*.b.example.org /deep"),
        ("x.b.example.org", "/other", "*.example.org /*"),
        ("b.example.org", "/deep", "*.example.org /*"),
        ("example.org", "/", "- /*"),
        ("", "/only-here", "- /only-here GET"),
        ("[::1]", "/only-here", "- /only-here GET"),
    ] {
        assert_eq!(
            target(router.find(host, path, &Method::GET)),
            Some(expected),
            "{host} {path}"
        );
    }
}

#[test]
fn method_falls_to_the_next_route_before_it_is_refused() {
    let router = router(&[
        "a.org /x GET",
        "a.org /x POST",
        "a.org /{any} PUT,GET",
        "- /x DELETE",
        "a.org /h HEAD",
        "a.org /h GET",
        "- /all",
        "- /all GET",
    ]);
    for (host, path, method, expected) in [
        ("a.org", "/x", Method::GET, Some("a.org /x GET")),
        ("a.org", "/x", Method::HEAD, Some("a.org /x GET")),
        ("a.org", "/x", Method::PUT, Some("a.org /{any} PUT,GET")),
        ("a.org", "/x", Method::DELETE, Some("- /x DELETE")),
        ("a.org", "/x", Method::PATCH, None),
        ("a.org", "/h", Method::HEAD, Some("a.org /h HEAD")),
        ("b.org", "/all", Method::HEAD, Some("- /all GET")),
        ("b.org", "/all", Method::POST, Some("- /all")),
    ] {
        assert_eq!(
            target(router.find(host, path, &method)),
            expected,
            "{method} {host} {path}"
        );
    }
    let Found::MethodNotAllowed(methods) = router.find("a.org", "/x", &Method::PATCH) else {
        panic!("PATCH is not listed anywhere");
    };
    assert_eq!(
        methods,
        [
            Method::DELETE,
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT
        ]
    );
    assert_eq!(
        router.find("a.org", "/none/here", &Method::GET),
        Found::Nothing
    );
    assert_eq!(router.find("a.org", "*", &Method::OPTIONS), Found::Nothing);
}

#[test]
fn captures_are_decoded_and_belong_to_the_route_that_won() {
    let router = router(&[
        "- /r/{room}/{user} GET",
        "- /r/{a}/{b} POST",
        "- /r/{x}/lit/*",
    ]);
    let captures = |path: &str, method: Method| match router.find("", path, &method) {
        Found::Route { captures, .. } => captures,
        other => panic!("{other:?}"),
    };
    let found = captures("/r/caf%C3%A9/a+b%26", Method::GET);
    assert_eq!(
        found.iter().collect::<Vec<_>>(),
        [("room", "café"), ("user", "a+b&")]
    );
    assert_eq!(found.get("a"), None);
    assert_eq!(captures("/r/1/2", Method::POST).get("b"), Some("2"));
    assert_eq!(
        captures("/r/1/lit/3/4", Method::GET),
        Captures::from_iter([("x", "1")])
    );
}

#[test]
fn rules_for_the_same_requests_conflict() {
    let conflicts = |rules: &[&str]| {
        Router::new(rules.iter().map(|text| (rule(text), ())))
            .err()
            .unwrap_or_default()
    };
    let pair = |first, second| vec![Conflict { first, second }];
    for (rules, expected) in [
        (&["- /a", "- /b", "- /a"][..], pair(0, 2)),
        (&["- /{a}/x", "- /{b}/x"], pair(0, 1)),
        (&["A.org /a", "a.org /%61"], pair(0, 1)),
        (&["- /a GET,POST", "- /a POST"], pair(0, 1)),
        (&["- /a", "- /a GET"], vec![]),
        (&["- /a GET,GET"], vec![]),
        (&["- /a GET", "- /a HEAD"], vec![]),
        (&["- /a", "- /a/*", "- /a/", "- /{a}"], vec![]),
        (&["- /a", "*.org /a", "b.org /a"], vec![]),
    ] {
        assert_eq!(conflicts(rules), expected, "{rules:?}");
    }
    assert_eq!(
        conflicts(&["- /a GET", "- /a PUT", "- /a GET,PUT"]).len(),
        2
    );
}

/// The rules again, without a tree: every rule is tried, and the best rank wins.
fn naive<'a>(rules: &'a [String], host: &str, path: &str, method: &Method) -> Option<&'a str> {
    let rank = |text: &str| -> Option<(usize, Vec<u8>, u8)> {
        let mut words = text.split(' ');
        let by_host = match words.next().unwrap() {
            "-" => 0,
            name if name == host => usize::MAX,
            name => {
                let suffix = name.strip_prefix('*')?;
                host.ends_with(suffix).then_some(suffix.len())?
            }
        };
        let pattern: Vec<&str> = words.next().unwrap().split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        let mut by_path = Vec::new();
        for (index, want) in pattern.iter().enumerate() {
            let segment = path.get(index)?;
            let last = index + 1 == pattern.len();
            by_path.push(match *want {
                "*" => 0,
                _ if last && path.len() > pattern.len() => return None,
                _ if want.starts_with('{') && !segment.is_empty() => 1,
                _ if want == segment => 2,
                _ => return None,
            });
        }
        let listed = words.next().unwrap_or_default();
        let by_method = match listed {
            "" => 0,
            _ if listed.split(',').any(|known| known == method.as_str()) => 2,
            _ if *method == Method::HEAD && listed.contains("GET") => 1,
            _ => return None,
        };
        Some((by_host, by_path, by_method))
    };
    rules
        .iter()
        .filter_map(|text| Some((rank(text)?, &**text)))
        .max()
        .map(|(_, text)| text)
}

fn any_rule() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec!["-", "a.b.c", "b.c", "*.c", "*.b.c"]);
    let segment = prop::sample::select(vec!["a", "b", "", "{}"]);
    let end = prop::sample::select(vec!["", "/*"]);
    let methods = prop::sample::select(vec!["", " GET", " PUT", " HEAD,PUT"]);
    (host, prop::collection::vec(segment, 0..4), end, methods).prop_map(
        |(host, segments, end, methods)| {
            let name = |(index, segment): (usize, &&str)| match *segment {
                "{}" => format!("/{{n{index}}}"),
                literal => format!("/{literal}"),
            };
            let mut path: String = segments.iter().enumerate().map(name).collect();
            path.push_str(end);
            if path.is_empty() {
                path.push('/');
            }
            format!("{host} {path}{methods}")
        },
    )
}

proptest! {
    #[test]
    fn tree_finds_what_a_naive_matcher_finds(
        rules in prop::collection::vec(any_rule(), 1..24),
        host in prop::sample::select(vec!["a.b.c", "b.c", "x.b.c", "c", ""]),
        path in "(/(a|b|c)?){1,5}",
        method in prop::sample::select(vec![Method::GET, Method::HEAD, Method::PUT, Method::POST]),
    ) {
        let mut distinct: Vec<String> = Vec::new();
        for candidate in rules {
            distinct.push(candidate);
            if Router::new(distinct.iter().map(|text| (rule(text), ()))).is_err() {
                distinct.pop();
            }
        }
        let router = Router::new(distinct.iter().map(|text| (rule(text), text.as_str()))).unwrap();
        let found = match router.find(host, &path, &method) {
            Found::Route { target, .. } => Some(*target),
            Found::MethodNotAllowed(methods) => {
                let again = router.find(host, &path, &methods[0]);
                prop_assert!(matches!(again, Found::Route { .. }), "an allowed method is taken");
                None
            }
            Found::Nothing => None,
        };
        prop_assert_eq!(found, naive(&distinct, host, &path, &method), "{} {} {:?}", host, path, distinct);
    }
}
