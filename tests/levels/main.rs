//! The consistency levels below linearizability: against oracles written from their definitions on small random
//! histories, against each other along the ladder, and on histories of simulated stores.

mod oracle;
mod small;
mod stores;
mod versus;
