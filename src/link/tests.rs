//! A connection by a paused clock.

use super::*;

const HEAD: Duration = Duration::from_secs(10);
const KEEP: Duration = Duration::from_secs(75);

async fn pass(secs: u64) -> Instant {
    tokio::time::advance(Duration::from_secs(secs)).await;
    Instant::now()
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_and_a_slow_head_end_alike() {
    let link = Arc::new(Link::new(HEAD, KEEP));
    assert_eq!(link.overdue(pass(9).await), None);
    link.note_read();
    assert_eq!(link.overdue(pass(1).await), Some(Overdue::Head));
}

#[tokio::test(start_paused = true)]
async fn a_resting_connection_is_kept_until_it_speaks_too_slowly() {
    let link = Arc::new(Link::new(HEAD, KEEP));
    let open = link.request(false);
    assert_eq!(
        link.overdue(pass(1000).await),
        None,
        "requests have their own"
    );
    drop(open);
    assert_eq!(link.overdue(pass(74).await), None);
    link.note_read();
    assert_eq!(link.overdue(pass(9).await), None);
    link.note_read();
    assert_eq!(link.overdue(pass(1).await), Some(Overdue::Head));
    drop(link.request(false));
    assert_eq!(link.overdue(pass(75).await), Some(Overdue::Idle));
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_shared_connection_are_no_head() {
    let link = Arc::new(Link::new(HEAD, KEEP));
    drop(link.request(true));
    link.note_read();
    assert_eq!(link.overdue(pass(74).await), None);
    assert_eq!(link.overdue(pass(1).await), Some(Overdue::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_something_is_not_stalled() {
    let link = Arc::new(Link::new(HEAD, KEEP));
    let _open = link.request(false);
    link.allow_stall(Duration::from_secs(30));
    assert_eq!(link.last_progress(), None);
    link.note_full();
    pass(20).await;
    link.note_written();
    let progress = Instant::now();
    assert_eq!(link.last_progress(), Some(progress));
    assert_eq!(link.overdue(pass(30).await), None);
    assert_eq!(link.overdue(pass(1).await), Some(Overdue::Stalled));
    link.note_flushed();
    assert_eq!(link.last_progress(), None);
    assert_eq!(link.next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_looked_for_while_nobody_reads_from_it() {
    let link = Arc::new(Link::new(HEAD, KEEP));
    let open = link.request(false);
    link.note_listening(true);
    assert_eq!(link.next(), None);
    link.note_listening(false);
    assert_eq!(
        link.next().map(|at| link.at(at)),
        Some(Instant::now() + LOOK)
    );
    assert_eq!(link.overdue(pass(1).await), Some(Overdue::Unseen));
    assert!(!link.take_look());
    link.look();
    assert_eq!(link.overdue(Instant::now()), None, "the next one later");
    assert!(link.take_look() && !link.take_look());
    link.note_full();
    assert_eq!(
        link.overdue(pass(1).await),
        Some(Overdue::Unseen),
        "a client that takes nothing may leave as well"
    );
    drop(open);
    assert_ne!(link.deadline().1, Overdue::Unseen, "nobody waits for it");
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_at_its_time_and_the_next_one_has_its_own() {
    let link = Arc::new(Link::new(HEAD, KEEP));
    let open = link.request(false);
    link.end_by(Instant::now() + Duration::from_secs(5));
    link.note_full();
    assert_eq!(link.overdue(pass(4).await), None);
    assert_eq!(link.overdue(pass(1).await), Some(Overdue::Total));
    link.note_flushed();
    drop(open);
    let _open = link.request(false);
    assert_eq!(link.next(), None);
}

#[test]
fn interim_responses_are_bounded() {
    let link = Link::new(HEAD, KEEP);
    for _ in 0..1000 {
        link.interim(&[b'x'; 1000]);
    }
    assert_eq!(link.take_interim().unwrap().len(), 65_000);
    assert_eq!(link.take_interim(), None);
}
