//! Lines that are none of those the protocol looks for.

use super::answer;

/// Which of them are kept: the first, second, fourth, eighth … so that a talkative node does not fill the history, nor what it
/// says when it starts hide what it says later.
#[derive(Debug, Default)]
pub(super) struct Unread(u64);

impl Unread {
    /// What to keep of `line`, if anything.
    pub fn sample(&mut self, line: &str) -> Option<String> {
        if line.trim().is_empty() {
            return None;
        }
        self.0 += 1;
        self.0.is_power_of_two().then(|| answer::quote(line.as_bytes()))
    }
}
