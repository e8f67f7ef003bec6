//! Which operation each client performs when: a pure function of (seed, client, number).
//!
//! Each client has a slot every `clients / rate` seconds, the clients' slots evenly interleaved; with `burst = n`, n
//! neighbouring clients (which sit on different nodes) have theirs at the same instant and on the same key. Every
//! operation draws the same amount of randomness whatever it turns out to be, so that a skipped slot shifts nothing.

use std::sync::Arc;
use std::time::Duration;

use super::Numbers;
use crate::history::Value;
use crate::seed::Rng;
use crate::workload::{LoadSpec, Route};

/// With `rate = 0` operations have no scheduled time, and keys are rotated as if each client had performed one a
/// millisecond: by count.
const UNSCHEDULED_PERIOD: Duration = Duration::from_millis(1);

/// One planned operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Its number among its client's operations, from 0.
    pub number: u64,
    /// When, since the load began. With `rate = 0`: nominal, only keys follow it.
    pub at: Duration,
    /// An index into the mix.
    pub f: usize,
    /// The key.
    pub key: Arc<str>,
    /// A value that no other operation of the run writes.
    pub value: Value,
    /// Which node is asked, by its place in the list of nodes; with [`Route::Leader`], while no leader is known.
    pub node: usize,
    /// What decides whom it is sent to.
    pub route: Route,
}

/// The whole load, as a function.
#[derive(Clone, Debug)]
pub struct Plan {
    seed: u64,
    clients: u32,
    nodes: usize,
    rate: f64,
    duration: Duration,
    keys: u64,
    rotate: Option<Duration>,
    burst: u32,
    mix: Vec<(Arc<str>, u32, Route)>,
    status_probes: bool,
    /// Values are texts of at least so many bytes; `None`: numbers.
    message_bytes: Option<usize>,
    subscribers: u64,
    repeat: f64,
}

impl Plan {
    /// The plan of `spec` for a cluster of `nodes` nodes. Zeros that a validated workload cannot have count as ones.
    pub fn new(spec: &LoadSpec, seed: u64, nodes: usize) -> Self {
        let mix = spec.mix.iter().map(|(f, weight)| (Arc::from(f.as_str()), *weight, spec.route(f)));
        Self {
            seed,
            clients: spec.clients.max(1),
            nodes: nodes.max(1),
            rate: spec.rate.max(0.0),
            duration: spec.duration,
            keys: u64::from(spec.keys.max(1)),
            rotate: spec.rotate.filter(|rotate| !rotate.is_zero()),
            burst: spec.burst.max(1),
            mix: mix.collect(),
            status_probes: false,
            message_bytes: spec.message_bytes(),
            subscribers: match spec.kind.as_str() {
                "log" => u64::from(spec.keys) * nodes as u64 * u64::from(spec.subscribers),
                _ => 0,
            },
            repeat: spec.repeat,
        }
    }

    /// What decides which of a client's publications it makes again; `None`: none. A stream of its own, so that the others
    /// draw what they always drew.
    pub fn repeats(&self, client: u32) -> Option<Repeats> {
        let share = Some(self.repeat).filter(|share| *share > 0.0)?;
        Some(Repeats { share, rng: Rng::new(self.seed, &format!("repeat-{client}")), published: Vec::new() })
    }

    /// The processes of the subscribers, `each` of them a node and topic.
    pub fn subscribers(&self, each: u32) -> Numbers {
        Numbers { first: self.concurrency() - self.subscribers, stride: self.concurrency(), each }
    }

    /// The topics of a log's load: its keys, which are never replaced.
    pub fn topics(&self) -> Vec<Arc<str>> {
        (0..self.keys).map(|slot| self.key(0, slot)).collect()
    }

    /// With a prober of each node's status beside the other processes, if `yes`.
    pub fn with_status_probes(self, yes: bool) -> Self {
        Self { status_probes: yes, ..self }
    }

    /// How many clients.
    pub fn clients(&self) -> u32 {
        self.clients
    }

    /// Processes at a time: clients, one prober a node, one more a node where their status is asked for, and subscribers. The
    /// next incarnation of a client has a number so much higher.
    pub fn concurrency(&self) -> u64 {
        let probers = self.nodes as u64 * if self.status_probes { 2 } else { 1 };
        u64::from(self.clients) + probers + self.subscribers
    }

