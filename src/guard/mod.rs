//! What a request has to pass between its route and that route's action.

pub mod auth;
pub mod cors;
pub mod origin;
pub mod rate;
pub mod websocket;
