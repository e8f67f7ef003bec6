//! An established connection: its two ends and a pipe each way.

use std::task::{Context, Poll};

use socket2::SockRef;
use std::time::Duration;
use tokio::net::TcpStream;

use super::pipe::{Means, Pipe, Step};

/// `near` is the opener's end, `far` the node's that it reaches.
pub(super) struct Relay {
    pub near: TcpStream,
    pub far: TcpStream,
    /// From `near` to `far`.
    pub up: Pipe,
    /// From `far` to `near`.
    pub down: Pipe,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Each direction by its FIN, or one end's reset has been passed on.
    Natural,
    /// The policy had it reset.
    Policy,
}

impl Relay {
    pub fn poll(&mut self, cx: &mut Context<'_>, means: &Means) -> Poll<Ending> {
        loop {
            let up = self.up.poll(cx, &mut self.near, &mut self.far, means);
            if up == Step::ResetByPolicy {
                return Poll::Ready(Ending::Policy);
            }
            if up == Step::ResetArrived {
                reset_on_close(&self.far);
                return Poll::Ready(Ending::Natural);
            }
            let down = self.down.poll(cx, &mut self.far, &mut self.near, means);
            if down == Step::ResetByPolicy {
                return Poll::Ready(Ending::Policy);
            }
            if down == Step::ResetArrived {
                reset_on_close(&self.near);
                return Poll::Ready(Ending::Natural);
            }
            if up == Step::SinkDied {
                self.down.source_gone(means);
            }
            if up == Step::SourceDied {
                self.down.sink_gone();
            }
            if down == Step::SinkDied {
                self.up.source_gone(means);
            }
            if down == Step::SourceDied {
                self.up.sink_gone();
            }
            if self.up.sink_dead() && self.down.sink_dead() || self.up.finished() && self.down.finished() {
                return Poll::Ready(Ending::Natural);
            }
            if up == Step::Waits && down == Step::Waits {
                return Poll::Pending;
            }
        }
    }
}

/// Makes closing the socket a reset (RST) instead of an orderly end (FIN).
pub(super) fn reset_on_close(socket: &TcpStream) {
    // It fails only when the peer has reset the connection already, and then there is nothing left to tell.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}
