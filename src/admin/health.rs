//! How the process is: `/healthz` for whoever would restart it, `/readyz` for whoever sends it clients.

use http::StatusCode;

use super::answer::{Answer, text};

/// 200: whoever can answer lives.
pub(super) fn alive() -> Answer {
    text(StatusCode::OK, "ok\n")
}

/// 200 while clients are taken, 503 once it drains.
pub(super) fn ready(is_draining: bool) -> Answer {
    if is_draining {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    text(StatusCode::OK, "ready\n")
}
