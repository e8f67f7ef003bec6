//! The life of one connection over a link: held while the link is cut, dialled, relayed, ended as its ends ended it.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::core::{Core, Link};
use super::counters::{add, take_off};
use super::lane::{Kind, Lane, Supervised};
use super::pipe::{Means, Pipe, Step};
use super::relay::{Ending, Relay, reset_on_close};

/// A dial that took longer had to wait for the node, and its opener may have gone meanwhile.
const PROMPT: Duration = Duration::from_millis(10);

/// The task that serves `near`, a connection just accepted on `link`.
pub(super) fn serve(core: Arc<Core>, link: Arc<Link>, near: TcpStream) -> impl Future<Output = ()> {
    let number = link.out.counters.connections.fetch_add(1, Relaxed);
    let unique = number * 2 + u64::from(link.from < link.to);
    let pair = Arc::clone(&link.pair);
    let means = Means { core, opener: link.from, number };
    Supervised::new(pair, Kind::Connection, unique, live(link, near, means))
}

async fn live(link: Arc<Link>, mut near: TcpStream, means: Means) {
    let core = &means.core;
    let (mut up, mut down) = (Pipe::new(&link.out), Pipe::new(&link.back));
    let far = loop {
        match admission(&link, &mut up, &mut down, &mut near, &means).await {
            Admission::Granted => {}
            Admission::Reset => return reset_by_policy(&link, &[&near]),
            Admission::Abandoned => return add(&link.out.counters.discarded_connections, 1),
        }
        match dial(&link, &mut up, &mut down).await {
            None => return reset_by_policy(&link, &[&near]),
            Some(Ok(far)) => break far,
            // The refusal is lost like all else.
            Some(Err(_)) if up.is_cut() || down.is_cut() => {}
            Some(Err(error)) => {
                reset_on_close(&near);
                drop(near);
                return core.dial_failed(&link, &error);
            }
        }
    };
    if far.slow && !core.opener_waits(&near, false) {
        // To the opener it never was established, so the node is not to see its bytes.
        reset_on_close(&far.socket);
        return add(&link.out.counters.discarded_connections, 1);
    }
    (up.unconnected, down.unconnected) = (false, false);
    let mut relay = Relay { near, far: far.socket, up, down };
    if poll_fn(|cx| relay.poll(cx, &means)).await == Ending::Policy {
        reset_by_policy(&link, &[&relay.near, &relay.far]);
    }
}

enum Admission {
    Granted,
    Reset,
    /// The opener has gone while the connection was held.
    Abandoned,
}

/// Waits until neither direction is cut: an opening needs both.
async fn admission(
    link: &Link,
    up: &mut Pipe,
    down: &mut Pipe,
    near: &mut TcpStream,
    means: &Means,
) -> Admission {
    let (mut held_out, mut held_back) = (Held(None), Held(None));
    poll_fn(|cx| {
        if up.refresh() | down.refresh() {
            return Poll::Ready(Admission::Reset);
        }
        let mut held = false;
        for (pipe, lane, hold) in [(&*up, &link.out, &mut held_out), (&*down, &link.back, &mut held_back)] {
            if pipe.is_cut() {
                hold.begin(lane);
            }
            held |= hold.0.is_some();
        }
        if !up.is_cut() && !down.is_cut() {
            let gone = held && !means.core.opener_waits(near, up.at_end());
            return Poll::Ready(if gone { Admission::Abandoned } else { Admission::Granted });
        }
        let died = up.poll_hold(cx, near, means) == Step::SourceDied;
        if died || up.at_end() && !means.core.opener_waits(near, true) {
            return Poll::Ready(Admission::Abandoned);
        }
        Poll::Pending
    })
    .await
}

/// Counts a connection that waits for a cut lane.
struct Held<'a>(Option<&'a Lane>);

impl<'a> Held<'a> {
    fn begin(&mut self, lane: &'a Lane) {
        if self.0.is_none() {
            self.0 = Some(lane);
            add(&lane.counters.held_opens, 1);
            add(&lane.counters.held_connections, 1);
            add(&lane.counters.held_opens_now, 1);
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(lane) = self.0 {
            take_off(&lane.counters.held_opens_now, 1);
        }
    }
}

struct Far {
    socket: TcpStream,
    slow: bool,
}

/// `None`: the policy has the connection reset.
async fn dial(link: &Link, up: &mut Pipe, down: &mut Pipe) -> Option<io::Result<Far>> {
    let began = Instant::now();
    let mut dialling = pin!(async {
        let [first, second] = link.port.upstreams();
        let socket = match TcpStream::connect(first).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                // The first refusal says more of a node that is down than that of an address it never used.
                TcpStream::connect(second).await.map_err(|_| error)?
            }
            other => other?,
        };
        socket.set_nodelay(true)?;
        Ok(Far { socket, slow: began.elapsed() > PROMPT })
    });
    poll_fn(|cx| {
        if up.refresh() | down.refresh() {
            return Poll::Ready(None);
        }
        dialling.as_mut().poll(cx).map(Some)
    })
    .await
}

fn reset_by_policy(link: &Link, ends: &[&TcpStream]) {
    for end in ends {
        reset_on_close(end);
    }
    for lane in [&link.out, &link.back] {
        if lane.state().policy.reset {
            add(&lane.counters.reset_connections, 1);
        }
    }
}
