//! The reader and the checks: hand-written histories, a model cluster, a brute-force oracle.

#[path = "checks/oracle.rs"]
mod oracle;
#[path = "checks/sim.rs"]
mod sim;
#[path = "checks/simulate.rs"]
mod simulate;
