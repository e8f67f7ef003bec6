//! `staleness`: how old the answers of reads were.
//!
//! **Definition.** Probabilistically bounded staleness (Bailis et al., *Probabilistically Bounded Staleness for Practical
//! Partial Quorums*, VLDB 2012), measured: a read is stale when it shows a version below that of a write to the key that
//! had been acknowledged, at any node, before the read was asked. It is so many *versions* behind as there are such
//! writes, and so long behind as the first of them had been acknowledged. P(stale) is given by the time since the last
//! acknowledged write to the key. The same figures are given for each level of reads that occurs.
//!
//! An eventually consistent store promises nothing of it: the verdict is `valid` when something was measured.
//!
//! **Complexity.** O(n log n): per key a Fenwick tree over the ranks of its versions.
//!
//! **Soundness.** Not needed for a verdict; for the figures only reads and acknowledged writes whose versions are known
//! count, compared as everywhere ([`stamp`](super::stamp)). Versions of one timestamp without origins count as equal.

use std::collections::HashMap;

use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};

use super::facts::{Facts, KeyId, SightId, WriteId};
use super::findings::evidence;
use super::stamp::Stamp;
use super::{Check, CheckResult, Verdict};
use crate::history::{History, Level};

/// The check.
pub struct Staleness;

/// Upper bounds of the ages by which P(stale) is given, ms since the last acknowledged write.
const AGES_MS: [u64; 6] = [1, 10, 100, 1_000, 10_000, u64::MAX];
/// The same for each level: there the first hundred milliseconds are what is asked about.
const FINE_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, u64::MAX];

impl Check for Staleness {
    fn name(&self) -> &'static str {
        "staleness"
    }

    fn about(&self) -> &'static str {
        "How many versions and how long the reads were behind the acknowledged writes."
    }

    fn check(&self, history: &History) -> CheckResult {
        let facts = Facts::new(history);
        let mut figures = Figures::new(&AGES_MS);
        let mut levels: Vec<(Level, &str, Figures)> =
            Level::ALL.into_iter().map(|(level, name)| (level, name, Figures::new(&FINE_MS))).collect();
        for (writes, reads) in by_key(&facts) {
            figures.measure(&facts, &writes, &reads);
            for (level, _, figures) in &mut levels {
                let reads: Vec<SightId> =
                    reads.iter().copied().filter(|id| facts.sight(*id).is_at(*level)).collect();
                figures.measure(&facts, &writes, &reads);
            }
        }
        let (reads, stale) = figures.totals();
        let mut stats = figures.stats();
        let levels = levels.iter().filter(|(_, _, figures)| figures.totals().0 > 0);
        let levels = levels.map(|(_, name, figures)| ((*name).to_owned(), Json::Object(figures.stats())));
        stats.insert("levels".into(), Json::Object(levels.collect()));
        let verdict = if reads > 0 { Verdict::Valid } else { Verdict::Unknown };
        CheckResult {
            verdict,
            reason: (reads == 0)
                .then(|| "no read of known version came after an acknowledged write to its key".into()),
            evidence: evidence([("reads", reads), ("stale_reads", stale)]),
            violations: Vec::new(),
            violations_total: 0,
            excused: 0,
            stats,
        }
    }
}

/// Of each key the acknowledged writes, by when they were acknowledged, and the reads, by when they were asked.
fn by_key(facts: &Facts) -> Vec<(Vec<WriteId>, Vec<SightId>)> {
    let mut keys: HashMap<KeyId, (Vec<WriteId>, Vec<SightId>)> = HashMap::new();
    for (id, write) in facts.writes.iter().enumerate() {
        if write.acked() && write.stamp.is_some() {
            keys.entry(write.key).or_default().0.push(id as WriteId);
        }
    }
    for (id, sight) in facts.sights.iter().enumerate() {
        if sight.op.snapshot.is_none() && (sight.is_nil() || sight.stamp.is_some()) {
            keys.entry(sight.key).or_default().1.push(id as SightId);
        }
    }
    let mut keys: Vec<_> = keys.into_values().filter(|(writes, _)| !writes.is_empty()).collect();
    for (writes, reads) in &mut keys {
        writes.sort_by_key(|id| facts.write(*id).acked_ns());
        reads.sort_by_key(|id| facts.sight(*id).asked_ns());
    }
    keys
}

struct Figures {
    versions: Histogram<u64>,
    behind_us: Histogram<u64>,
    /// Upper bounds of ages, ms, ascending; the last one is never reached.
    bounds_ms: &'static [u64],
    /// Reads and stale reads by age.
    ages: Vec<(u64, u64)>,
}

