use harness::check::generate::{Description, generate};
use harness::check::linearizability::{Options, judge};
use harness::check::models::{Initial, Model};
use std::time::{Duration, Instant};
fn main() {
    let a: Vec<String> = std::env::args().skip(1).collect();
    let n = |i: usize, d: u64| a.get(i).and_then(|x| x.parse().ok()).unwrap_or(d);
    let (ops, clients, values, unknown, cas, stale, from, to) =
        (n(0, 400), n(1, 5), n(2, 5), n(3, 5), n(4, 20), n(5, 1), n(6, 1), n(7, 5));
    for seed in from..to {
        let d = Description {
            values: Some(values),
            cas_percent: cas,
            unknown_percent: unknown,
            stale: stale == 1,
            ..Description::register(ops as usize, clients as u32, seed)
        };
        let calls = generate(&d);
        let mut o = Options::new(Model::EtcdCasRegister, Initial::Default);
        if a.get(8).map(|m| m.as_str()) == Some("cas") {
            o.model = Model::CasRegister;
        }
        if let Ok(t) = std::env::var("BUDGET") {
            o.budget.time = Duration::from_secs(t.parse().unwrap());
        }
        if std::env::var("NOPROOF").is_ok() {
            o.prove = false;
        }
        let t = Instant::now();
        let j = judge(&calls, &o).unwrap();
        println!(
            "seed {seed}: {:?} {:?} in {:?}{}",
            j.verdict,
            j.reason,
            t.elapsed(),
            j.failure.map_or(String::new(), |f| format!(" proof {} minimal {}", f.proof.len(), f.minimal))
        );
    }
    let hwm = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", hwm.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
