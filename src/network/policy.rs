//! What a directed link does to the bytes and datagrams that flow over it.

use std::time::{Duration, Instant};

use crate::fault::Toll;

/// Instants end somewhere: beyond a year is for ever.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The whole policy of one directed link: the fold of every [`Toll`] in force on it.
///
/// It belongs to a direction of *byte flow*: requests from A to B obey (A, B) and the answers obey (B, A), whoever
/// opened the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinkPolicy {
    /// Bytes are held in silence, delivered in order when it is lifted. Datagrams are lost, those on their way included.
    pub cut: bool,
    /// Open connections are reset when it begins, new ones while it is in force. Datagrams know nothing of it.
    pub reset: bool,
    /// Added to each byte's way.
    pub delay: Duration,
    /// Added on top, uniform from zero to this. Never changes the order of bytes; datagrams overtake each other.
    pub jitter: Duration,
    /// At most so many bytes a second, over all connections of the link together; zero counts as 1.
    pub rate: Option<u64>,
    /// What befalls datagrams alone.
    pub mishaps: Mishaps,
}

/// What befalls datagrams, each with a probability from 0 to 1. Streams know none of it: their ends would send again
/// what was lost, and check what was damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mishaps {
    /// Lost.
    pub drop: f64,
    /// Delivered twice.
    pub duplicate: f64,
    /// Held back until later ones have overtaken it.
    pub reorder: f64,
    /// How long one waits to be overtaken, at most.
    pub reorder_within: Duration,
    /// Delivered with some bits flipped. A real network's checksum catches nearly all of it; what a receiver does with the
    /// rest is what is to be found out.
    pub corrupt: f64,
}

impl Mishaps {
    /// Nothing befalls anything.
    pub const NONE: Self =
        Self { drop: 0.0, duplicate: 0.0, reorder: 0.0, reorder_within: Duration::ZERO, corrupt: 0.0 };
}

/// The probability that one of two independent mishaps happens.
fn either(one: f64, other: f64) -> f64 {
    1.0 - (1.0 - one) * (1.0 - other)
}

impl LinkPolicy {
    /// The policy of overlapping faults: delays and jitters add up, the lowest rate holds, one cut cuts, one reset
    /// resets, and mishaps happen each by itself.
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
                Toll::Drop { share } => policy.mishaps.drop = either(policy.mishaps.drop, share),
                Toll::Duplicate { share } => {
                    policy.mishaps.duplicate = either(policy.mishaps.duplicate, share);
                }
                Toll::Reorder { share, within } => {
                    policy.mishaps.reorder = either(policy.mishaps.reorder, share);
                    policy.mishaps.reorder_within = policy.mishaps.reorder_within.max(within);
                }
                Toll::Corrupt { share } => policy.mishaps.corrupt = either(policy.mishaps.corrupt, share),
            }
        }
        policy
    }

    /// Whether everything passes as if there were no policy.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Whether bytes do, whatever befalls datagrams.
    pub(super) fn spares_bytes(&self) -> bool {
        Self { mishaps: Mishaps::NONE, ..*self }.is_plain()
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
        let expected = LinkPolicy {
            cut: true,
            reset: false,
            delay: ms(25),
            jitter: ms(1),
            rate: Some(900),
            mishaps: Mishaps::NONE,
        };
        assert_eq!(both, expected);
        assert!(LinkPolicy::compose(&[Toll::Reset]).reset);
        assert!(LinkPolicy::compose(&[]).is_plain());
    }

    #[test]
    fn mishaps_happen_each_by_itself() {
        let ms = Duration::from_millis;
        let policy = LinkPolicy::compose(&[
            Toll::Drop { share: 0.5 },
            Toll::Reorder { share: 0.25, within: ms(9) },
            Toll::Drop { share: 0.5 },
            Toll::Reorder { share: 1.0, within: ms(4) },
            Toll::Corrupt { share: 0.25 },
        ]);
        let expected =
            Mishaps { drop: 0.75, duplicate: 0.0, reorder: 1.0, reorder_within: ms(9), corrupt: 0.25 };
        assert_eq!(policy.mishaps, expected);
        assert!(!policy.is_plain());
    }

    #[test]
    fn a_delay_without_end_does_not_overflow() {
        let forever = Toll::Delay { by: Duration::MAX, jitter: Duration::MAX };
        assert_eq!(LinkPolicy::compose(&[forever, forever]).delay, Duration::MAX);
    }
}