impl Figures {
    fn new(bounds_ms: &'static [u64]) -> Self {
        let histogram = || {
            // Only a precision above 5 digits could fail.
            #[expect(clippy::expect_used)]
            Histogram::new(3).expect("3 digits are a valid precision")
        };
        let ages = vec![(0, 0); bounds_ms.len()];
        Figures { versions: histogram(), behind_us: histogram(), bounds_ms, ages }
    }

    /// Reads and stale reads.
    fn totals(&self) -> (u64, u64) {
        self.ages.iter().fold((0, 0), |(reads, stale), age| (reads + age.0, stale + age.1))
    }

    fn measure(&mut self, facts: &Facts, writes: &[WriteId], reads: &[SightId]) {
        let stamp = |id: &WriteId| facts.write(*id).stamp;
        let mut ranks: Vec<Stamp> = writes.iter().filter_map(stamp).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let mut missed = Missed::new(ranks.len());
        let mut acked = writes.iter().peekable();
        let mut last_ns = None;
        for read in reads.iter().map(|id| facts.sight(*id)) {
            while let Some(id) = acked.next_if(|id| facts.write(**id).acked_ns() < read.asked_ns()) {
                let acked_ns = facts.write(*id).acked_ns();
                let rank = ranks.partition_point(|rank| Some(*rank) < stamp(id));
                missed.add(ranks.len() - 1 - rank, acked_ns);
                last_ns = Some(acked_ns);
            }
            let Some(last_ns) = last_ns else { continue };
            // How many ranks are certainly above what was read.
            let above = ranks.len() - ranks.partition_point(|rank| !facts.is_below(read, *rank));
            let (versions, first_ns) = missed.of_the_first(above);
            let age_ms = (read.asked_ns() - last_ns) / 1_000_000;
            let bucket = self.bounds_ms.partition_point(|bound| *bound <= age_ms).min(self.ages.len() - 1);
            self.ages[bucket].0 += 1;
            self.ages[bucket].1 += u64::from(versions > 0);
            // Grows as needed; an error would mean more than 2^64 of them.
            let _ = self.versions.record(versions);
            if versions > 0 {
                let _ = self.behind_us.record((read.asked_ns() - first_ns) / 1_000);
            }
        }
    }

    fn stats(&self) -> serde_json::Map<String, Json> {
        let (reads, stale) = self.totals();
        let share = |stale: u64, reads: u64| if reads == 0 { 0.0 } else { stale as f64 / reads as f64 };
        let ms = |us: u64| us as f64 / 1e3;
        let mut from = 0;
        let ages = self.bounds_ms.iter().zip(&self.ages).map(|(bound, (reads, stale))| {
            let until = (*bound != u64::MAX).then_some(*bound);
            let row =
                json!({"from_ms": from, "until_ms": until, "reads": reads, "p_stale": share(*stale, *reads)});
            from = *bound;
            row
        });
        let ages: Vec<Json> = ages.collect();
        let behind = |quantile| ms(self.behind_us.value_at_quantile(quantile));
        let stats = json!({
            "reads": reads,
            "stale_reads": stale,
            "p_stale": share(stale, reads),
            "versions_behind": {
                "p50": self.versions.value_at_quantile(0.5),
                "p99": self.versions.value_at_quantile(0.99),
                "max": self.versions.max(),
            },
            "behind_ms": {"p50": behind(0.5), "p99": behind(0.99), "max": ms(self.behind_us.max())},
            "by_age": ages,
        });
        match stats {
            Json::Object(stats) => stats,
            _ => serde_json::Map::new(),
        }
    }
}

/// A Fenwick tree: how many writes are among the first so many ranks (the greatest version first), and when the first
/// of them was acknowledged.
struct Missed {
    tree: Vec<(u64, u64)>,
}

impl Missed {
    fn new(ranks: usize) -> Self {
        Missed { tree: vec![(0, u64::MAX); ranks + 1] }
    }

    fn add(&mut self, rank: usize, acked_ns: u64) {
        let mut place = rank + 1;
        while let Some((count, first_ns)) = self.tree.get_mut(place) {
            *count += 1;
            *first_ns = acked_ns.min(*first_ns);
            place += place & place.wrapping_neg();
        }
    }

    fn of_the_first(&self, ranks: usize) -> (u64, u64) {
        let (mut count, mut first_ns) = (0, u64::MAX);
        let mut place = ranks;
        while place > 0 {
            count += self.tree[place].0;
            first_ns = first_ns.min(self.tree[place].1);
            place -= place & place.wrapping_neg();
        }
        (count, first_ns)
    }
}
