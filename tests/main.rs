//! What streamgate promises, tested from outside: the real program, real sockets, one file a theme.
//!
//! `harness` starts the program ([`harness::Gate`]) between backends that a test plays by hand ([`harness::Backend`])
//! and clients that speak the wire themselves. A test's name is the behaviour it pins. No wait is without a
//! limit, and what has to happen is waited for and never slept through.
#![allow(
    unreachable_pub,
    reason = "nothing of a test program is reached from outside"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on ends there, and says where"
)]
#![allow(
    clippy::large_futures,
    reason = "a test is one future, and lives on one stack"
)]

mod harness;

mod actions;
mod admin;
mod admin_access;
mod admin_api;
mod admin_close;
mod admin_live;
mod auth;
mod auth_browser;
mod auth_forward;
mod auth_keys;
mod auth_recheck;
mod auth_tickets;
mod bridge;
mod bridge_bad_feeds;
mod bridge_browser;
mod bridge_client;
mod bridge_crowd;
mod bridge_event_source;
mod bridge_faults;
mod bridge_feeds;
mod bridge_metrics;
mod bridge_posts;
mod bridge_publish;
mod bridge_real_feeds;
mod bridge_resume;
mod bridge_sessions;
mod bridge_state;
mod bridge_websocket;
mod browser;
mod clients;
mod config;
mod connections;
mod dashboard;
mod docs;
mod doctor;
mod drain;
mod errors;
mod event_stream;
mod event_stream_life;
mod event_stream_resume;
mod explain;
mod firefox;
mod forward;
mod forward_faults;
mod forward_h2;
mod grpc;
mod headers;
mod http2_floods;
mod layering;
mod limits;
mod limits_users;
mod log;
mod metrics;
mod notify;
mod origins;
mod packaging;
mod prometheus;
mod proxy_protocol;
mod raw_requests;
mod reload;
mod reload_asked;
mod reload_crowd;
mod reload_files;
mod reload_removal;
mod reload_settings;
mod restart;
mod restart_crowd;
mod restart_faults;
mod routing;
mod schema;
mod sse_browser;
mod sse_clients;
mod sse_curl;
mod sse_resume;
mod sse_stalled;
mod streams_command;
mod tls;
mod tls_names;
mod trace;
#[cfg(feature = "otlp")]
mod trace_export;
mod trust;
mod tunnel;
mod tunnel_ends;
mod tunnel_faults;
mod tunnel_h2;
mod tunnel_vanished;
mod uploads;
mod upstream_balance;
mod upstream_dns;
mod upstream_h2;
mod upstream_health;
mod upstream_restart;
mod upstream_retry;
mod upstream_transport;
mod websocket_apps;
