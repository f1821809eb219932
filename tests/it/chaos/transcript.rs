//! What was seen: by a client of its connection, and by the storm of the program's lives. Filled
//! in by `client` and `storm`, judged by `checker`. Knows no socket.

use super::plan::{Leaves, Message, Plan, Reply, Road};
use std::fmt::Write;
use std::time::Duration;

/// Time since the run's beginning.
pub type Moment = Duration;

/// How a connection ended, as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The server's end of the stream.
    Clean,
    Reset,
    /// The client has left, as planned.
    Left,
    /// Nothing came for as long as it was patient.
    TimedOut,
    /// Anything else.
    Failed(String),
}

/// What a client wrote.
#[derive(Debug, Clone, Default)]
pub struct Wrote {
    /// For each message, when its write was over, whether or not it succeeded.
    pub sent: Vec<Moment>,
    /// Bytes, at least and at most.
    pub bytes: (usize, usize),
    /// When it ended its stream.
    pub finished: Option<Moment>,
}

/// One connection, by its client's own notes.
#[derive(Debug, Clone)]
pub struct Transcript {
    pub plan: Plan,
    /// Before it connected.
    pub connected: Moment,
    pub wrote: Wrote,
    /// Each line, and when it came.
    pub heard: Vec<(String, Moment)>,
    /// What came behind the last whole line.
    pub rest: String,
    pub end: End,
    pub ended: Moment,
}

impl Transcript {
    /// The messages that were sent.
    pub fn messages(&self) -> &[Message] {
        &self.plan.messages[..self.wrote.sent.len()]
    }

    /// How many of the sent messages have a reply coming, in order: all up to the last words.
    pub fn answerable(&self) -> usize {
        let messages = self.messages();
        let last = messages.iter().position(|it| it.reply() == Reply::LastWords);
        let never = messages.iter().position(|it| it.reply() == Reply::Never);
        last.map(|place| place + 1).or(never).unwrap_or(messages.len())
    }

    /// The process that has answered.
    pub fn process(&self) -> Option<u32> {
        self.heard.first()?.0.parse().ok()
    }

    /// Whether it was told that the handler has failed.
    pub fn has_last_words(&self) -> bool {
        let last = self.heard.len().checked_sub(1);
        last.is_some_and(|last| self.messages()[last].reply() == Reply::LastWords)
    }

    /// Whether it left with replies under way that nobody has read.
    pub fn left_early(&self) -> bool {
        self.end == End::Left && matches!(self.plan.leaves, Leaves::Resetting { .. })
    }

    /// How long after its write a message is at the server, at most; if that can be said.
    pub fn travels(&self) -> Option<Duration> {
        match self.plan.road {
            Road::Direct => Some(Duration::ZERO),
            Road::Relay(_, delay) => Some(2 * delay + Duration::from_secs(1)),
            // It may be in the client's own kernel, for want of room in the other.
            Road::Narrow => None,
        }
    }

    /// The lines around this moment.
    pub fn around(&self, moment: Moment) -> String {
        let mut lines = vec![(self.connected, "connects".to_owned())];
        for (message, at) in self.messages().iter().zip(&self.wrote.sent) {
            lines.push((*at, format!("sent   {}", brief(message.line().trim_end()))));
        }
        lines.extend(self.wrote.finished.map(|at| (at, "ends its stream".to_owned())));
        for (line, at) in &self.heard {
            lines.push((*at, format!("heard  {}", brief(line))));
        }
        if !self.rest.is_empty() {
            lines.push((self.ended, format!("heard  {} (no end of line)", brief(&self.rest))));
        }
        lines.push((self.ended, format!("the end: {:?}", self.end)));
        lines.sort_by_key(|(at, _)| *at);
        let place = lines.partition_point(|(at, _)| *at < moment);
        let (from, to) = (place.saturating_sub(12), (place + 8).min(lines.len()));
        let Plan { name, window, half, leaves, road, messages } = &self.plan;
        let count = messages.len();
        let mut text = format!(
            "client {name}: {count} messages planned, window {window}, half a message: {half}, \
             {leaves:?}, {road:?}; process {:?}; {} sent, {} heard\n",
            self.process(),
            self.wrote.sent.len(),
            self.heard.len()
        );
        for (at, line) in &lines[from..to] {
            writeln!(text, "  {:11.6} s  {line}", at.as_secs_f64()).unwrap();
        }
        text
    }
}

fn brief(line: &str) -> String {
    let start: String = line.chars().take(60).collect();
    if start.len() < line.len() { format!("{start:?}... {} bytes", line.len()) } else { start }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// kill -9.
    Killed,
    /// SIGTERM, with exit code 0.
    Drained,
    /// SIGTERM, with exit code 3: calls that never return had one worker, or all.
    CutOff { all: bool },
}

/// One process.
#[derive(Debug, Clone)]
pub struct Life {
    pub process: u32,
    pub began: Moment,
    /// When it was told to end, and how it did.
    pub end: Option<(Moment, How)>,
    /// When it was gone.
    pub gone: Option<Moment>,
}

impl Life {
    /// Whether it was there at some time from `from` to `to`.
    pub fn overlaps(&self, from: Moment, to: Moment) -> bool {
        self.began <= to && self.ends_after(from)
    }

    pub fn ends_after(&self, moment: Moment) -> bool {
        self.gone.is_none_or(|gone| gone >= moment)
    }
}

/// A time during which something kept the program from answering.
pub type Span = (Moment, Moment);
