//! Something bad that was done to servers: when it was noticed, when it was overcome, and which failures it excuses.

use std::time::Duration;

use lb_core::time::Instant;

/// After a server is back, failures are not excused for longer than this.
const GRACE: Duration = Duration::from_secs(1);

/// Something bad that was done to servers, and how it went on.
#[derive(Debug)]
pub(super) struct Incident {
    pub(super) name: String,
    at: Instant,
    pub(super) victims: Vec<Victim>,
}

/// One server's part in it.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) server: usize,
    /// When the balancer took it out.
    pub(super) noticed: Option<Instant>,
    /// When it could work again.
    pub(super) revived: Option<Instant>,
    /// When it first answered a request that was sent after that.
    pub(super) answered: Option<Instant>,
}

impl Incident {
    /// It happens now to these servers.
    pub(super) fn new(name: String, victims: &[usize], now: Instant) -> Self {
        let victim = |&server| Victim {
            server,
            noticed: None,
            revived: None,
            answered: None,
        };
        Self {
            name,
            at: now,
            victims: victims.iter().map(victim).collect(),
        }
    }

    /// From the incident until the balancer had taken out every victim.
    pub(super) fn noticed_after(&self) -> Option<Duration> {
        let after = |victim: &Victim| Some(victim.noticed?.saturating_since(self.at));
        longest(self.victims.iter().map(after))
    }

    /// From revival until every victim answered again.
    pub(super) fn back_after(&self) -> Option<Duration> {
        let after = |victim: &Victim| Some(victim.answered?.saturating_since(victim.revived?));
        longest(self.victims.iter().map(after))
    }
}

/// The longest of all, if all are known.
fn longest(mut times: impl Iterator<Item = Option<Duration>>) -> Option<Duration> {
    times.try_fold(Duration::ZERO, |longest, time| Some(longest.max(time?)))
}

/// The time without any server: failures in it are nobody's fault.
#[derive(Debug)]
pub(super) struct Outage {
    from: Instant,
    /// When the first server was started again.
    pub(super) revived: Option<Instant>,
    /// When the first answer came.
    pub(super) until: Option<Instant>,
}

impl Outage {
    /// Nobody is there from now on.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            from: now,
            revived: None,
            until: None,
        }
    }

    fn end(&self) -> Option<Instant> {
        let grace = self.revived.map(|revived| revived + GRACE);
        self.until.into_iter().chain(grace).min()
    }

    /// Whether a request of that life could have met nobody.
    pub(super) fn covers(&self, sent: Instant, ended: Instant) -> bool {
        ended >= self.from && self.end().is_none_or(|end| sent <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn an_incident_lasts_as_long_as_its_slowest_victim() {
        let mut incident = Incident::new("both".to_owned(), &[0, 2], at(100));
        assert_eq!(
            (incident.noticed_after(), incident.back_after()),
            (None, None)
        );
        incident.victims[0].noticed = Some(at(110));
        assert_eq!(incident.noticed_after(), None);
        incident.victims[1].noticed = Some(at(130));
        assert_eq!(incident.noticed_after(), Some(Duration::from_millis(30)));
        for (victim, answered) in incident.victims.iter_mut().zip([900, 700]) {
            victim.revived = Some(at(500));
            victim.answered = Some(at(answered));
        }
        assert_eq!(incident.back_after(), Some(Duration::from_millis(400)));
    }

    #[test]
    fn an_outage_covers_what_touches_it_and_ends_a_second_after_the_revival_at_the_latest() {
        let mut outage = Outage::new(at(1_000));
        assert!(!outage.covers(at(900), at(999)));
        assert!(outage.covers(at(900), at(1_000)));
        assert!(outage.covers(at(9_000), at(9_001)));
        outage.revived = Some(at(9_000));
        assert!(outage.covers(at(10_000), at(10_001)));
        assert!(!outage.covers(at(10_001), at(10_002)));
        outage.until = Some(at(9_100));
        assert!(!outage.covers(at(9_101), at(9_102)));
        outage.until = Some(at(20_000));
        assert!(!outage.covers(at(10_001), at(20_001)));
    }
}
