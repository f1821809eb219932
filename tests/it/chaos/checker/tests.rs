//! That the checker can fail: one planted defect each, beside the same without it.

use super::{Circumstances, Defect, NOISE};
use crate::chaos::plan::{Leaves, Message, Road};
use crate::chaos::samples::{at, good, panicking};
use crate::chaos::transcript::{End, How, Life, Span, Transcript};

/// Process 77 since 0 s, and what became of it.
fn life(end: Option<(u64, How)>) -> Life {
    let end = end.map(|(told, how)| (at(told), how));
    Life { process: 77, began: at(0), end, gone: end.map(|(told, _)| told + at(50)) }
}

fn judge(seen: &Transcript, end: Option<(u64, How)>) -> Result<(), Defect> {
    let lives = [life(end)];
    Circumstances { lives: &lives, disturbances: &[] }.judge(seen)
}

#[track_caller]
fn is_found(seen: &Transcript, end: Option<(u64, How)>, what: &str) {
    let found = judge(seen, end).expect_err("a defect that was planted").what;
    assert!(found.contains(what), "{found}");
}

/// Neither a living process, nor one that ends in any way while it talks, may do this.
#[track_caller]
fn is_never_right(seen: &Transcript, what: &str) {
    let ways = [How::Killed, How::Drained, How::CutOff { all: true }, How::CutOff { all: false }];
    is_found(seen, None, what);
    for how in ways {
        is_found(seen, Some((1020, how)), what);
    }
}

#[test]
fn what_is_right_is_right() {
    for seen in [good(), panicking()] {
        assert_eq!(judge(&seen, None), Ok(()));
        assert_eq!(judge(&seen, Some((9000, How::Killed))), Ok(()));
        assert_eq!(judge(&seen, Some((1020, How::Drained))), Ok(()));
    }
}

#[test]
fn swapped_replies_are_found() {
    let mut seen = good();
    seen.heard[1].0 = "b".to_owned();
    seen.heard[2].0 = "a".to_owned();
    is_never_right(&seen, "before its turn");
}

#[test]
fn a_doubled_reply_is_found() {
    let mut seen = good();
    seen.heard.insert(2, seen.heard[1].clone());
    is_never_right(&seen, "the reply to message 1 again");
}

#[test]
fn a_doubled_last_reply_is_found() {
    let mut seen = good();
    seen.heard.push(seen.heard[3].clone());
    is_never_right(&seen, "the reply to message 3 again");
}

#[test]
fn a_reply_of_another_client_is_found() {
    let mut seen = good();
    seen.heard[2].0 = "c2.1".to_owned();
    is_never_right(&seen, "no reply of this connection");
}

#[test]
fn a_reply_that_lost_a_byte_is_found() {
    let mut seen = good();
    seen.heard[1].0.clear();
    is_never_right(&seen, "no reply of this connection");
}

#[test]
fn a_left_out_reply_is_found() {
    let mut seen = good();
    seen.heard.remove(1);
    is_never_right(&seen, "before its turn");
}

#[test]
fn a_reply_after_last_words_is_found() {
    let mut seen = panicking();
    seen.heard.push(("c".to_owned(), at(1046)));
    is_never_right(&seen, "nobody asked for");
}

#[test]
fn a_reply_to_what_was_not_sent_is_found() {
    let mut seen = good();
    seen.wrote.sent.truncate(3);
    is_never_right(&seen, "nobody asked for");
}

#[test]
fn a_reply_to_a_call_that_never_returns_is_found() {
    let mut seen = good();
    seen.plan.messages[3] = Message::Hang;
    seen.heard[3].0.clear();
    is_never_right(&seen, "nobody asked for");
}

#[test]
fn no_last_words_are_found() {
    let mut seen = panicking();
    seen.heard.truncate(2);
    is_found(&seen, None, "1 of 3 replies are missing");
}

#[test]
fn a_reply_of_a_process_that_is_gone_is_found() {
    let mut seen = good();
    is_found(&seen, Some((500, How::Killed)), "process 77 was not there");
    seen.heard[0].0 = "78".to_owned();
    is_found(&seen, None, "process 78 was not there");
}

/// The last reply does not come, and the connection ends in this way.
fn missing(end: End) -> Transcript {
    let mut seen = good();
    seen.heard.truncate(3);
    Transcript { end, ended: at(1060), ..seen }
}

#[test]
fn a_missing_reply_is_found_if_the_process_lived() {
    for end in [End::Clean, End::Reset, End::TimedOut] {
        is_found(&missing(end.clone()), None, "1 of 4 replies are missing");
        is_found(&missing(end), Some((2000, How::Killed)), "1 of 4 replies are missing");
    }
}

