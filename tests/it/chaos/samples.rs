//! Connections as they should be, for the tests in which `checker` and `totals` are to find a
//! planted defect.

use super::checker::LAST_WORDS;
use super::plan::{Leaves, Message, Plan, Road};
use super::transcript::{End, Moment, Transcript, Wrote};
use std::time::Duration;

pub fn at(millis: u64) -> Moment {
    Duration::from_millis(millis)
}

/// Connects at 1,000 ms, sends "a", "b", "c" behind its question at 1,010 ms and so on, hears each
/// reply 5 ms later, and leaves with all of them.
pub fn good() -> Transcript {
    let texts = ["a", "b", "c"].map(|text| Message::Text(text.to_owned()));
    let messages: Vec<Message> = [Message::Who].into_iter().chain(texts).collect();
    let name = "c1.1".to_owned();
    let (leaves, road) = (Leaves::HalfClosing, Road::Direct);
    let heard = ["77", "a", "b", "c"];
    Transcript {
        plan: Plan { name, messages, window: 4, half: false, leaves, road },
        connected: at(1000),
        wrote: Wrote {
            sent: (1..=4).map(|n| at(1000 + n * 10)).collect(),
            bytes: (10, 10),
            finished: Some(at(1040)),
        },
        heard: (1..).zip(heard).map(|(n, line)| (line.to_owned(), at(1005 + n * 10))).collect(),
        rest: String::new(),
        end: End::Clean,
        ended: at(1050),
    }
}

/// As [`good`], with "b" at which the handler panics.
pub fn panicking() -> Transcript {
    let mut seen = good();
    seen.plan.messages[2] = Message::Panic;
    seen.wrote.bytes = (14, 14);
    seen.heard.truncate(3);
    seen.heard[2].0 = LAST_WORDS.to_owned();
    seen
}
