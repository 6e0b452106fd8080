//! `[admin]`: what the operator's own tools see.

use crate::config::schema::feed::Secret;
use crate::config::schema::scalar::Text;
use crate::config::schema::table::table;
use crate::net::ListenAddr;

table! {
    /// `[admin]`: a listener for the operator's own tools, in clear text: `/metrics`, `/healthz`, `/readyz` and the API at `/api/`.
    Admin, "`[admin]`", "a table, `[admin]`" {
        /// Its address, such as `"127.0.0.1:9180"` or `"systemd:NAME"`. Everyone who reaches it may read: keep it on loopback, or
        /// behind a firewall. Default: there is none.
        address: ListenAddr,
        /// What a request over TCP has to show for anything below `/api/` (`Authorization: Bearer TOKEN`), and who shows it may also
        /// change things. At least 16 visible ASCII characters, or `{ file = "…" }`, `{ credential = "…" }`. Default: none; then the API
        /// is for this machine alone, over TCP only to be read.
        token: Secret,
        /// A Unix socket, over which `streamgate reload` and `streamgate streams` ask; only this user and root may use it. Its path starts from
        /// this file. Default: `admin.sock` in the runtime directory where systemd gives one (`RuntimeDirectory=`), else there
        /// is none.
        socket: Text,
    }
}
