//! The operator's own pages for the errors that streamgate makes.
//!
//! Owns which page stands for a status and a client. They are held in memory: an error must not wait for a disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use crate::http::accept::{self, Form};

/// Pages by status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages(BTreeMap<Statuses, Vec<Page>>);

/// Which errors a page is for. A single status goes before its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statuses {
    /// `502`
    One(u16),
    /// `"5xx"`, by its first digit.
    Class(u16),
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What it is, which `Accept` chooses by.
    pub form: Form,
    /// Its bytes.
    pub body: Bytes,
}

impl ErrorPages {
    /// Sets the pages for `statuses`, in the order of preference; an empty list is none.
    pub fn insert(&mut self, statuses: Statuses, pages: Vec<Page>) {
        if !pages.is_empty() {
            self.0.insert(statuses, pages);
        }
    }

    /// The page for `status` that fits `accept` best. A lone page is for everybody.
    pub(super) fn find(&self, status: StatusCode, accept: Option<&HeaderValue>) -> Option<&Page> {
        let status = status.as_u16();
        let pages = self
            .0
            .get(&Statuses::One(status))
            .or_else(|| self.0.get(&Statuses::Class(status / 100)))?;
        let forms: Vec<Form> = pages.iter().map(|page| page.form).collect();
        let form = accept::form_of(&forms, accept);
        pages
            .iter()
            .find(|page| Some(page.form) == form)
            .or_else(|| pages.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_goes_before_its_class_and_accept_chooses_among_its_pages() {
        let page = |form, text: &'static str| Page {
            form,
            body: Bytes::from_static(text.as_bytes()),
        };
        let mut pages = ErrorPages::default();
        pages.insert(Statuses::Class(5), vec![page(Form::Text, "class")]);
        pages.insert(
            Statuses::One(502),
            vec![page(Form::Html, "html"), page(Form::Json, "json")],
        );
        for (status, accept, expected) in [
            (502, "text/html", Some("html")),
            (502, "application/json", Some("json")),
            (502, "*/*", Some("html")),
            (502, "text/plain", Some("html")),
            (502, "image/png", Some("html")),
            (504, "text/html", Some("class")),
            (404, "text/html", None),
        ] {
            let accept = HeaderValue::from_static(accept);
            let found = pages.find(StatusCode::from_u16(status).unwrap(), Some(&accept));
            let found = found.map(|page| std::str::from_utf8(&page.body).unwrap());
            assert_eq!(found, expected, "{status} {accept:?}");
        }
    }
}
