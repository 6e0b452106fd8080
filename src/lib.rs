//! streamgate: a TLS-terminating reverse proxy for real-time web traffic.
//!
//! The way of a request, in the order and the words of the code:
//!
//! ```text
//! socket -> accept -> TLS (SNI, ALPN) -> HTTP/1.1 or HTTP/2 -> route -> guard -> action -> stream -> log line
//! ```
//!
//! 1. [`server`] starts a worker a core; each has a runtime, listening sockets, and connections of its own.
//! 2. [`listen`] accepts, takes a permit, does the TLS handshake ([`tls`]) and lets hyper read the request.
//! 3. [`service`] is the way of one request on one screen: find its route ([`route`]) in the [`snapshot`] in force,
//!    and do what the route says.
//! 4. [`forward`] passes it to a server ([`upstream`]) and the response back; [`bridge`] serves a feed's events.
//! 5. A long stream (a WebSocket, an event stream, a subscription) then leaves hyper: [`stream`] has all life after the
//!    response's head, whatever the protocol.
//!
//! Beside it, [`admin`] shows the operator what [`observe`] has counted.
//!
//! # Layers
//!
//! A module uses the lines below it, and on its own line only what stands to its left; a test holds it to that.
//!
//! ```text
//! 7  server  cli  demo  doctor  packaging  main
//! 6  listen  admin
//! 5  service
//! 4  snapshot
//! 3  respond  guard  forward  bridge
//! 2  upstream  stream
//! 1  tls  config  observe  limits  lifecycle
//! 0  net  http  json  sse  websocket  route  credentials    types and codecs: no sockets, no tasks, no clock, no config
//! ```

pub mod server;

pub mod cli;
pub mod demo;
pub mod doctor;
#[cfg(feature = "packaging")]
pub mod packaging;

pub mod admin;
pub mod listen;

pub mod service;

pub mod snapshot;

pub mod bridge;
pub mod forward;
pub mod guard;
pub mod respond;

pub mod stream;
pub mod upstream;

pub mod config;
pub mod lifecycle;
pub mod limits;
pub mod observe;
pub mod tls;

pub mod credentials;
pub mod http;
pub mod json;
pub mod net;
pub mod route;
pub mod sse;
pub mod websocket;
