//! `[admin]`: what the operator's own tools see.

use crate::config::schema::scalar::Text;
use crate::config::schema::table::table;
use crate::net::ListenAddr;

table! {
    /// `[admin]`: a listener for the operator's own tools, in clear text: `/metrics`, `/healthz` and `/readyz`.
    Admin, "`[admin]`", "a table, `[admin]`" {
        /// Its address, such as `"127.0.0.1:9180"` or `"systemd:NAME"`. Everyone who reaches it may read: keep it on loopback, or
        /// behind a firewall. Default: there is none.
        address: ListenAddr,
        /// A Unix socket, over which `streamgate reload` asks for a change; only this user and root may use it. Its path starts from
        /// this file. Default: `admin.sock` in the runtime directory where systemd gives one (`RuntimeDirectory=`), else there
        /// is none.
        socket: Text,
    }
}
