//! Which exchange of a recording answers a request.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::script::Script;

/// The exchanges by what they answer.
#[derive(Debug)]
pub(super) struct Picks {
    groups: Vec<Group>,
    /// How many requests nothing in the file was recorded for.
    others: AtomicUsize,
    count: usize,
}

/// The exchanges with one method and path, in the order of the file.
#[derive(Debug)]
struct Group {
    method: String,
    path: String,
    indices: Vec<usize>,
    asked: AtomicUsize,
}

impl Picks {
    pub(super) fn new(scripts: &[Script]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for (index, script) in scripts.iter().enumerate() {
            let known = groups
                .iter_mut()
                .find(|group| group.method == script.method && group.path == script.path);
            match known {
                Some(group) => group.indices.push(index),
                None => groups.push(Group {
                    method: script.method.clone(),
                    path: script.path.clone(),
                    indices: vec![index],
                    asked: AtomicUsize::new(0),
                }),
            }
        }
        Self {
            groups,
            others: AtomicUsize::new(0),
            count: scripts.len(),
        }
    }

    /// Returns the index of the exchange for a request: of those with its method and path the next one, and otherwise the
    /// next one of the file. After the last comes the first again.
    pub(super) fn pick(&self, method: &str, path: &str) -> usize {
        let group = self
            .groups
            .iter()
            .find(|group| group.method == method && group.path == path);
        let next = |asked: &AtomicUsize, count: usize| {
            asked
                .fetch_add(1, Ordering::Relaxed)
                .checked_rem(count)
                .unwrap_or(0)
        };
        match group {
            Some(group) => {
                let turn = next(&group.asked, group.indices.len());
                group.indices.get(turn).copied().unwrap_or(0)
            }
            None => next(&self.others, self.count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::replay::faults::Faults;
    use crate::recording::read::read;

    #[test]
    fn the_path_decides_and_then_the_order() {
        let one = |method: &str, target: &str| {
            format!(
                "{{\"type\":\"request\",\"method\":\"{method}\",\"target\":\"{target}\"}}\n\
                 {{\"type\":\"response\",\"status\":200}}\n"
            )
        };
        let file = format!(
            "{{\"weir_recording\":1}}\n{}{}{}",
            one("POST", "/a?x=1"),
            one("POST", "/b"),
            one("POST", "/a")
        );
        let scripts: Vec<Script> = read(file.as_bytes())
            .unwrap()
            .exchanges
            .iter()
            .map(|exchange| Script::new(exchange, &Faults::default(), false).unwrap())
            .collect();
        let picks = Picks::new(&scripts);
        let asked = |method, path| picks.pick(method, path);
        assert_eq!(asked("POST", "/b"), 1);
        assert_eq!([(); 3].map(|()| asked("POST", "/a")), [0, 2, 0]);
        assert_eq!([(); 4].map(|()| asked("GET", "/a")), [0, 1, 2, 0]);
        assert_eq!(asked("POST", "/b"), 1);
    }
}
