//! Tests of the connection deadlines, with a paused clock.

use super::*;

const HEAD: Duration = Duration::from_secs(10);
const KEEP: Duration = Duration::from_secs(75);

async fn pass(secs: u64) -> Instant {
    tokio::time::advance(Duration::from_secs(secs)).await;
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_and_a_slow_head_end_alike() {
    let conn = Arc::new(ClientConn::new(HEAD, KEEP));
    assert_eq!(conn.overdue(pass(9).await), None);
    conn.note_read();
    assert_eq!(conn.overdue(pass(1).await), Some(Overdue::Head));
}

#[tokio::test(start_paused = true)]
async fn a_resting_connection_is_kept_until_it_speaks_too_slowly() {
    let conn = Arc::new(ClientConn::new(HEAD, KEEP));
    let open = conn.request(false);
    assert_eq!(
        conn.overdue(pass(1000).await),
        None,
        "requests have their own"
    );
    drop(open);
    assert_eq!(conn.overdue(pass(74).await), None);
    conn.note_read();
    assert_eq!(conn.overdue(pass(9).await), None);
    conn.note_read();
    assert_eq!(conn.overdue(pass(1).await), Some(Overdue::Head));
    drop(conn.request(false));
    assert_eq!(conn.overdue(pass(75).await), Some(Overdue::Idle));
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_shared_connection_are_no_head() {
    let conn = Arc::new(ClientConn::new(HEAD, KEEP));
    drop(conn.request(true));
    conn.note_read();
    assert_eq!(conn.overdue(pass(74).await), None);
    assert_eq!(conn.overdue(pass(1).await), Some(Overdue::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_something_is_not_stalled() {
    let conn = Arc::new(ClientConn::new(HEAD, KEEP));
    let _open = conn.request(false);
    conn.allow_stall(Duration::from_secs(30));
    assert_eq!(conn.last_progress(), None);
    conn.note_full();
    pass(20).await;
    conn.note_written();
    let progress = Instant::now();
    assert_eq!(conn.last_progress(), Some(progress));
    assert_eq!(conn.overdue(pass(30).await), None);
    assert_eq!(conn.overdue(pass(1).await), Some(Overdue::Stalled));
    conn.note_flushed();
    assert_eq!(conn.last_progress(), None);
    assert_eq!(conn.next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_looked_for_while_nobody_reads_from_it() {
    let conn = Arc::new(ClientConn::new(HEAD, KEEP));
    let open = conn.request(false);
    conn.note_listening(true);
    assert_eq!(conn.next(), None);
    conn.note_listening(false);
    assert_eq!(
        conn.next().map(|at| conn.at(at)),
        Some(Instant::now() + LOOK)
    );
    assert_eq!(conn.overdue(pass(1).await), Some(Overdue::Unseen));
    assert!(!conn.take_look());
    conn.look();
    assert_eq!(conn.overdue(Instant::now()), None, "the next one later");
    assert!(conn.take_look() && !conn.take_look());
    conn.note_full();
    assert_eq!(
        conn.overdue(pass(1).await),
        Some(Overdue::Unseen),
        "a client that takes nothing may leave as well"
    );
    drop(open);
    assert_ne!(conn.deadline().1, Overdue::Unseen, "nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_at_its_time_and_the_next_one_has_its_own() {
    let conn = Arc::new(ClientConn::new(HEAD, KEEP));
    let open = conn.request(false);
    conn.end_by(Instant::now() + Duration::from_secs(5));
    conn.note_full();
    assert_eq!(conn.overdue(pass(4).await), None);
    assert_eq!(conn.overdue(pass(1).await), Some(Overdue::Total));
    conn.note_flushed();
    drop(open);
    let _open = conn.request(false);
    assert_eq!(conn.next(), None);
}

#[test]
fn interim_responses_are_bounded() {
    let conn = ClientConn::new(HEAD, KEEP);
    for _ in 0..1000 {
        conn.interim(&[b'x'; 1000]);
    }
    assert_eq!(conn.take_interim().unwrap().len(), 65_000);
    assert_eq!(conn.take_interim(), None);
}

#[tokio::test(start_paused = true)]
async fn the_longest_limit_of_the_open_requests_is_allowed() {
    let conn = Arc::new(ClientConn::new(HEAD, KEEP));
    assert_eq!(conn.allowed_stall(), None);
    let open = conn.request(false);
    conn.allow_stall(Duration::from_secs(30));
    conn.allow_stall(Duration::from_secs(3));
    assert_eq!(conn.allowed_stall(), Some(Duration::from_secs(30)));
    drop(open);
    let _open = conn.request(false);
    conn.allow_stall(Duration::from_secs(3));
    assert_eq!(conn.allowed_stall(), Some(Duration::from_secs(3)));
    conn.give_up();
    assert_eq!(conn.allowed_stall(), None, "it is closed by Weir itself");
}

#[test]
fn a_connection_has_three_cache_lines() {
    // With the two counts of its `Arc`.
    let size = 2 * size_of::<usize>() + size_of::<ClientConn>();
    assert!(size <= 192, "{size}");
}
