//! What a client is told, in each form.

use std::time::Duration;

use http::{HeaderValue, Method};

use super::{GatewayFault, Problem, Quota};

fn every() -> Vec<(Problem, u16, &'static str)> {
    let retry_after = Duration::from_millis(1500);
    vec![
        (Problem::BadRequest("a & b < c"), 400, "http_request_error"),
        (Problem::Unauthorized, 401, "http_request_denied"),
        (Problem::Forbidden("No."), 403, "http_request_denied"),
        (Problem::Gone("Over."), 410, "http_request_error"),
        (Problem::NotFound, 404, "destination_not_found"),
        (
            Problem::MethodNotAllowed(vec![Method::GET, Method::HEAD]),
            405,
            "http_request_error",
        ),
        (Problem::RequestTimeout, 408, "http_request_error"),
        (
            Problem::ContentTooLarge { limit: 10 },
            413,
            "http_request_error",
        ),
        (
            Problem::UnsupportedMediaType("Text."),
            415,
            "http_request_error",
        ),
        (Problem::Misdirected, 421, "http_request_error"),
        (Problem::UpgradeRequired, 426, "http_request_error"),
        (
            Problem::TooManyRequests { retry_after },
            429,
            "http_request_denied",
        ),
        (
            Problem::TooFast {
                retry_after,
                quota: Quota {
                    requests: 40,
                    seconds: 2,
                },
            },
            429,
            "http_request_denied",
        ),
        (Problem::HeaderTooLarge, 431, "http_request_error"),
        (Problem::Internal, 500, "proxy_internal_error"),
        (
            Problem::Gateway(GatewayFault::ConnectionRefused),
            502,
            "connection_refused",
        ),
        (
            Problem::Gateway(GatewayFault::ResponseTimeout),
            504,
            "http_response_timeout",
        ),
        (
            Problem::Unavailable {
                retry_after,
                reason: "Full.",
            },
            503,
            "destination_unavailable",
        ),
    ]
}

#[test]
fn every_problem_has_its_status_and_names_its_cause() {
    for (problem, status, error) in every() {
        let response = problem.response(None);
        assert_eq!(response.status(), status);
        assert_eq!(
            response.headers()["proxy-status"],
            format!("streamgate; error={error}")
        );
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(
            response.headers()["content-type"],
            "text/plain; charset=utf-8"
        );
        assert!(response.body().starts_with(status.to_string().as_bytes()));
    }
}

#[test]
fn statuses_have_the_fields_they_demand() {
    for (problem, status, _) in every() {
        let response = problem.response(None);
        let fields: &[(&str, &str)] = match status {
            401 => &[("www-authenticate", "Bearer")],
            405 => &[("allow", "GET, HEAD")],
            426 => &[
                ("sec-websocket-version", "13"),
                ("upgrade", "websocket"),
                ("connection", "upgrade"),
            ],
            429 if matches!(problem, Problem::TooFast { .. }) => &[
                ("retry-after", "2"),
                ("ratelimit-policy", "\"requests\";q=40;w=2"),
                ("ratelimit", "\"requests\";r=0;t=2"),
            ],
            429 | 503 => &[("retry-after", "2")],
            _ => &[],
        };
        for (name, value) in fields {
            assert_eq!(response.headers()[*name], value, "{status}");
        }
        assert_eq!(response.headers().len(), 4 + fields.len(), "{status}");
    }
}

#[test]
fn problem_json_is_as_rfc_9457_has_it() {
    let accept = HeaderValue::from_static("application/json");
    for (problem, status, _) in every() {
        let response = problem.response(Some(&accept));
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], "about:blank");
        assert!(body["title"].is_string() && body["detail"].is_string());
    }
}

#[test]
fn html_escapes_what_it_tells() {
    let accept = HeaderValue::from_static("text/html");
    let response = Problem::BadRequest("a & b < c").response(Some(&accept));
    let page = std::str::from_utf8(response.body()).unwrap();
    assert!(page.contains("<h1>400 Bad Request</h1>\n<p>a &amp; b &lt; c</p>"));
}
