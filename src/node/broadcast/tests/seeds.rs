use super::judge::broken;
use super::sim::{CLEAN, Link, Sim};

/// Twenty seconds of faults, drawn from the seed, then peace. `kills`: processes die, too.
fn chaos(seed: u64, n: usize, evict_after_ms: u64, kills: bool) -> Sim {
    let mut sim = Sim::new(seed, n, evict_after_ms, None);
    let weather = match sim.rng.below(4) {
        0 => CLEAN,
        1 => Link { loss: 100, double: 50, jitter: 20, ..CLEAN },
        2 => Link { loss: 20, delay: 60, jitter: 200, ..CLEAN },
        _ => Link { loss: 300, double: 200, jitter: 5, ..CLEAN },
    };
    sim.links = vec![vec![weather; n]; n];
    assert!(sim.until(30_000, Sim::is_whole), "seed {seed}: no first view");
    let end = sim.now + 20_000;
    let every = 5 + sim.rng.below(100);
    while sim.now < end {
        match sim.rng.below(if kills { 6 } else { 4 }) {
            0 => {
                let rank = sim.rng.below(n as u64) as usize;
                sim.processes[rank].paused = true;
                let ms = 50 + sim.rng.below(6000);
                sim.run(ms, every);
                sim.processes[rank].paused = false;
            }
            1 => {
                // Each direction of each link by itself.
                for from in 0..n {
                    for to in 0..n {
                        sim.links[from][to].cut = sim.rng.below(4) == 0;
                    }
                }
                let ms = 50 + sim.rng.below(5000);
                sim.run(ms, every);
            }
            2 => {
                let side: Vec<u64> = (0..n).map(|_| sim.rng.below(2)).collect();
                for from in 0..n {
                    for to in 0..n {
                        sim.links[from][to].cut = side[from] != side[to];
                    }
                }
                let ms = 50 + sim.rng.below(5000);
                sim.run(ms, every);
            }
            3 => {
                let ms = sim.rng.below(2000);
                sim.run(ms, every);
            }
            _ => {
                let mut ranks: Vec<usize> = (0..n).collect();
                sim.rng.shuffle(&mut ranks);
                let count = 1 + sim.rng.below(n as u64) as usize;
                for rank in &ranks[..count] {
                    sim.kill(*rank);
                    let ms = sim.rng.below(300);
                    sim.run(ms, every);
                }
                for rank in &ranks[..count] {
                    let ms = 10 + sim.rng.below(4000);
                    sim.run(ms, every);
                    sim.start(*rank);
                }
            }
        }
        if sim.rng.below(2) == 0 {
            sim.links = vec![vec![weather; n]; n];
        }
    }
    sim.links = vec![vec![CLEAN; n]; n];
    sim
}

fn survives(seed: u64, n: usize, evict_after_ms: u64, kills: bool) {
    let mut sim = chaos(seed, n, evict_after_ms, kills);
    let settled = sim.until(60_000, Sim::is_settled);
    let what = broken(&sim.lives);
    if !settled || !what.is_empty() {
        for life in &sim.lives {
            let told: Vec<String> = life.lines.iter().map(ToString::to_string).collect();
            println!("{} over {}: {}\n", life.rank, life.over, told.join(" | "));
        }
    }
    assert!(what.is_empty(), "seed {seed}, {n} processes: {what:?}");
    assert!(settled, "seed {seed}, {n} processes: all is healed and nothing goes on");
}

#[test]
fn whatever_happens_the_order_is_one_and_goes_on_when_all_is_healed() {
    // How many seeds, and which: SOAK_BROADCAST="500" or "500..9000".
    let asked = std::env::var("SOAK_BROADCAST").unwrap_or_else(|_| "64".into());
    let (from, to) = asked.split_once("..").unwrap_or(("0", &asked));
    for seed in from.parse().unwrap()..to.parse().unwrap() {
        let n = [2, 3, 4, 5, 6, 3, 4, 3][(seed % 8) as usize];
        let evict_after_ms = [1500, 0, 300][(seed / 8 % 3) as usize];
        survives(seed, n, evict_after_ms, seed / 8 % 4 != 0);
    }
}
