//! Certificates that run out: told in the log in time, again and again, for nobody may be looking at the metrics.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::config::model::{Certificate, Config};

/// How often it is told. At the start and at a reload the configuration's own warnings tell it.
const PAUSE: Duration = Duration::from_secs(12 * 3600);

/// When to look next.
#[derive(Debug)]
pub(super) struct Expiry {
    next: Instant,
}

impl Expiry {
    /// Looks half a day from now.
    pub(super) fn new() -> Self {
        Self {
            next: Instant::now() + PAUSE,
        }
    }

    /// Returns when it is time to look.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn due(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    /// Tells of those that run out soon.
    pub(super) fn tell(&mut self, config: &Config) {
        self.next = Instant::now() + PAUSE;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
        for certificate in &config.tls.certificates {
            if let Some(left) = certificate.runs_out(now) {
                tell(certificate, left);
            }
        }
    }
}

fn tell(certificate: &Certificate, left: i64) {
    let name = certificate.names.first().unwrap_or(&certificate.origin);
    let (file, days) = (&certificate.origin, left.div_euclid(24 * 3600));
    if left < 0 {
        tracing::warn!(name, file, "a certificate has expired");
        return;
    }
    tracing::warn!(name, file, days, "a certificate expires soon");
}
