//! The reader and the checks: hand-written histories, a model cluster, a brute-force oracle.

#[path = "checks/blame.rs"]
mod blame;
#[path = "checks/broadcast.rs"]
mod broadcast;
#[path = "checks/build.rs"]
mod build;
#[path = "checks/chat.rs"]
mod chat;
#[path = "checks/cli.rs"]
mod cli;
#[path = "checks/convert.rs"]
mod convert;
#[path = "checks/events.rs"]
mod events;
#[path = "checks/foreign.rs"]
mod foreign;
#[path = "checks/innocent.rs"]
mod innocent;
#[path = "checks/ladder.rs"]
mod ladder;
#[path = "checks/leaders.rs"]
mod leaders;
#[path = "checks/levels.rs"]
mod levels;
#[path = "checks/oracle.rs"]
mod oracle;
#[path = "checks/quorums.rs"]
mod quorums;
#[path = "checks/reading.rs"]
mod reading;
#[path = "checks/sim.rs"]
mod sim;
#[path = "checks/sim_quorum.rs"]
mod sim_quorum;
#[path = "checks/simulate.rs"]
mod simulate;
#[path = "checks/simulate_quorum.rs"]
mod simulate_quorum;
#[path = "checks/topics.rs"]
mod topics;
