//! Chooses which exchange of a recording answers a request.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::script::Script;

/// The exchanges by what they answer.
#[derive(Debug)]
pub(super) struct Picks {
    groups: Vec<Group>,
    /// How many requests had a path that was not recorded.
    others: AtomicUsize,
    /// What answers them: responses to HEAD announce a body that they do not have, so only if there are no others.
    for_others: Vec<usize>,
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
        let all = || scripts.iter().enumerate();
        let mut for_others: Vec<usize> = all()
            .filter(|(_, script)| script.method != "HEAD")
            .map(|(index, _)| index)
            .collect();
        if for_others.is_empty() {
            for_others = all().map(|(index, _)| index).collect();
        }
        Self {
            groups,
            others: AtomicUsize::new(0),
            for_others,
        }
    }

    /// Returns the index of the exchange for a request: of those with its method and path the next one, and otherwise
    /// the next one of the file. After the last comes the first again.
    pub(super) fn pick(&self, method: &str, path: &str) -> usize {
        let group = self
            .groups
            .iter()
            .find(|group| group.method == method && group.path == path);
        let (asked, indices) = match group {
            Some(group) => (&group.asked, &group.indices),
            None => (&self.others, &self.for_others),
        };
        let turn = asked
            .fetch_add(1, Ordering::Relaxed)
            .checked_rem(indices.len())
            .unwrap_or(0);
        indices.get(turn).copied().unwrap_or(0)
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
            "{{\"weir_recording\":1}}\n{}{}{}{}",
            one("POST", "/a?x=1"),
            one("POST", "/b"),
            one("POST", "/a"),
            one("HEAD", "/c")
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
        assert_eq!([(); 2].map(|()| asked("HEAD", "/c")), [3, 3]);
    }
}
