//! Server-sent events without I/O (WHATWG HTML, chapter "Server-sent events").

pub mod encode;