    /// How long.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Operations a second over all clients; 0: as fast as they answer.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The operations in the mix, as [`Planned::f`] counts them.
    pub fn operations(&self) -> impl Iterator<Item = &Arc<str>> {
        self.mix.iter().map(|(f, _, _)| f)
    }

    /// Between two slots of one client.
    pub fn period(&self) -> Duration {
        if self.rate > 0.0 {
            Duration::try_from_secs_f64(f64::from(self.clients) / self.rate).unwrap_or(Duration::MAX)
        } else {
            UNSCHEDULED_PERIOD
        }
    }

    /// What `client` does, one operation after another.
    pub fn stream(self: &Arc<Self>, client: u32) -> Stream {
        let group = client / self.burst;
        Stream {
            own: Rng::new(self.seed, &format!("client-{client}")),
            shared: Rng::new(self.seed, &format!("burst-{group}")),
            weights: self.mix.iter().map(|(_, weight, _)| u64::from(*weight)).sum(),
            period: self.period(),
            offset: self.offset(group * self.burst),
            client,
            number: 0,
            plan: Arc::clone(self),
        }
    }

    /// Every key that an operation scheduled up to `until` may have used, in the order of first use.
    pub fn keys_until(&self, until: Duration) -> Vec<Arc<str>> {
        let slots = 0..self.keys;
        let eras = slots.map(|slot| self.era(slot, until)).max().unwrap_or_default();
        let all = (0..=eras).flat_map(|era| (0..self.keys).map(move |slot| (era, slot)));
        let used = all.filter(|(era, slot)| *era <= self.era(*slot, until));
        used.map(|(era, slot)| self.key(era, slot)).collect()
    }

    fn offset(&self, first_of_burst: u32) -> Duration {
        if self.rate > 0.0 {
            Duration::try_from_secs_f64(f64::from(first_of_burst) / self.rate).unwrap_or(Duration::MAX)
        } else {
            Duration::ZERO
        }
    }

    /// How often slot `slot`'s key has been replaced by `at`. The slots take turns, so that each moment is soon
    /// followed by some key's end.
    fn era(&self, slot: u64, at: Duration) -> u64 {
        let Some(rotate) = self.rotate else { return 0 };
        let rotate_ns = rotate.as_nanos();
        let head_start_ns = rotate_ns * u128::from(slot) / u128::from(self.keys);
        ((at.as_nanos() + head_start_ns) / rotate_ns) as u64
    }

    fn value(&self, number: u64) -> Value {
        match self.message_bytes {
            None => Value::int(number as i64),
            Some(bytes) => {
                let mut text = format!("m{number}");
                if text.len() < bytes {
                    text.push('.');
                    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
                }
                Value::Text(text.into())
            }
        }
    }

    fn key(&self, era: u64, slot: u64) -> Arc<str> {
        format!("k{}", era * self.keys + slot + 1).into()
    }
}

/// What one client published, and publishes again.
#[derive(Clone, Debug)]
pub struct Repeats {
    share: f64,
    rng: Rng,
    published: Vec<(Arc<str>, Value)>,
}

impl Repeats {
    /// So many publications are remembered; later ones take the place of earlier ones.
    const MOST: usize = 10_000;

    /// What is to be published again instead of something new, if it is so to be.
    pub fn draw(&mut self) -> Option<(Arc<str>, Value)> {
        let hit = self.rng.unit() < self.share;
        let place = self.rng.below(self.published.len().max(1) as u64);
        self.published.get(place as usize).filter(|_| hit).cloned()
    }

    /// Remembers what was acknowledged.
    pub fn published(&mut self, key: &Arc<str>, value: &Value) {
        let message = (Arc::clone(key), value.clone());
        match self.published.len() < Self::MOST {
            true => self.published.push(message),
            false => {
                let place = self.rng.below(Self::MOST as u64);
                self.published[place as usize] = message;
            }
        }
    }
}

/// One client's operations, in order, without end.
#[derive(Clone, Debug)]
pub struct Stream {
    plan: Arc<Plan>,
    client: u32,
    own: Rng,
    shared: Rng,
    weights: u64,
    period: Duration,
    offset: Duration,
    number: u64,
}

