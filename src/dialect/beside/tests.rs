use super::*;

/// Returns the keys of events with these values of one member.
fn keys(name: &str, values: &[String]) -> Vec<u64> {
    let mut seen = Seen::default();
    let key = |value: &String| {
        let mut beside = Beside::default();
        beside.add(name.as_bytes(), value.as_bytes());
        seen.key(&beside)
    };
    values.iter().map(key).collect()
}

/// Returns how many neighbours at the end of `keys` are equal.
fn alike(keys: &[u64]) -> usize {
    let last = keys.last();
    keys.iter()
        .rev()
        .take_while(|key| Some(*key) == last)
        .count()
}

#[test]
fn a_value_that_was_new_in_every_event_says_nothing() {
    for name in ["counter", "elapsed", "salt"] {
        let values: Vec<_> = (0..100).map(|at| (at * 7919 % 1009).to_string()).collect();
        assert_eq!(alike(&keys(name, &values)), 100 - WINDOW);
        let quoted: Vec<_> = values.iter().map(|value| format!("\"{value}\"")).collect();
        assert_eq!(alike(&keys(name, &quoted)), 100 - WINDOW);
        let long: Vec<_> = (0..100).map(|at| format!("\"{at:>64}\"")).collect();
        assert_eq!(alike(&keys(name, &long)), 1, "this is content");
    }
    // A name that says whose text it is is always compared.
    let values: Vec<_> = (0..100).map(|at| at.to_string()).collect();
    assert_eq!(alike(&keys("agentId", &values)), 1);
}

#[test]
fn a_value_that_comes_again_tells_texts_apart_for_good() {
    for texts in 1..=WINDOW {
        let values: Vec<_> = (0..200).map(|at| (at % texts).to_string()).collect();
        let keys = keys("lane", &values);
        for (pair, values) in keys.windows(2).zip(values.windows(2)) {
            assert_eq!(pair[0] == pair[1], values[0] == values[1], "{texts} texts");
        }
    }
    let mut values: Vec<_> = (0..100).map(|at| at.to_string()).collect();
    values.push("99".to_owned());
    values.extend((100..200).map(|at| at.to_string()));
    assert_eq!(alike(&keys("lane", &values)), 1);
}

#[test]
fn what_repeats_unread_repeats() {
    let mut seen = Seen::default();
    let mut key = |value: usize, again: bool| {
        let mut beside = Beside::default();
        beside.add(b"lane", value.to_string().as_bytes());
        let key = seen.key(&beside);
        if again {
            seen.repeated();
        }
        key
    };
    let keys: Vec<_> = (0..60).map(|at| key(at, at == 0)).collect();
    assert_eq!(alike(&keys), 1);
}

#[test]
fn a_group_that_repeats_is_not_read_again() {
    let mut seen = Seen::default();
    let mut reads = 0;
    let mut keys = Vec::new();
    // Forty places with two events each, then one with a new value in each event.
    for at in (0..40).flat_map(|at| [at, at]).chain(100..200) {
        let raw = format!("{{\"lane\":{at}}}");
        keys.push(seen.group(raw.as_bytes(), || {
            reads += 1;
            let mut beside = Beside::default();
            beside.add(b"lane", at.to_string().as_bytes());
            beside
        }));
    }
    assert_eq!(reads, 40 + 100);
    assert!(keys.windows(2).enumerate().all(|(at, pair)| {
        let is_same = at < 80 && at % 2 == 0;
        (pair[0] == pair[1]) == is_same
    }));
}

#[test]
fn what_says_nothing_counts_as_absent() {
    for raw in ["null", "false", "\"\"", "[]", "{}"] {
        let mut beside = Beside::default();
        beside.add(b"agent", raw.as_bytes());
        beside.add(b"x", raw.as_bytes());
        assert_eq!(
            Seen::default().key(&beside),
            Seen::default().key(&Beside::default()),
            "{raw}"
        );
    }
}

#[test]
fn members_beyond_the_bounds_must_be_equal() {
    let mut seen = Seen::default();
    let mut key = |event: usize| {
        let mut beside = Beside::default();
        for at in 0..MAX_LOOSE {
            beside.add(format!("m{at}").as_bytes(), event.to_string().as_bytes());
        }
        let varying = seen.key(&beside);
        beside.add(b"one more", event.to_string().as_bytes());
        (varying, seen.key(&beside))
    };
    // Each event is noted twice, so its members repeat.
    let (one, two) = (key(1), key(2));
    assert_ne!(one.0, two.0);
    assert_ne!(one.1, two.1);
    let mut seen = Seen::default();
    for stream in 0..100 {
        let mut beside = Beside::default();
        beside.add(format!("m{stream}").as_bytes(), b"1");
        seen.key(&beside);
    }
    assert_eq!(seen.members.len(), MAX_MEMBERS);
}

#[test]
fn what_names_a_writer_is_the_same_in_all_events_of_a_text() {
    for name in [
        "agent",
        "agentId",
        "from",
        "messageId",
        "model",
        "role",
        "run_id",
        "task",
        "worker_name",
    ] {
        assert!(names_writer(name.as_bytes()), "{name}");
    }
    for name in [
        "content", "event_id", "id", "index", "kind", "object", "traceId", "type", "uuid",
    ] {
        assert!(!names_writer(name.as_bytes()), "{name}");
    }
}
