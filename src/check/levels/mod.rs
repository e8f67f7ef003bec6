//! The consistency levels below linearizability, of registers whose values tell whose write they are.
//!
//! Each implies the next: linearizable, sequential ([`Sequential`]), causal ([`Causal`]), and each of the four session
//! guarantees ([`ReadYourWrites`], [`MonotonicReads`], [`MonotonicWrites`], [`WritesFollowReads`]). At its foot is [`Eventual`],
//! which linearizability alone implies. Beside that ladder stand [`Regular`] and [`Safe`] registers, which bind each read by itself: linearizable, regular, safe.
//! Definitions with their sources, complexity and why each is sound: in the module of each.

mod causal;
mod clocks;
mod eventual;
mod graph;
mod guarantees;
mod guess;
mod minimal;
mod patterns;
mod registers;
mod regular;
mod saturate;
mod search;
mod sequential;
mod stint;
mod versions;

pub use causal::Causal;
pub use eventual::Eventual;
pub use guarantees::{MonotonicReads, MonotonicWrites, ReadYourWrites, WritesFollowReads};
pub use regular::{Regular, Safe};
pub use sequential::Sequential;