impl Stream {
    /// When the next operation's slot is, since the load began.
    pub fn next_at(&self) -> Duration {
        let elapsed = self.period.as_nanos().saturating_mul(u128::from(self.number));
        self.offset.saturating_add(Duration::from_nanos(u64::try_from(elapsed).unwrap_or(u64::MAX)))
    }

    /// Passes over the next operation.
    pub fn skip(&mut self) {
        self.draw();
        self.number += 1;
    }

    /// The next operation.
    pub fn next_planned(&mut self) -> Planned {
        let (at, number) = (self.next_at(), self.number);
        let (weight, slot, move_by) = self.draw();
        self.number += 1;
        let plan = &self.plan;
        let mut left = weight;
        let f = plan.mix.iter().position(|(_, weight, _)| {
            let here = left < u64::from(*weight);
            left = left.saturating_sub(u64::from(*weight));
            here
        });
        let f = f.unwrap_or_default();
        let route = plan.mix.get(f).map_or(Route::Sticky, |(_, _, route)| *route);
        let home = self.client as usize;
        let node = match route {
            Route::Sticky | Route::Any | Route::Leader => home % plan.nodes,
            // One move for the whole burst: its clients stay on different nodes.
            Route::Roaming => (home + move_by as usize) % plan.nodes,
        };
        Planned {
            number,
            at,
            f,
            key: plan.key(plan.era(slot, at), slot),
            value: plan.value(number * u64::from(plan.clients) + u64::from(self.client) + 1),
            node,
            route,
        }
    }

