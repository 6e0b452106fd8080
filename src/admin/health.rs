//! How the process is: `/healthz` for whoever would restart it, `/readyz` for whoever sends it clients.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::serve::text;

/// 200: whoever can answer lives.
pub(super) fn alive() -> Response<Full<Bytes>> {
    text(StatusCode::OK, "ok\n")
}

/// 200 while clients are taken, 503 once it drains.
pub(super) fn ready(is_draining: bool) -> Response<Full<Bytes>> {
    if is_draining {
        return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    text(StatusCode::OK, "ready\n")
}
