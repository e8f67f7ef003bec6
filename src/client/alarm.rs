//! A timeout that costs nothing as long as nothing times out.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// One timer for all operations of a client, one after another.
///
/// Setting and clearing a timer for each operation would go through the runtime's timer wheel, and its lock, twice.
/// This one is left as it is: should it go off before the deadline of the operation then under way, it is set to that.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// What `work` comes to; `None`: it took longer than `timeout`, and is dropped.
    pub async fn guard<T>(&mut self, timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
        let deadline = Instant::now() + timeout;
        let mut work = pin!(work);
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            loop {
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                if Instant::now() >= deadline {
                    return Poll::Ready(None);
                }
                sleep.as_mut().reset(deadline);
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn each_guard_has_its_own_deadline() {
        let mut alarm = Alarm::default();
        let (timeout, half) = (Duration::from_millis(100), Duration::from_millis(50));
        // time itself is tested
        assert_eq!(alarm.guard(timeout, tokio::time::sleep(half)).await, Some(()));
        // The timer goes off half-way through this one, whose deadline is later.
        let begun = Instant::now();
        assert_eq!(alarm.guard(timeout, pending::<()>()).await, None);
        assert!(begun.elapsed() >= timeout);
        // A nearer deadline than the one it stands at.
        let begun = Instant::now();
        assert_eq!(alarm.guard(Duration::from_secs(600), async { 1 }).await, Some(1));
        assert_eq!(alarm.guard(half, pending::<()>()).await, None);
        assert!(begun.elapsed() < Duration::from_secs(300));
    }
}
