//! Judges one connection by its client's notes: each reply is the next message's, none is missing
//! that was owed, none comes behind the end, and nothing was waited for too long. Pure.
//!
//! What is owed depends on what happened to the process meanwhile:
//!
//! | the process | owed | the end |
//! |---|---|---|
//! | lives on | every reply | that of the stream, after the client's own or last words |
//! | had SIGTERM, exit code 0 | what had arrived before | the same, at any time; see below |
//! | exit code 3: one worker hung | the same | the same |
//! | exit code 3: all hung | nothing | any |
//! | had kill -9 | nothing | any |
//!
//! A drain may reset those who went on sending, as the kernel does for a socket that is gone.
//! Replies that come are never wrong, doubled or out of order, whatever happened.

use super::plan::Reply;
use super::schedule::NOISE;
use super::transcript::{End, How, Life, Moment, Span, Transcript};
use std::time::Duration;

/// What handler and framing make of a failed call.
pub const LAST_WORDS: &str = "Internal error.";

/// A message that was written so long before a signal was sent had arrived before it. The kernel's
/// loopback has brought it when the write returns, but makes no promise of it.
const MARGIN: Duration = Duration::from_millis(20);

/// Something that must not be.
#[derive(Debug, PartialEq, Eq)]
pub struct Defect {
    pub what: String,
    pub at: Moment,
}

fn defect<T>(what: impl Into<String>, at: Moment) -> Result<T, Defect> {
    Err(Defect { what: what.into(), at })
}

/// What a run knows beside the clients' notes.
pub struct Circumstances<'a> {
    pub lives: &'a [Life],
    pub disturbances: &'a [Span],
}

impl Circumstances<'_> {
    pub fn judge(&self, seen: &Transcript) -> Result<(), Defect> {
        if let End::Failed(why) = &seen.end {
            return defect(format!("a call failed: {why}"), seen.ended);
        }
        replies_match(seen)?;
        let lives = self.candidates(seen)?;
        // Without a reply nobody knows which process it met: what one of them excuses is excused.
        let mut verdicts = lives.iter().map(|life| what_is_missing(seen, life));
        if !verdicts.any(|verdict| verdict.is_ok()) {
            lives.iter().try_for_each(|life| what_is_missing(seen, life))?;
        }
        self.waits_are_short(seen)
    }

    /// The processes that it can have met: one, if it has got a reply.
    fn candidates(&self, seen: &Transcript) -> Result<Vec<&Life>, Defect> {
        let at_its_time = |life: &&Life| life.overlaps(seen.connected, seen.ended);
        let Some(process) = seen.process() else {
            return Ok(self.lives.iter().filter(at_its_time).collect());
        };
        match self.lives.iter().filter(at_its_time).find(|life| life.process == process) {
            Some(life) => Ok(vec![life]),
            None => defect(format!("process {process} was not there then"), seen.ended),
        }
    }

    /// The longest that anything may take between these two.
    fn allowed(&self, from: Moment, to: Moment) -> Duration {
        let overlap = |span: &Span| span.1.min(to).saturating_sub(span.0.max(from));
        NOISE + self.disturbances.iter().map(overlap).sum::<Duration>()
    }

    /// Each wait began with the later of the message and the last reply before its own.
    fn waits_are_short(&self, seen: &Transcript) -> Result<(), Defect> {
        let mut since = seen.connected;
        for (number, (_, heard)) in seen.heard.iter().enumerate() {
            since = since.max(seen.wrote.sent[number]);
            self.wait_is_short(&format!("reply {number}"), since, *heard)?;
            since = since.max(*heard);
        }
        // What it waited for last: a reply, or the end.
        let owed = seen.heard.len() < seen.answerable();
        let asked =
            if owed { Some(seen.wrote.sent[seen.heard.len()]) } else { seen.wrote.finished };
        if seen.end == End::Left {
            return Ok(());
        }
        let since = since.max(asked.unwrap_or(seen.ended));
        self.wait_is_short(if owed { "a reply" } else { "the end" }, since, seen.ended)
    }

    fn wait_is_short(&self, what: &str, from: Moment, to: Moment) -> Result<(), Defect> {
        let (waited, allowed) = (to.saturating_sub(from), self.allowed(from, to));
        if waited > allowed {
            return defect(format!("{what} took {waited:?}, more than {allowed:?}"), to);
        }
        Ok(())
    }
}

/// Each line is the reply to the message at its place, and there are no more.
fn replies_match(seen: &Transcript) -> Result<(), Defect> {
    let expected: Vec<Reply<'_>> =
        seen.messages()[..seen.answerable()].iter().map(|message| message.reply()).collect();
    for (place, (line, at)) in seen.heard.iter().enumerate() {
        let is = |reply: &Reply<'_>| match reply {
            Reply::Process => line.parse::<u32>().is_ok(),
            Reply::Line(text) => line == text,
            Reply::LastWords => line == LAST_WORDS,
            Reply::Never => false,
        };
        if expected.get(place).is_some_and(is) {
            continue;
        }
        let what = match expected.iter().position(is) {
            Some(other) if other < place => format!("the reply to message {other} again"),
            Some(other) => format!("the reply to message {other} before its turn"),
            None if place >= expected.len() => "a line that nobody asked for".to_owned(),
            None => "no reply of this connection".to_owned(),
        };
        return defect(format!("line {place} is {what}: {line:?}"), *at);
    }
    Ok(())
}

/// What the end of this process excuses, if it ended while the client was connected.
fn excuse(seen: &Transcript, life: &Life) -> Option<(Moment, How)> {
    life.end.filter(|(told, _)| seen.ended >= *told)
}

/// Whether every reply that was owed has come, and then the right end.
fn what_is_missing(seen: &Transcript, life: &Life) -> Result<(), Defect> {
    let excuse = excuse(seen, life);
    if matches!(excuse, Some((_, How::Killed | How::CutOff { all: true }))) {
        return Ok(());
    }
    let answerable = seen.answerable();
    let owed = match (&seen.end, excuse) {
        (End::Left, _) if seen.left_early() => return Ok(()),
        (_, None) => answerable,
        (_, Some((told, _))) => {
            let arrived =
                |at: &&Moment| seen.travels().is_some_and(|travels| **at + travels + MARGIN < told);
            seen.wrote.sent[..answerable].iter().take_while(arrived).count()
        }
    };
    let heard = seen.heard.len();
    if heard < owed {
        return defect(format!("{} of {owed} replies are missing", owed - heard), seen.ended);
    }
    if !seen.rest.is_empty() {
        return defect(format!("half a reply: {:?}", seen.rest), seen.ended);
    }
    match (&seen.end, excuse) {
        (End::Left, _) => Ok(()),
        (End::Clean, Some(_)) => Ok(()),
        (End::Clean, None) if seen.wrote.finished.is_some() || seen.has_last_words() => Ok(()),
        (End::Clean, None) => defect("the stream ended, and nobody had asked for it", seen.ended),
        // It went on sending to a server that had ended, and that is what the kernel says then.
        (End::Reset, Some((told, _))) if arrives_until(seen).is_none_or(|at| at >= told) => Ok(()),
        // As long as the circumstances allow: `waits_are_short` sees to that.
        (End::TimedOut, _) => Ok(()),
        (end, _) => defect(format!("{end:?} instead of the end of the stream"), seen.ended),
    }
}

/// When its last write had arrived for sure, if that can be known.
fn arrives_until(seen: &Transcript) -> Option<Moment> {
    let wrote = seen.wrote.sent.last().copied().max(seen.wrote.finished).unwrap_or_default();
    Some(wrote + seen.travels()? + MARGIN)
}

mod tests;
