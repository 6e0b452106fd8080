//! The flags of `streamgate doctor`, as they were typed.

use std::path::PathBuf;

use clap::Args;

/// Where `--serve` listens when nothing else is said.
pub const DEFAULT_SERVE: &str = "127.0.0.1:9190";

/// What to look at, and how.
#[derive(Debug, Args, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "flags of a command line are said or not"
)]
pub struct Doctor {
    /// What a browser would open: https://, http://, wss:// or ws://.
    #[arg(value_name = "URL", required_unless_present = "serve")]
    pub url: Option<String>,
    /// Only an event stream is expected there.
    #[arg(long, conflicts_with_all = ["websocket", "both"])]
    pub sse: bool,
    /// Only a WebSocket is expected there.
    #[arg(long, conflicts_with = "both")]
    pub websocket: bool,
    /// Both are expected there; else one is enough.
    #[arg(long)]
    pub both: bool,
    /// How long to listen, all of it: 1s to 1h. Without it 20s at most, and less where less will do.
    #[arg(long = "for", value_name = "TIME")]
    pub time: Option<String>,
    /// A field for every request, such as a cookie. It may stand there several times.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// Go on where the certificate is not trusted.
    #[arg(long)]
    pub insecure: bool,
    /// Trust the certificates of this PEM file, and no other.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Where this host is taken to be, with or without a port of its own.
    #[arg(long, value_name = "HOST:ADDRESS")]
    pub resolve: Option<String>,
    /// Print the whole result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Be an app to look at: events and a WebSocket that tell when they were sent.
    #[arg(
        long,
        value_name = "ADDRESS",
        num_args = 0..=1,
        default_missing_value = DEFAULT_SERVE,
        conflicts_with = "url"
    )]
    pub serve: Option<String>,
}
