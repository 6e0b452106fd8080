//! streamgate.
pub mod config;
pub mod net;
pub mod route;
