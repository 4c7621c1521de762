//! Finds members that differ in each event and say nothing about its text: counters, times, nonces.
//!
//! It goes by what they do and not by their names: a value that has not come before in the last events, time and again,
//! cannot say which of several texts an event belongs to.

use super::text;

/// Members of one stream that are looked at. Real events have fewer.
const MAX_MEMBERS: usize = 8;
/// As many earlier values are compared, and as many values in succession must be new: more than the texts that a stream
/// interleaves.
const VALUES: usize = 16;

/// What the members of one stream have been so far.
#[derive(Debug, Default)]
pub(super) struct Stamps(Vec<Seen>);

#[derive(Debug)]
struct Seen {
    name: u64,
    /// Hashes of the last values.
    values: [u64; VALUES],
    /// How many values in succession were new.
    new: usize,
}

impl Stamps {
    /// Notes the value of a member in the next event. Reports whether it is one that differs in each event.
    pub(super) fn note(&mut self, name: &[u8], value: &[u8]) -> bool {
        let (name, value) = (text::key(name), text::key(value));
        let known = self.0.iter().position(|seen| seen.name == name);
        if known.is_none() && self.0.len() < MAX_MEMBERS {
            let (values, new) = ([0; VALUES], 0);
            self.0.push(Seen { name, values, new });
        }
        let seen = match known {
            Some(at) => self.0.get_mut(at),
            None => self.0.last_mut(),
        };
        let Some(seen) = seen.filter(|seen| seen.name == name) else {
            return false;
        };
        if seen.values.contains(&value) {
            seen.new = 0;
            return false;
        }
        if let Some(oldest) = seen.values.get_mut(seen.new % VALUES) {
            *oldest = value;
        }
        seen.new += 1;
        seen.new > VALUES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_comes_twice_is_a_stamp() {
        let mut stamps = Stamps::default();
        for at in 0..100_usize {
            let value = (at * 7919).to_string();
            assert_eq!(stamps.note(b"n", value.as_bytes()), at >= VALUES, "{at}");
            let agent = [b'a' + u8::try_from(at % VALUES).unwrap()];
            assert!(!stamps.note(b"agent", &agent), "{at}");
        }
        let last = (99 * 7919).to_string();
        assert!(!stamps.note(b"n", last.as_bytes()));
        assert!(!stamps.note(b"n", b"anew"), "it has to prove itself again");
    }
}
