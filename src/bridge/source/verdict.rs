//! What the loss of its feed means for a session: it has one connection in its life.

use crate::bridge::session::Ending;
use crate::config::model::{Bridge, Verdict};

use super::fault::Fault;

/// How a session ends whose open feed was lost by `fault`.
pub(super) fn of_loss(fault: &Fault, config: &Bridge) -> Ending {
    let code = match fault {
        Fault::Closed(code) => code,
        _ => return Ending::Lost,
    };
    match config.close_map.get(code) {
        Some(verdict) => Ending::Final {
            code: Some(*code),
            verdict: *verdict,
        },
        None => Ending::Lost,
    }
}

/// How a session ends whose feed could not be opened. A feed that answers 401, 403 or 404 means its client, which it was
/// asked for, and an event source's 204 its end; anything else may pass.
pub(super) fn of_refusal(fault: &Fault) -> Ending {
    if matches!(fault, Fault::Finished) {
        // A source of events that answers 204 has no more for this client, now or later.
        return Ending::Final {
            code: None,
            verdict: Verdict::Done,
        };
    }
    let verdict = match fault {
        Fault::Status(status) => Verdict::of_status(status.as_u16()),
        _ => None,
    };
    let is_meant = |verdict: &Verdict| *verdict != Verdict::Done;
    match verdict.filter(is_meant) {
        Some(verdict) => Ending::Final {
            code: None,
            verdict,
        },
        None => Ending::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::tests::config;

    #[test]
    fn only_codes_of_the_map_are_final() {
        let mut config = config(&[]);
        config.close_map.insert(4401, Verdict::Unauthorized);
        let closed = |code, verdict| Ending::Final {
            code: Some(code),
            verdict,
        };
        let table = [
            (Fault::Closed(1000), closed(1000, Verdict::Done)),
            (Fault::Closed(4401), closed(4401, Verdict::Unauthorized)),
            (Fault::Closed(4400), Ending::Lost),
            (Fault::Closed(1001), Ending::Lost),
            (Fault::Closed(1006), Ending::Lost),
            (Fault::NoPong, Ending::Lost),
            (Fault::InvalidUtf8, Ending::Lost),
        ];
        for (fault, expected) in table {
            assert_eq!(of_loss(&fault, &config), expected, "{fault}");
        }
    }

    #[test]
    fn a_refusal_that_means_the_client_is_final() {
        for status in [101, 204, 301, 400, 401, 403, 404, 410, 429, 500, 503] {
            let status = http::StatusCode::from_u16(status).unwrap();
            let found = of_refusal(&Fault::Status(status));
            let is_final = [401, 403, 404, 410].contains(&status.as_u16());
            assert_eq!(found != Ending::Refused, is_final, "{status}");
        }
        assert_eq!(of_refusal(&Fault::Request), Ending::Refused);
        let ended = Ending::Final {
            code: None,
            verdict: Verdict::Done,
        };
        assert_eq!(of_refusal(&Fault::Finished), ended);
    }
}
