//! streamgate.
pub mod http;
pub mod lifecycle;
pub mod net;
pub mod observe;
pub mod route;
pub mod stream;
pub mod tls;
pub mod upstream;
