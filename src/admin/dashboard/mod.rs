//! The dashboard: one page and what it is made of, from inside the binary.
//!
//! Owns the files and the fields that they are served with; what the page shows it asks the API for, like anybody else.
//! Invariants: the files hold nothing of this process or its configuration, so that whoever reaches the listener may have
//! them; and by its policy (`Content-Security-Policy`) the page runs no script and asks no host but ours, whatever the API
//! told it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::answer::{Answer, body, text};

/// What the page may do: run our scripts, wear our style, ask our API.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// One file of the page.
struct File {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

/// Bytes of the digest that is a file's `ETag`.
const TAG: usize = 12;

macro_rules! files {
    ($($path:literal: $content_type:ident = $name:literal,)*) => {
        [$(File {
            path: $path,
            content_type: $content_type,
            text: include_str!($name),
        }),*]
    };
}

const FILES: [File; 14] = files! {
    "/": HTML = "index.html",
    "/dashboard.css": STYLE = "dashboard.css",
    "/favicon.svg": PICTURE = "favicon.svg",
    "/dashboard/api.js": SCRIPT = "api.js",
    "/dashboard/chart.js": SCRIPT = "chart.js",
    "/dashboard/control.js": SCRIPT = "control.js",
    "/dashboard/dashboard.js": SCRIPT = "dashboard.js",
    "/dashboard/dialogs.js": SCRIPT = "dialogs.js",
    "/dashboard/dom.js": SCRIPT = "dom.js",
    "/dashboard/format.js": SCRIPT = "format.js",
    "/dashboard/history.js": SCRIPT = "history.js",
    "/dashboard/live.js": SCRIPT = "live.js",
    "/dashboard/streams.js": SCRIPT = "streams.js",
    "/dashboard/views.js": SCRIPT = "views.js",
};

/// Which version of each file this binary has (RFC 9110 §8.8.3).
static TAGS: LazyLock<Vec<HeaderValue>> = LazyLock::new(|| {
    let tag = |file: &File| {
        let sum = digest(&SHA256, file.text.as_bytes());
        let digits: String = sum.as_ref()[..TAG]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        HeaderValue::try_from(format!("\"{digits}\"")).expect("it is digits in quotes")
    };
    FILES.iter().map(tag).collect()
});

/// Answers a request for a file of the page; nothing where the path is none of them.
pub(super) fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Option<Answer> {
    let place = FILES.iter().position(|file| file.path == path)?;
    let (file, tag) = (&FILES[place], &TAGS[place]);
    // hyper leaves the body of an answer to HEAD away.
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        response.headers_mut().insert(ALLOW, allowed);
        return Some(response);
    }
    let mut response = if is_known(headers, tag) {
        body(StatusCode::NOT_MODIFIED, file.content_type, Bytes::new())
    } else {
        let bytes = Bytes::from_static(file.text.as_bytes());
        body(StatusCode::OK, file.content_type, bytes)
    };
    let fields = [
        // It may be kept, and is asked for again each time: after an update no page is half old.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response.headers_mut().insert(ETAG, tag.clone());
    Some(response)
}

/// Whether the client says that it has this version (RFC 9110 §13.1.2; the comparison is weak).
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).into_iter();
    lists
        .flat_map(|list| list.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &Method, path: &str, known: Option<&str>) -> Option<Answer> {
        let mut headers = HeaderMap::new();
        if let Some(known) = known {
            headers.insert(IF_NONE_MATCH, HeaderValue::try_from(known).unwrap());
        }
        answer(method, path, &headers)
    }

    #[test]
    fn each_file_comes_with_its_type_and_the_policy() {
        for file in &FILES {
            let response = ask(&Method::GET, file.path, None).unwrap();
            assert_eq!(response.status(), 200, "{}", file.path);
            let field = |name| response.headers().get(name).unwrap().to_str().unwrap();
            assert_eq!(field(http::header::CONTENT_TYPE), file.content_type);
            assert_eq!(field(CONTENT_SECURITY_POLICY), POLICY);
            assert_eq!(field(CACHE_CONTROL), "no-cache");
        }
        assert!(ask(&Method::GET, "/dashboard/", None).is_none());
        assert!(ask(&Method::GET, "/dashboard/mod.rs", None).is_none());
        let refused = ask(&Method::POST, "/", None).unwrap();
        assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[test]
    fn what_a_browser_has_it_is_not_sent_again() {
        let first = ask(&Method::GET, "/", None).unwrap();
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let other = ask(&Method::GET, "/dashboard.css", None).unwrap();
        assert_ne!(first.headers()[ETAG], other.headers()[ETAG]);
        for (known, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"other\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
            (tag.trim_matches('"').to_owned(), 200),
        ] {
            let response = ask(&Method::GET, "/", Some(&known)).unwrap();
            assert_eq!(response.status(), status, "{known}");
            assert_eq!(response.headers()[ETAG], first.headers()[ETAG]);
        }
    }

    #[test]
    fn the_files_name_one_another_and_no_other_host() {
        for file in &FILES {
            let hosts = file.text.match_indices("://").map(|(at, _)| {
                let from = file.text[..at].rfind(['"', '\'', '`', ' ']).unwrap_or(0);
                let rest = &file.text[from + 1..];
                rest.split(['"', '\'', '`', ' ']).next().unwrap_or(rest)
            });
            // The names of XML's own vocabularies are asked for by nobody.
            let asked: Vec<&str> = hosts
                .filter(|url| !url.starts_with("http://www.w3.org/"))
                .collect();
            assert_eq!(asked, Vec::<&str>::new(), "{}", file.path);
            let imported = file.text.lines().filter_map(|line| {
                let (_, path) = line.strip_prefix("import ")?.split_once(" from './")?;
                path.strip_suffix("';")
            });
            for name in imported {
                let path = format!("/dashboard/{name}");
                assert!(FILES.iter().any(|file| file.path == path), "{path}");
            }
        }
    }

    #[test]
    fn data_never_becomes_markup_or_code() {
        let ways = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "setAttribute('on",
            "javascript:",
            "style=\"",
            "onclick=",
        ];
        for file in &FILES {
            for way in ways {
                assert!(!file.text.contains(way), "{way} in {}", file.path);
            }
        }
    }
}