#[test]
fn a_missing_reply_is_found_if_its_message_came_before_the_drain() {
    let ended = |end: End| Transcript { ended: at(1500), ..missing(end) };
    for how in [How::Drained, How::CutOff { all: false }] {
        is_found(&ended(End::Clean), Some((1400, how)), "1 of 4 replies are missing");
        is_found(&ended(End::Reset), Some((1400, how)), "1 of 4 replies are missing");
        // It may have come just after.
        assert_eq!(judge(&ended(End::Clean), Some((1055, how))), Ok(()));
    }
    for how in [How::Killed, How::CutOff { all: true }] {
        assert_eq!(judge(&ended(End::Clean), Some((1400, how))), Ok(()));
        assert_eq!(judge(&ended(End::Reset), Some((1400, how))), Ok(()));
    }
}

#[test]
fn what_travels_may_have_come_after_the_drain() {
    let mut seen = Transcript { ended: at(3000), ..missing(End::Clean) };
    let drained = Some((2000, How::Drained));
    is_found(&seen, drained, "missing");
    seen.plan.road = Road::Narrow;
    assert_eq!(judge(&seen, drained), Ok(()));
    seen.plan.road = Road::Relay(([127, 0, 0, 1], 1).into(), at(10));
    assert_eq!(judge(&seen, drained), Ok(()));
    is_found(&seen, Some((2800, How::Drained)), "missing");
}

#[test]
fn an_answer_of_nobody_is_excused_by_whoever_it_may_have_met() {
    let seen = Transcript { heard: Vec::new(), ended: at(1500), ..good() };
    is_found(&seen, None, "4 of 4 replies are missing");
    let successor = Life { process: 78, began: at(1200), end: None, gone: None };
    for (how, right) in [(How::Killed, true), (How::Drained, false)] {
        let lives = [life(Some((1400, how))), successor.clone()];
        let judged = Circumstances { lives: &lives, disturbances: &[] }.judge(&seen);
        assert_eq!(judged.is_ok(), right, "{how:?}");
    }
}

#[test]
fn half_a_reply_is_found() {
    let seen = Transcript { rest: "b".to_owned(), ..good() };
    is_found(&seen, None, "half a reply");
    is_found(&seen, Some((1020, How::Drained)), "half a reply");
    assert_eq!(judge(&seen, Some((1020, How::Killed))), Ok(()));
}

#[test]
fn a_wrong_end_is_found() {
    let mut unasked = good();
    unasked.wrote.finished = None;
    is_found(&unasked, None, "nobody had asked");
    assert_eq!(judge(&unasked, Some((1045, How::Drained))), Ok(()));
    let reset = Transcript { end: End::Reset, ended: at(1500), ..good() };
    is_found(&reset, None, "Reset instead of the end");
    is_found(&reset, Some((1400, How::Drained)), "Reset instead of the end");
    assert_eq!(judge(&reset, Some((1045, How::Drained))), Ok(()), "it was still sending");
    assert_eq!(judge(&reset, Some((1400, How::Killed))), Ok(()));
    let failed = Transcript { end: End::Failed("no route".to_owned()), ..good() };
    is_never_right(&failed, "a call failed: no route");
}

#[test]
fn a_client_that_leaves_is_owed_what_it_waited_for() {
    let mut seen = Transcript { end: End::Left, ..missing(End::Left) };
    seen.plan.leaves = Leaves::Closing;
    is_found(&seen, None, "1 of 4 replies are missing");
    seen.plan.leaves = Leaves::Resetting { after: 3 };
    assert_eq!(judge(&seen, None), Ok(()));
    seen.heard[2].0 = "c".to_owned();
    is_never_right(&seen, "before its turn");
}

#[test]
fn a_late_reply_is_found_unless_something_was_in_its_way() {
    let mut seen = good();
    let late = NOISE + at(2000);
    seen.heard[3].1 += late;
    seen.ended += late;
    is_found(&seen, None, "reply 3 took");
    let during = |span: Span| {
        let lives = [life(None)];
        Circumstances { lives: &lives, disturbances: &[span] }.judge(&seen)
    };
    assert_eq!(during((at(1100), at(4000))), Ok(()));
    assert!(during((at(100), at(1100))).is_err(), "that was before");
    assert!(during((at(1100), at(2100))).is_err(), "that was too short");
}

#[test]
fn a_late_end_and_none_at_all_are_found() {
    let late = Transcript { ended: at(2000) + NOISE, ..good() };
    is_found(&late, None, "the end took");
    let mut none = Transcript { end: End::TimedOut, ..late };
    is_found(&none, None, "the end took");
    none.heard.clear();
    is_found(&none, Some((1020, How::Killed)), "a reply took");
}
