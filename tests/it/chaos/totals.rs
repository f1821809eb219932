//! What a process must have counted, by its clients' notes: for each counter a least and a most,
//! which are the same where the clients can know. Pure.
//!
//! Lives that end with kill -9 take their counters with them: of these nothing is compared but
//! what they had counted when everyone had left for a while. Lives that end with SIGTERM say in
//! their last line how many messages they have read.

use super::plan::{Leaves, Message, Reply};
use super::samples::{good, panicking};
use super::transcript::{End, Transcript};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// A count that is not known exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Between {
    pub least: u64,
    pub most: u64,
}

impl Between {
    fn new(least: usize, most: usize) -> Self {
        Self { least: least as u64, most: most as u64 }
    }

    pub fn is_exact(self) -> bool {
        self.least == self.most
    }

    pub fn holds(self, count: f64) -> bool {
        (self.least as f64..=self.most as f64).contains(&count)
    }
}

impl AddAssign for Between {
    fn add_assign(&mut self, other: Self) {
        self.least += other.least;
        self.most += other.most;
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exact() {
            return write!(f, "{}", self.least);
        }
        write!(f, "{} to {}", self.least, self.most)
    }
}

pub const ACCEPTED: &str = "welcomed_connections_accepted_total";
pub const MESSAGES: &str = "welcomed_messages_total";
const RECEIVED: &str = "welcomed_received_bytes_total";
const SENT: &str = "welcomed_sent_bytes_total";
const PANICS: &str = "welcomed_handler_panics_total";
const PANICKED: &str = "welcomed_message_errors_total{reason=\"panic\"}";
const FAILED: &str = "welcomed_message_errors_total{reason=\"handler\"}";
const RESTARTS: &str = "welcomed_worker_restarts_total";
const INCOMPLETE: &str = "welcomed_message_errors_total{reason=\"incomplete\"}";

/// The counters of one process, by the names of their samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    pub counts: BTreeMap<&'static str, Between>,
}

impl Totals {
    /// What a connection of it adds.
    pub fn add(&mut self, seen: &Transcript) {
        for (name, count) in of(seen) {
            *self.counts.entry(name).or_default() += count;
        }
    }

    /// What a connection adds that nobody knows to be of this process.
    pub fn add_perhaps(&mut self, seen: &Transcript) {
        for (name, count) in of(seen) {
            *self.counts.entry(name).or_default() += Between { least: 0, ..count };
        }
    }
}

/// Whether it has read all that was to come: then what it knows is what the server did.
fn knows_all(seen: &Transcript) -> bool {
    let all = seen.heard.len() >= seen.answerable();
    let orderly = match seen.end {
        End::Clean => true,
        End::Left => !matches!(seen.plan.leaves, Leaves::Resetting { .. }) || all,
        _ => false,
    };
    orderly && seen.rest.is_empty()
}

fn of(seen: &Transcript) -> [(&'static str, Between); 9] {
    let (heard, answerable) = (seen.heard.len(), seen.answerable());
    // At an end nothing was done that has not been heard of.
    let done = if knows_all(seen) { heard } else { answerable };
    let calls = |message: fn(&Message) -> bool| {
        let count = |calls: usize| seen.messages()[..calls].iter().filter(|it| message(it)).count();
        Between::new(count(heard), count(done))
    };
    let panics = calls(|message| *message == Message::Panic);
    let length = |calls: usize| seen.messages()[..calls].iter().map(|it| it.line().len()).sum();
    let read: usize = seen.heard.iter().map(|(line, _)| line.len() + 1).sum();
    let unheard = seen.messages()[heard..done].iter().map(reply_length);
    // The server reads to the end of what was sent, if nothing made it end before.
    let asked = seen.wrote.finished.is_some() || seen.end == End::Left;
    let all = knows_all(seen) && asked && heard == seen.messages().len();
    let all = all && seen.messages().last().is_none_or(|it| it.reply() != Reply::LastWords);
    let received = if all { seen.wrote.bytes.0 } else { length(heard) };
    let half = usize::from(seen.plan.half && seen.wrote.bytes.1 > length(seen.messages().len()));
    let whole = usize::from(all && seen.end == End::Clean);
    [
        (ACCEPTED, Between::new(1, 1)),
        (MESSAGES, Between::new(heard, done)),
        (PANICS, panics),
        (RESTARTS, Between::new(0, 0)),
        (PANICKED, panics),
        (FAILED, calls(|message| *message == Message::Fail)),
        (INCOMPLETE, Between::new(half * whole, half)),
        (RECEIVED, Between::new(received, seen.wrote.bytes.1)),
        (SENT, Between::new(read, read + seen.rest.len() + unheard.sum::<usize>())),
    ]
}

fn reply_length(message: &Message) -> usize {
    match message.reply() {
        Reply::Process => 11,
        Reply::Line(text) => text.len() + 1,
        Reply::LastWords => super::checker::LAST_WORDS.len() + 1,
        Reply::Never => 0,
    }
}

#[test]
fn what_a_client_knows_is_exact() {
    let mut totals = Totals::default();
    totals.add(&good());
    totals.add(&panicking());
    let exact = |name: &str| (totals.counts[name].least, totals.counts[name].most);
    assert_eq!(exact(ACCEPTED), (2, 2));
    // What is behind the panic is read by nobody.
    assert_eq!(exact(MESSAGES), (7, 7));
    assert_eq!((exact(PANICS), exact(PANICKED), exact(FAILED)), ((1, 1), (1, 1), (0, 0)));
    assert_eq!(exact(SENT), (9 + 5 + 16, 9 + 5 + 16));
    // The message behind the panic may have been read with it.
    assert_eq!(exact(RECEIVED), (10 + 12, 10 + 14));
    assert!(totals.counts[MESSAGES].holds(7.0));
    for wrong in [6.0, 8.0] {
        assert!(!totals.counts[MESSAGES].holds(wrong));
    }
}

#[test]
fn what_a_client_does_not_wait_for_is_between_none_and_all() {
    let mut seen = good();
    seen.end = End::Left;
    seen.heard.truncate(2);
    seen.plan.leaves = Leaves::Resetting { after: 2 };
    let mut totals = Totals::default();
    totals.add(&seen);
    assert_eq!(totals.counts[MESSAGES], Between { least: 2, most: 4 });
    assert_eq!(totals.counts[RECEIVED], Between { least: 6, most: 10 });
    assert_eq!(totals.counts[SENT], Between { least: 5, most: 9 });
    totals.add_perhaps(&seen);
    assert_eq!(totals.counts[ACCEPTED], Between { least: 1, most: 2 });
    assert_eq!(totals.counts[MESSAGES], Between { least: 2, most: 8 });
}

#[test]
fn half_a_message_is_counted_once() {
    let mut seen = good();
    seen.plan.half = true;
    seen.wrote.bytes = (13, 13);
    let mut totals = Totals::default();
    totals.add(&seen);
    assert_eq!(totals.counts[INCOMPLETE], Between { least: 1, most: 1 });
    assert_eq!(totals.counts[RECEIVED], Between { least: 13, most: 13 });
}
