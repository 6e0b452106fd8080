//! Server-sent events without I/O (WHATWG HTML, chapter "Server-sent events").
//!
//! A stream that passes through is followed, never decoded: [`boundary`] says where something of ours may be written,
//! [`position`] what a client would ask for after a break, [`bom`] takes the mark off a stream that is no longer the
//! first. A stream that is consumed goes through [`decode`], one that is produced through [`encode`].

pub mod bom;
pub mod boundary;
pub mod decode;
pub mod encode;
mod field;
pub mod position;
#[cfg(test)]
mod tests;
