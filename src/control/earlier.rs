//! Owns waiting for requests that earlier generations have decided: what they write is copied as those generations say.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::operator::Operator;

/// Longer than a write takes; a WebSocket, which writes nothing that is copied, may last for days.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks; workers let go of a generation within a tick of 25 ms.
const INTERVAL: Duration = Duration::from_millis(10);

impl Operator {
    /// Waits until every request under way was decided by the generation in force, for a bounded time and once for each.
    ///
    /// A write that began before copies did may reach its primary after this has been compared, and would never be copied.
    pub(super) async fn outwait_earlier(&self) {
        let (publications, outwaited) = (&self.0.publications, &self.0.outwaited);
        let generation = publications.current().generation;
        let until = tokio::time::Instant::now() + PATIENCE;
        while outwaited.load(Ordering::Acquire) < generation && publications.is_earlier_under_way() {
            if tokio::time::Instant::now() >= until {
                tracing::warn!(
                    generation,
                    "requests of earlier generations go on; what they write may not be compared"
                );
                break;
            }
            tokio::time::sleep(INTERVAL).await;
        }
        outwaited.fetch_max(generation, Ordering::AcqRel);
    }
}