    fn draw(&mut self) -> (u64, u64, u64) {
        let weight = self.own.below(self.weights);
        let slot = self.shared.below(self.plan.keys);
        (weight, slot, self.shared.below(self.plan.nodes as u64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::history::Sessions;

    fn spec() -> LoadSpec {
        LoadSpec {
            kind: "register".into(),
            clients: 6,
            rate: 200.0,
            duration: Duration::from_secs(12),
            keys: 8,
            rotate: None,
            burst: 1,
            mix: vec![("read".into(), 1), ("write".into(), 3)],
            sessions: Sessions::Sticky,
            size: 0,
            subscribers: 0,
            repeat: 0.0,
            routes: BTreeMap::new(),
        }
    }

    fn operations(spec: &LoadSpec, seed: u64, each: usize) -> Vec<(u32, Planned)> {
        let plan = Arc::new(Plan::new(spec, seed, 3));
        let client = |client| {
            let mut stream = plan.stream(client);
            (0..each).map(move |_| (client, stream.next_planned())).collect::<Vec<_>>()
        };
        (0..spec.clients).flat_map(client).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_operations() {
        assert_eq!(operations(&spec(), 42, 50), operations(&spec(), 42, 50));
        assert_ne!(operations(&spec(), 42, 50), operations(&spec(), 43, 50));
    }

    #[test]
    fn values_are_unique_and_the_mix_holds() {
        let planned = operations(&spec(), 7, 1000);
        let values: BTreeSet<_> = planned.iter().map(|(_, planned)| planned.value.clone()).collect();
        assert_eq!(values.len(), 6000);
        let writes = planned.iter().filter(|(_, planned)| planned.f == 1).count();
        assert!((4300..4700).contains(&writes), "{writes} of 6000 are writes, 4500 expected");
        let keys: BTreeSet<_> = planned.iter().map(|(_, planned)| planned.key.to_string()).collect();
        assert_eq!(keys, (1..=8).map(|n| format!("k{n}")).collect());
    }

    #[test]
    fn skipping_shifts_nothing() {
        let plan = Arc::new(Plan::new(&spec(), 1, 3));
        let (mut all, mut some) = (plan.stream(2), plan.stream(2));
        for number in 0..200 {
            let planned = all.next_planned();
            if number % 3 == 0 {
                some.skip();
            } else {
                assert_eq!(some.next_planned(), planned);
            }
        }
    }

    #[test]
    fn slots_interleave_evenly() {
        let mut at: Vec<_> = operations(&spec(), 1, 10).iter().map(|(_, planned)| planned.at).collect();
        at.sort();
        for pair in at.windows(2) {
            let gap_us = (pair[1] - pair[0]).as_micros();
            assert!((4999..=5001).contains(&gap_us), "{gap_us} µs between slots, 5000 expected");
        }
    }

    #[test]
    fn a_burst_is_one_instant_and_one_key_on_different_nodes() {
        for sessions in [Sessions::Sticky, Sessions::Roaming] {
            let planned = operations(&LoadSpec { burst: 3, sessions, ..spec() }, 5, 40);
            let mut bursts: BTreeMap<(u32, u64), Vec<Planned>> = BTreeMap::new();
            for (client, planned) in planned {
                bursts.entry((client / 3, planned.number)).or_default().push(planned);
            }
            assert_eq!(bursts.len(), 80);
            for burst in bursts.values() {
                assert!(burst.iter().all(|other| other.at == burst[0].at && other.key == burst[0].key));
                assert_eq!(burst.iter().map(|planned| planned.node).collect::<BTreeSet<_>>().len(), 3);
            }
        }
    }

    #[test]
    fn a_route_changes_the_node_and_nothing_else() {
        let roaming = spec_with(&[("write", Route::Roaming)]);
        let (plain, routed) = (operations(&spec(), 5, 200), operations(&roaming, 5, 200));
        let mut moved = 0;
        for ((client, plain), (_, routed)) in plain.into_iter().zip(routed) {
            let expected = if plain.f == 1 { Route::Roaming } else { Route::Sticky };
            assert_eq!(routed.route, expected);
            moved += u32::from(routed.node != client as usize % 3);
            assert!(plain.f == 1 || routed.node == plain.node);
            assert_eq!(Planned { node: plain.node, route: plain.route, ..routed }, plain);
        }
        assert!(moved > 100, "{moved}");
        // Until a leader is known, each client asks its own node.
        let led = operations(&spec_with(&[("write", Route::Leader), ("read", Route::Any)]), 5, 20);
        assert!(led.iter().all(|(client, planned)| planned.node == *client as usize % 3));
    }

    #[test]
    fn status_probes_have_process_numbers_of_their_own() {
        let plan = Plan::new(&spec(), 5, 3);
        assert_eq!(plan.concurrency(), 9);
        assert_eq!(plan.with_status_probes(true).concurrency(), 12);
    }

    fn spec_with(routes: &[(&str, Route)]) -> LoadSpec {
        let routes = routes.iter().map(|(f, route)| ((*f).to_owned(), *route)).collect();
        LoadSpec { routes, ..spec() }
    }

    #[test]
    fn rotated_keys_are_fresh_and_all_named() {
        let spec = LoadSpec { rotate: Some(Duration::from_secs(2)), ..spec() };
        let plan = Plan::new(&spec, 3, 3);
        assert_eq!(plan.keys_until(Duration::ZERO).len(), 8);
        // Slots end one after another, a quarter of a second apart, none at once.
        assert_eq!(plan.keys_until(Duration::from_millis(251)).len(), 9);
        assert_eq!(plan.keys_until(Duration::from_secs(2)).len(), 16);
        let planned = operations(&spec, 3, 300);
        let last = planned.iter().map(|(_, planned)| planned.at).max().unwrap();
        let named: BTreeSet<_> = plan.keys_until(last).into_iter().collect();
        assert!(planned.iter().all(|(_, planned)| named.contains(&planned.key)));
        let late = planned.iter().filter(|(_, planned)| planned.at > Duration::from_secs(4));
        assert!(late.clone().count() > 0);
        for (_, planned) in late {
            let number: u64 = planned.key[1..].parse().unwrap();
            assert!(number > 8, "{} is still used after two rotations", planned.key);
        }
    }

    #[test]
    fn without_a_rate_keys_rotate_by_count() {
        let spec = LoadSpec { rate: 0.0, rotate: Some(Duration::from_millis(100)), ..spec() };
        let planned = operations(&spec, 3, 1000);
        let keys: BTreeSet<_> = planned.iter().map(|(_, planned)| planned.key.clone()).collect();
        assert!(keys.len() > 70, "{} keys in ten rotations of eight", keys.len());
    }
}
