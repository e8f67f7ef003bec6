//! The shapes of partitions: which directed links each cuts.

use super::kinds::Draw;

/// Directed pairs of nodes.
pub(in crate::fault) type Pairs = Vec<(String, String)>;

/// Every link between different groups, in both directions.
pub(in crate::fault) fn between(groups: &[Vec<String>]) -> Pairs {
    let mut cuts = Vec::new();
    for (mine, group) in groups.iter().enumerate() {
        for (theirs, other) in groups.iter().enumerate() {
            if mine != theirs {
                cuts.extend(
                    group.iter().flat_map(|from| other.iter().map(move |to| (from.clone(), to.clone()))),
                );
            }
        }
    }
    cuts
}

/// "A | B C".
pub(in crate::fault) fn show(groups: &[Vec<String>]) -> String {
    groups.iter().map(|group| group.join(" ")).collect::<Vec<_>>().join(" | ")
}

/// `chosen` and the rest, each in the workload's order; the rest may be empty.
pub(in crate::fault) fn split(nodes: &[String], chosen: &[String]) -> Vec<Vec<String>> {
    let (inside, outside) = nodes.iter().cloned().partition(|node| chosen.contains(node));
    vec![inside, outside]
}

/// Two random groups, the first of `size` nodes.
pub(in crate::fault) fn random_split(draw: &mut Draw<'_>, nodes: &[String], size: usize) -> Vec<Vec<String>> {
    let mut order = nodes.to_vec();
    draw.rng.shuffle(&mut order);
    order.truncate(size);
    split(nodes, &order)
}

/// A ring of majorities: every node hears a majority (itself included), and no two the same one. Links j→i are cut
/// where j is outside the window of ⌊n/2⌋+1 nodes around i on a random ring. With an even window (3 nodes, 6, 7 …)
/// the window leans to one side, so some links are cut in one direction only.
pub(in crate::fault) fn ring(draw: &mut Draw<'_>) -> (Vec<String>, Pairs) {
    let mut ring = draw.nodes.to_vec();
    draw.rng.shuffle(&mut ring);
    let count = ring.len();
    let before = (count / 2) / 2;
    let mut cuts = Vec::new();
    for (index, to) in ring.iter().enumerate() {
        for step in count / 2 + 1..count {
            // The window is the ⌊n/2⌋+1 nodes from `before` behind; beyond it lie those that are not heard.
            let from = &ring[(index + count - before + step) % count];
            cuts.push((from.clone(), to.clone()));
        }
    }
    (ring, cuts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::seed::Rng;

    #[test]
    fn a_ring_gives_each_node_a_majority_of_its_own() {
        for count in 3..10_usize {
            let nodes: Vec<String> = (0..count).map(|index| format!("n{index}")).collect();
            let (_, cuts) = ring(&mut Draw::new(&nodes, Rng::new(7, "ring")));
            let cuts: BTreeSet<_> = cuts.into_iter().collect();
            let heard = |to: &String| -> BTreeSet<String> {
                nodes.iter().filter(|from| !cuts.contains(&((*from).clone(), to.clone()))).cloned().collect()
            };
            let views: BTreeSet<_> = nodes.iter().map(heard).collect();
            assert_eq!(views.len(), count, "{count} nodes: no two views the same");
            for node in &nodes {
                assert_eq!(heard(node).len(), count / 2 + 1, "{count} nodes: a majority");
                assert!(heard(node).contains(node), "{count} nodes: a node hears itself");
            }
        }
    }

    #[test]
    fn five_nodes_in_a_ring_are_cut_both_ways() {
        let nodes: Vec<String> = ["A", "B", "C", "D", "E"].map(String::from).to_vec();
        let (_, cuts) = ring(&mut Draw::new(&nodes, Rng::new(7, "ring")));
        assert_eq!(cuts.len(), 10);
        assert!(cuts.iter().all(|(from, to)| cuts.contains(&(to.clone(), from.clone()))));
    }

    #[test]
    fn groups_are_cut_from_each_other_and_from_nobody_else() {
        let group = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let cuts = between(&[group(&["A"]), group(&["B", "C"])]);
        assert_eq!(cuts.len(), 4);
        assert!(!cuts.iter().any(|(from, to)| from != "A" && to != "A"));
    }
}
