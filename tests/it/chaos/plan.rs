//! What a client is going to do: its messages, how it sends and reads them, and how it leaves.
//! Pure; carried out by `client`, judged by `checker`.

use fastrand::Rng;
use std::net::SocketAddr;
use std::time::Duration;

/// Something that is said to `examples/faulty.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Asks which process answers. The first of every connection.
    Who,
    /// Comes back as it is. No other message of the run has this text.
    Text(String),
    /// Takes so many milliseconds, and is answered by an empty line.
    Sleep(u64),
    Panic,
    Fail,
    /// Never returns.
    Hang,
}

/// What has to come back.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The number of a process.
    Process,
    Line(&'a str),
    /// These words, and then the end.
    LastWords,
    /// Neither a reply nor one to anything behind it.
    Never,
}

impl Message {
    pub fn line(&self) -> String {
        match self {
            Self::Who => "who\n".to_owned(),
            Self::Text(text) => format!("{text}\n"),
            Self::Sleep(millis) => format!("sleep-ms {millis}\n"),
            Self::Panic => "panic\n".to_owned(),
            Self::Fail => "fail\n".to_owned(),
            Self::Hang => "hang\n".to_owned(),
        }
    }

    pub fn reply(&self) -> Reply<'_> {
        match self {
            Self::Who => Reply::Process,
            Self::Text(text) => Reply::Line(text),
            Self::Sleep(_) => Reply::Line(""),
            Self::Panic | Self::Fail => Reply::LastWords,
            Self::Hang => Reply::Never,
        }
    }
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// Ends its stream behind its last message, and reads to the server's end.
    HalfClosing,
    /// Closes when it has read every reply.
    Closing,
    /// Resets when it has read so many replies.
    Resetting { after: usize },
}

/// How its bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    Direct,
    /// Through a relay with this delay.
    Relay(SocketAddr, Duration),
    /// Direct, into a small buffer which is read slowly, so that both sides have to wait.
    Narrow,
}

/// What the permanent load is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Calm,
    Stormy,
}

#[derive(Debug, Clone)]
pub struct Plan {
    /// Begins every message's text.
    pub name: String,
    pub messages: Vec<Message>,
    /// At most so many are unanswered at a time.
    pub window: usize,
    /// Half a message behind the last, which is never to be answered.
    pub half: bool,
    pub leaves: Leaves,
    pub road: Road,
}

impl Plan {
    fn new(name: String, messages: Vec<Message>, window: usize) -> Self {
        let road = Road::Direct;
        Self { name, messages, window, half: false, leaves: Leaves::HalfClosing, road }
    }

    /// Any client of the permanent load. One in four uses the relay. In a calm there is nobody of
    /// whom the server knows more than the client does.
    pub fn any(name: String, rng: &mut Rng, relay: (SocketAddr, Duration), mood: Mood) -> Self {
        let road = if rng.u8(..4) == 0 { Road::Relay(relay.0, relay.1) } else { Road::Direct };
        let plan = match rng.u8(..if mood == Mood::Calm { 13 } else { 16 }) {
            0..=3 => Self { leaves: Leaves::Closing, ..Self::texts(name, rng, 3..20, 1) },
            4..=7 => Self::texts(name, rng, 20..200, 64),
            8..=9 => Self { half: true, ..Self::texts(name, rng, 1..20, 8) },
            10..=11 => Self { window: 16, ..Self::texts(name, rng, 2..40, 16) }.with_naps(rng),
            12 => return Self::narrow(name, rng),
            13 => Self::failing(name, rng),
            14 => Self::resetting(name, rng),
            _ => return Self::resetting_at_once(name, rng),
        };
        Self { road, ..plan }
    }

    /// Asks who answers, and says some short texts.
    fn texts(name: String, rng: &mut Rng, count: std::ops::Range<usize>, window: usize) -> Self {
        let texts = (0..rng.usize(count)).map(|n| text(&name, n, rng.usize(..80)));
        let messages = [Message::Who].into_iter().chain(texts).collect();
        Self::new(name, messages, window)
    }

    fn with_naps(mut self, rng: &mut Rng) -> Self {
        for message in self.messages.iter_mut().skip(1) {
            if rng.u8(..4) == 0 {
                *message = Message::Sleep(rng.u64(1..5));
            }
        }
        self
    }

    /// Says something that the handler fails at, and goes on.
    pub fn failing(name: String, rng: &mut Rng) -> Self {
        let mut plan = Self::texts(name, rng, 2..20, 32);
        let place = rng.usize(1..plan.messages.len());
        plan.messages[place] = if rng.u8(..4) == 0 { Message::Fail } else { Message::Panic };
        plan
    }

    /// Resets amid its replies. Behind the first: with none it cannot know whether a relay on its
    /// way has met the server yet.
    pub fn resetting(name: String, rng: &mut Rng) -> Self {
        let plan = Self::texts(name, rng, 1..30, 64);
        let after = rng.usize(1..=plan.messages.len());
        Self { leaves: Leaves::Resetting { after }, ..plan }
    }

    /// Sends and resets, without a look at what comes.
    pub fn resetting_at_once(name: String, rng: &mut Rng) -> Self {
        let plan = Self::texts(name, rng, 1..10, 64);
        Self { leaves: Leaves::Resetting { after: 0 }, ..plan }
    }

    /// Long texts, of which more are owed than its buffer holds.
    fn narrow(name: String, rng: &mut Rng) -> Self {
        let texts = (0..rng.usize(20..80)).map(|n| text(&name, n, rng.usize(2000..9000)));
        let messages = [Message::Who].into_iter().chain(texts).collect();
        Self { road: Road::Narrow, ..Self::new(name, messages, 1000) }
    }

    /// Texts through a relay.
    pub fn relayed(name: String, rng: &mut Rng, relay: (SocketAddr, Duration)) -> Self {
        let plan = Self::texts(name, rng, 5..30, 8);
        Self { road: Road::Relay(relay.0, relay.1), ..plan }
    }

    /// A call that takes so long, amid others.
    pub fn sleeping(name: String, lasts: Duration) -> Self {
        let texts = [Message::Who, text(&name, 0, 0), Message::Sleep(lasts.as_millis() as u64)];
        let messages = texts.into_iter().chain([text(&name, 1, 0)]).collect();
        Self::new(name, messages, 4)
    }

    /// A call that never returns. What is before it is answered first: replies that are gathered
    /// when a quick call turns out to be none are lost with it.
    pub fn hanging(name: String) -> Self {
        let messages = vec![Message::Who, text(&name, 0, 0), Message::Hang];
        Self::new(name, messages, 1)
    }
}

fn text(name: &str, number: usize, length: usize) -> Message {
    Message::Text(format!("{name}.{number} {}", "x".repeat(length)))
}
