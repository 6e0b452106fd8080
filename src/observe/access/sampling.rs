//! Which requests are written to the log, where not all are.
//!
//! A request that went well and was quick is written with the share that `[log] sample` says; its record has that share, so that
//! whoever counts knows how many it stands for. What somebody may look for is always written: what failed, what was cut off,
//! what was slow, and every stream. By the request's name: gates that share one (`X-Request-Id`) choose the same requests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::RequestId;
use crate::config::model::Sampling;

/// The rule in force, for the log is the process's too: the share as the bits of an `f64`, and the time in microseconds.
static SHARE: AtomicU64 = AtomicU64::new(ALL);
static SLOW: AtomicU64 = AtomicU64::new(0);

/// 1.0
const ALL: u64 = 0x3ff0_0000_0000_0000;

/// From now on this holds, for requests that end.
pub(crate) fn apply(rule: Sampling) {
    let slow = u64::try_from(rule.slow.as_micros()).unwrap_or(u64::MAX);
    SHARE.store(rule.share.to_bits(), Ordering::Relaxed);
    SLOW.store(slow, Ordering::Relaxed);
}

/// What is decided by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// It was answered, by what was asked, to the end, and without an error.
    pub(super) is_well: bool,
    /// Until the head of the response.
    pub(super) took: Duration,
}

/// What becomes of a request's record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Verdict {
    /// It is written, and stands for itself.
    Write,
    /// It is written, and stands for others too: this is the share that is written.
    Sample(f64),
    /// It is left out.
    Skip,
}

/// What becomes of the record of the request that is called `id`.
pub(super) fn judge(id: &RequestId, outcome: Outcome) -> Verdict {
    let share = SHARE.load(Ordering::Relaxed);
    if share == ALL {
        return Verdict::Write;
    }
    let slow = Duration::from_micros(SLOW.load(Ordering::Relaxed));
    let rule = Sampling {
        share: f64::from_bits(share),
        slow,
    };
    by(rule, id, outcome)
}

fn by(rule: Sampling, id: &RequestId, outcome: Outcome) -> Verdict {
    if !outcome.is_well || outcome.took >= rule.slow {
        return Verdict::Write;
    }
    // The upper 53 bits: as many as an `f64` tells apart.
    let place = (spread(id.as_str()) >> 11) as f64 / (1_u64 << 53) as f64;
    if place < rule.share {
        Verdict::Sample(rule.share)
    } else {
        Verdict::Skip
    }
}

/// FNV-1a, and a last mixing (MurmurHash3's), for its upper bits hardly know the last bytes.
fn spread(name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Sampling = Sampling {
        share: 0.1,
        slow: Duration::from_secs(1),
    };
    const WELL: Outcome = Outcome {
        is_well: true,
        took: Duration::from_millis(5),
    };

    fn written(ids: impl Iterator<Item = RequestId>) -> usize {
        ids.filter(|id| by(RULE, id, WELL) != Verdict::Skip).count()
    }

    #[test]
    fn about_the_share_is_written_whoever_made_the_names() {
        let ours = written((0..10_000).map(|_| RequestId::random()));
        assert!((850..1150).contains(&ours), "{ours}");
        let theirs = (0..10_000)
            .map(|number: u32| RequestId::told(format!("req-{number:06}").as_bytes()).unwrap());
        let theirs = written(theirs);
        assert!((850..1150).contains(&theirs), "{theirs}");
    }

    #[test]
    fn what_somebody_may_look_for_is_always_written() {
        let slow = Outcome {
            took: RULE.slow,
            ..WELL
        };
        let failed = Outcome {
            is_well: false,
            ..WELL
        };
        let none = Sampling { share: 0.0, ..RULE };
        for _ in 0..100 {
            let id = RequestId::random();
            assert_eq!(by(none, &id, slow), Verdict::Write);
            assert_eq!(by(none, &id, failed), Verdict::Write);
            assert_eq!(by(none, &id, WELL), Verdict::Skip);
        }
    }

    #[test]
    fn the_same_name_has_the_same_fate() {
        let id = RequestId::random();
        let first = by(RULE, &id, WELL);
        assert!((0..10).all(|_| by(RULE, &id, WELL) == first));
    }
}
