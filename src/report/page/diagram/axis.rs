//! Where moments are: in their order, at distances that grow with the logarithm of the time between them.

use super::{LEFT, RIGHT, WIDTH};
use crate::report::page::messages::Message;
use crate::report::results::{FaultRow, ProofRow, Results};

/// How much room a message's moment takes, where one of an operation takes 1.
const OF_MESSAGE: f64 = 0.4;

/// Moments in their order, with a place for each.
pub(super) struct Axis {
    places: Vec<(f64, f64)>,
}

impl Axis {
    /// Of the operations and the messages, and of what faults began or ended between them.
    pub(super) fn new(results: &Results, ops: &[&ProofRow], messages: &[&Message]) -> Self {
        let of_ops = ops.iter().flat_map(|op| [Some(op.invoked_ms), op.returned_ms]).flatten();
        let of_messages =
            messages.iter().flat_map(|message| [Some(message.sent_ms), message.received_ms]).flatten();
        let mut moments: Vec<(f64, f64)> = of_ops.map(|ms| (ms, 1.0)).collect();
        moments.extend(of_messages.map(|ms| (ms, OF_MESSAGE)));
        let first = moments.iter().map(|(ms, _)| *ms).fold(f64::INFINITY, f64::min);
        let last = moments.iter().map(|(ms, _)| *ms).fold(f64::NEG_INFINITY, f64::max);
        let edges = results.faults.iter().flat_map(|fault| [Some(fault.began_ms), fault.ended_ms]).flatten();
        moments.extend(edges.map(|ms| (ms as f64, 1.0)).filter(|(ms, _)| first < *ms && *ms < last));
        // Of the same moment the one that takes most room.
        moments.sort_by(|one, other| one.0.total_cmp(&other.0).then(other.1.total_cmp(&one.1)));
        moments.dedup_by_key(|(ms, _)| *ms);
        let mut sums = vec![0.0];
        for pair in moments.windows(2) {
            let step = pair[1].1 + (1.0 + (pair[1].0 - pair[0].0)).ln();
            sums.push(sums.last().copied().unwrap_or(0.0) + step);
        }
        let whole = sums.last().copied().unwrap_or(0.0).max(1.0);
        let room = WIDTH - LEFT - RIGHT - 40.0;
        let place = |((ms, _), sum): ((f64, f64), f64)| (ms, LEFT + 20.0 + room * sum / whole);
        Axis { places: moments.into_iter().zip(sums).map(place).collect() }
    }

    /// Where `ms` is: the last known moment that is not after it, else the edge.
    pub(super) fn x(&self, ms: f64) -> f64 {
        let after = self.places.partition_point(|(moment, _)| *moment <= ms);
        match after.checked_sub(1) {
            Some(at) => self.places[at].1,
            None => LEFT,
        }
    }

    /// Faults in force at some moment of the picture: label, from, to.
    pub(super) fn faults<'a>(&self, results: &'a Results) -> Vec<(&'a str, f64, f64)> {
        let (Some(first), Some(last)) = (self.places.first(), self.places.last()) else { return Vec::new() };
        let inside = results.faults.iter().filter(|fault| {
            (fault.began_ms as f64) <= last.0 && fault.ended_ms.is_none_or(|ms| ms as f64 >= first.0)
        });
        let place = |fault: &'a FaultRow| {
            let from = self.x(fault.began_ms as f64);
            let to = fault.ended_ms.map(|ms| ms as f64).filter(|ms| *ms <= last.0);
            (&*fault.label, from, to.map_or(WIDTH - 8.0, |ms| self.x(ms)))
        };
        inside.take(8).map(place).collect()
    }

    /// Moments that have room for their name.
    pub(super) fn ticks(&self) -> Vec<(f64, f64)> {
        let mut shown: Vec<(f64, f64)> = Vec::new();
        for place in &self.places {
            if shown.last().is_none_or(|(_, x)| place.1 - x > 80.0) {
                shown.push(*place);
            }
        }
        shown
    }
}
