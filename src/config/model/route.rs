//! What a route is called, and which requests it is for.

use std::sync::Arc;

use http::Method;

use crate::config::model::Route;
use crate::route::Rule;

impl Route {
    /// Which requests it is for.
    #[must_use]
    pub fn rule(&self) -> Rule {
        Rule {
            host: self.host.clone(),
            path: self.path.clone(),
            methods: self.methods.clone(),
        }
    }

    /// What tells it from every other route, in this configuration and the next: its name, and the methods where it lists
    /// some, for another route may have the same host and path with others.
    #[must_use]
    pub fn key(&self) -> Arc<str> {
        if self.methods.is_empty() {
            return self.name.clone();
        }
        let mut methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        methods.sort_unstable();
        format!("{} ({})", self.name, methods.join(", ")).into()
    }
}
