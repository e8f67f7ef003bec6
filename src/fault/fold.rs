//! The state the system should be in: a fold over the demands in force now.

use std::collections::BTreeMap;

use super::{Demand, HowDown, Toll};

/// What one node should be doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeDesire {
    /// Ended and staying down, and how. A kill outranks a stop.
    pub down: Option<HowDown>,
    /// Stopped by SIGSTOP.
    pub paused: bool,
}

/// What every node and link named by a demand in force should be doing; those not named are left in peace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// By node id.
    pub nodes: BTreeMap<String, NodeDesire>,
    /// By (from, to).
    pub links: BTreeMap<(String, String), Vec<Toll>>,
}

/// Folds the demands in force. `asleep` says of a [`Demand::Slow`] (by its position) whether its duty cycle is in
/// the stopped part just now.
///
/// The order of the demands does not matter to the result but for the order of tolls, which compose commutatively.
pub fn fold<'a>(demands: impl IntoIterator<Item = (&'a Demand, bool)>) -> Desired {
    let mut desired = Desired::default();
    for (demand, asleep) in demands {
        match demand {
            Demand::Down { node, how } => {
                let down = &mut desired.nodes.entry(node.clone()).or_default().down;
                *down = Some(match (*down, *how) {
                    (Some(HowDown::Kill), _) | (_, HowDown::Kill) => HowDown::Kill,
                    _ => HowDown::Stop,
                });
            }
            Demand::Paused { node } => desired.nodes.entry(node.clone()).or_default().paused = true,
            Demand::Slow { node, .. } => desired.nodes.entry(node.clone()).or_default().paused |= asleep,
            Demand::Link { from, to, toll } => {
                desired.links.entry((from.clone(), to.clone())).or_default().push(*toll);
            }
        }
    }
    desired
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn down(node: &str, how: HowDown) -> Demand {
        Demand::Down { node: node.into(), how }
    }

    #[test]
    fn overlapping_demands_compose_and_lift_independently() {
        let kill = down("B", HowDown::Kill);
        let stop = down("B", HowDown::Stop);
        let pause = Demand::Paused { node: "B".into() };
        let all = fold([(&stop, false), (&kill, false), (&pause, false)]);
        assert_eq!(all.nodes["B"], NodeDesire { down: Some(HowDown::Kill), paused: true });
        let lifted = fold([(&stop, false), (&pause, false)]);
        assert_eq!(lifted.nodes["B"], NodeDesire { down: Some(HowDown::Stop), paused: true });
        assert_eq!(fold([]), Desired::default());
    }

    #[test]
    fn slow_pauses_only_while_asleep() {
        let slow = Demand::Slow { node: "A".into(), running: 0.5, period: Duration::from_millis(100) };
        assert!(fold([(&slow, true)]).nodes["A"].paused);
        assert!(!fold([(&slow, false)]).nodes["A"].paused);
    }

    #[test]
    fn tolls_of_one_link_gather() {
        let toll = |toll| Demand::Link { from: "A".into(), to: "C".into(), toll };
        let (cut, slow) = (toll(Toll::Cut), toll(Toll::Throttle { rate: 10 }));
        let both = fold([(&cut, false), (&slow, false)]);
        assert_eq!(both.links[&("A".into(), "C".into())], [Toll::Cut, Toll::Throttle { rate: 10 }]);
    }
}
