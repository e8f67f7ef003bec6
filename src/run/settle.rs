//! Whether the replicas agree: what the settle phase waits for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::history::model::Held;

/// What each node holds, by its last snapshot; `None`: it did not answer.
pub type Replicas<'a> = [Option<&'a BTreeMap<Arc<str>, Held>>];

/// Whether every replica answered and all hold the same values, and the same versions where two of them expose one.
pub fn agree(replicas: &Replicas<'_>) -> bool {
    let Some(held) = replicas.iter().copied().collect::<Option<Vec<_>>>() else { return false };
    held.windows(2).all(|pair| same(pair[0], pair[1]))
}

fn same(left: &BTreeMap<Arc<str>, Held>, right: &BTreeMap<Arc<str>, Held>) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|((left_key, left), (right_key, right))| {
            let versions = match (&left.version, &right.version) {
                (Some(left), Some(right)) => left == right,
                _ => true,
            };
            left_key == right_key && left.value == right.value && versions
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Number, Value, Version};

    fn holding(entries: &[(&str, i64, Option<i64>)]) -> BTreeMap<Arc<str>, Held> {
        let held = |&(key, value, ts): &(&str, i64, Option<i64>)| {
            let version = ts.map(|ts| Version { ts: Number::Int(ts), origin: "A".into() });
            (Arc::from(key), Held { value: Value::int(value), version })
        };
        entries.iter().map(held).collect()
    }

    #[test]
    fn agreement_is_about_keys_values_and_versions() {
        let left = holding(&[("k1", 1, Some(3)), ("k2", 2, None)]);
        assert!(agree(&[Some(&left), Some(&left.clone())]));
        assert!(agree(&[Some(&left), Some(&holding(&[("k1", 1, None), ("k2", 2, Some(9))]))]));
        assert!(!agree(&[Some(&left), None]));
        assert!(!agree(&[Some(&left), Some(&holding(&[("k1", 1, Some(4)), ("k2", 2, None)]))]));
        assert!(!agree(&[Some(&left), Some(&holding(&[("k1", 1, Some(3))]))]));
        assert!(!agree(&[Some(&left), Some(&holding(&[("k1", 1, Some(3)), ("k3", 2, None)]))]));
    }
}
