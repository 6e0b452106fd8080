//! `[errors]`: every page is there.

use std::path::Path;

use crate::config::check::{Context, file};
use crate::config::model::ErrorPages;
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::errors::Errors;
use crate::config::schema::scalar::Text;
use crate::http::accept::Form;
use crate::http::error_page::Page;

pub(crate) fn check(table: &Field<Errors>, context: &mut Context<'_>) -> ErrorPages {
    let mut pages = ErrorPages::default();
    for (statuses, files) in table.value().into_iter().flat_map(|errors| &errors.0) {
        let read = files.iter().filter_map(|file| page(file, context));
        pages.insert(*statuses, read.collect());
    }
    pages
}

fn page(name: &Located<Text>, context: &mut Context<'_>) -> Option<Page> {
    let body = file::read(name, context);
    let extension = Path::new(&name.value.value).extension();
    let form = extension
        .and_then(|extension| extension.to_str())
        .and_then(Form::of_extension);
    if form.is_none() {
        let message = format!("`{}` does not end like a page", context.typed(name.place));
        let hint = "`.html`, `.json` and `.txt` are known";
        context.diagnostics.error(name.place, message).hint(hint);
    }
    Some(Page {
        form: form?,
        body: body?,
    })
}
