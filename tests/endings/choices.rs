//! Streams with several answers side by side: each needs an end of its own.

use weir::dialect::Dialect;
use weir::stream::pipeline::Verdict;

use super::{data, stand};

#[test]
fn every_choice_needs_its_finish_reason() {
    let choice = |index: u8, finish: &str| {
        format!(r#"{{"finish_reason":{finish},"delta":{{"content":"x"}},"index":{index}}}"#)
    };
    let chunk = |choices: &[String]| {
        data(&format!(
            r#"{{"object":"chat.completion.chunk","choices":[{}]}}"#,
            choices.join(",")
        ))
    };
    let both = chunk(&[choice(0, "null"), choice(1, "null")]);
    let one = chunk(&[choice(0, r#""stop""#)]);
    let other = chunk(&[choice(1, r#""length""#)]);
    let hint = Some(Dialect::OpenAiChat);
    assert_eq!(stand(hint, &[&both, &one]).clean, Verdict::Truncated);
    assert_eq!(stand(hint, &[&both, &one, &other]).clean, Verdict::Complete);
    let together = chunk(&[choice(0, r#""stop""#), choice(1, r#""stop""#)]);
    assert_eq!(stand(hint, &[&both, &together]).clean, Verdict::Complete);
}

#[test]
fn every_candidate_needs_its_finish_reason() {
    let chunk =
        |candidates: &[&str]| data(&format!(r#"{{"candidates":[{}]}}"#, candidates.join(",")));
    // The first index may be left out.
    let (zero, one) = (
        r#"{"content":{"parts":[{"text":"a"}]}}"#,
        r#"{"index":1,"content":{"parts":[{"text":"b"}]}}"#,
    );
    let (zero_ends, one_ends) = (
        r#"{"finishReason":"STOP"}"#,
        r#"{"finishReason":"MAX_TOKENS","index":1}"#,
    );
    let after = |blocks: &[String]| {
        let blocks: Vec<&str> = blocks.iter().map(String::as_str).collect();
        stand(Some(Dialect::Gemini), &blocks)
    };
    let both = chunk(&[zero, one]);
    let half = after(&[both.clone(), chunk(&[zero_ends])]);
    assert_eq!((half.possible, half.clean), (None, Verdict::Truncated));
    let apart = [both.clone(), chunk(&[zero_ends]), chunk(&[one_ends])];
    assert_eq!(after(&apart).clean, Verdict::Complete);
    let together = after(&[both, chunk(&[one_ends, zero_ends])]);
    assert_eq!(together.clean, Verdict::Complete);
    // One candidate after the other.
    let next = [chunk(&[zero]), chunk(&[zero_ends]), chunk(&[one])];
    assert_eq!(after(&next).possible, None);
    assert_eq!(after(&next).clean, Verdict::Truncated);
    let blocked = data(r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#);
    assert_eq!(after(&[blocked]).clean, Verdict::Complete);
}
