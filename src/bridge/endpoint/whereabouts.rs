//! Where subscribers of this worker stand, for whoever lists them.
//!
//! Invariant: each member is looked at once, whoever is asked for, and its place is found out only where it is wanted.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use crate::bridge::cursor::EventId;
use crate::observe::streams::Row;

use super::sweep;

/// A subscriber's place in its channel's log.
#[derive(Debug, Clone, Copy)]
pub struct Whereabouts {
    /// The event that it was given last, or that it passed over; `None`: it has not begun.
    pub cursor: Option<EventId>,
    /// How old the first event is that it has not got; `None` while it gets the past.
    pub lag: Option<Duration>,
}

/// The places of those of this worker's subscribers whose rows are wanted, by their rows. A row of another worker is not found.
#[must_use]
pub fn whereabouts<'a>(
    wanted: impl Iterator<Item = &'a Rc<Row>>,
) -> HashMap<*const Row, Whereabouts> {
    let mut found: HashMap<*const Row, Option<Whereabouts>> =
        wanted.map(|row| (Rc::as_ptr(row), None)).collect();
    if !found.is_empty() {
        sweep::each_member(|row, place| {
            if let Some(entry) = found.get_mut(&Rc::as_ptr(row)) {
                *entry = Some(place());
            }
        });
    }
    let known = found.into_iter();
    known
        .filter_map(|(row, place)| Some((row, place?)))
        .collect()
}
