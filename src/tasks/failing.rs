//! Reports whether a value is dropped because of a panic.

use std::cell::Cell;

thread_local! {
    static FAILING: Cell<bool> = const { Cell::new(false) };
}

/// Reports whether a panic, a defect in Weir, is the reason for what is being dropped on this thread: the thread
/// unwinds, or it clears up after a panic ([`Failing`]).
pub fn is_failing() -> bool {
    std::thread::panicking() || FAILING.get()
}

/// While it lives, everything that is dropped on this thread counts as ended by a panic that was caught before.
#[derive(Debug)]
#[must_use = "it lasts until it is dropped"]
pub struct Failing {
    before: bool,
}

impl Failing {
    /// Begins to clear up after a panic.
    pub fn begin() -> Self {
        Self {
            before: FAILING.replace(true),
        }
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        FAILING.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_as_long_as_the_outermost_one() {
        assert!(!is_failing());
        let outer = Failing::begin();
        drop(Failing::begin());
        assert!(is_failing());
        drop(outer);
        assert!(!is_failing());
    }
}
