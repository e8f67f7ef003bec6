//! What a directed link does to the bytes that flow over it.

use std::time::{Duration, Instant};

use crate::fault::Toll;

/// Instants end somewhere: beyond a year is for ever.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The whole policy of one directed link: the fold of every [`Toll`] in force on it.
///
/// It belongs to a direction of *byte flow*: requests from A to B obey (A, B) and the answers obey (B, A), whoever
/// opened the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkPolicy {
    /// Bytes are held in silence, delivered in order when it is lifted.
    pub cut: bool,
    /// Open connections are reset when it begins, new ones while it is in force.
    pub reset: bool,
    /// Added to each byte's way.
    pub delay: Duration,
    /// Added on top, uniform from zero to this; never changes the order.
    pub jitter: Duration,
    /// At most so many bytes a second, over all connections of the link together; zero counts as 1.
    pub rate: Option<u64>,
}

impl LinkPolicy {
    /// The policy of overlapping faults: delays and jitters add up, the lowest rate holds, one cut cuts, one reset
    /// resets.
    pub fn compose(tolls: &[Toll]) -> Self {
        let mut policy = Self::default();
        for toll in tolls {
            match *toll {
                Toll::Cut => policy.cut = true,
                Toll::Reset => policy.reset = true,
                Toll::Delay { by, jitter } => {
                    policy.delay = policy.delay.saturating_add(by);
                    policy.jitter = policy.jitter.saturating_add(jitter);
                }
                Toll::Throttle { rate } => {
                    policy.rate = Some(policy.rate.map_or(rate, |lowest| lowest.min(rate)));
                }
            }
        }
        policy
    }

    /// Whether bytes pass as if there were no policy.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// When what left at `sent` arrives, with its share of the jitter.
    pub(super) fn arrival(&self, sent: Instant, jitter: Duration) -> Instant {
        sent + self.delay.saturating_add(jitter).min(FOR_EVER)
    }

    /// When what is on its way arrives under this policy: a shorter delay holds for it too, a longer one does not.
    pub(super) fn sooner(&self, sent: Instant, due: Option<Instant>) -> Option<Instant> {
        due.map(|due| due.min(self.arrival(sent, self.jitter)))
    }

    pub(super) fn is_late(&self) -> bool {
        !self.delay.is_zero() || !self.jitter.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_tolls_compose() {
        let ms = Duration::from_millis;
        let both = LinkPolicy::compose(&[
            Toll::Delay { by: ms(5), jitter: ms(1) },
            Toll::Throttle { rate: 900 },
            Toll::Delay { by: ms(20), jitter: ms(0) },
            Toll::Throttle { rate: 1000 },
            Toll::Cut,
            Toll::Cut,
        ]);
        let expected = LinkPolicy { cut: true, reset: false, delay: ms(25), jitter: ms(1), rate: Some(900) };
        assert_eq!(both, expected);
        assert!(LinkPolicy::compose(&[Toll::Reset]).reset);
        assert!(LinkPolicy::compose(&[]).is_plain());
    }

    #[test]
    fn a_delay_without_end_does_not_overflow() {
        let forever = Toll::Delay { by: Duration::MAX, jitter: Duration::MAX };
        assert_eq!(LinkPolicy::compose(&[forever, forever]).delay, Duration::MAX);
    }
}
