//! The state machine under a simulated network and clock: thousands of seeds, and what each bug breaks.

mod bugs;
mod judge;
mod seeds;
mod sim;
