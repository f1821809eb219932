//! One connection's conversation: which names go out, which replies are owed for them, and
//! whether those came. Pure: no socket, and the clock is an argument.

use super::report::{Errors, Latency};
use std::collections::VecDeque;
use std::time::Instant;

/// The longest reply that is read to its end, right or wrong.
const LONGEST_REPLY: usize = 64 << 10;

/// The most bytes of a reply that an error quotes.
const QUOTED: usize = 80;

/// Connection (5 digits), `-`, number (8 digits), newline.
type Message = [u8; 15];
/// `Hello, `, the message without its newline, `!`, newline.
type Answer = [u8; 23];

const FIRST_MESSAGE: &Message = b"00000-00000000\n";
const FIRST_ANSWER: &Answer = b"Hello, 00000-00000000!\n";
/// Where the name begins in an answer.
const GREETING: usize = b"Hello, ".len();
/// Where the number begins in a name, and where it ends.
const NUMBER: usize = 6;
const END: usize = 14;

/// What one run has counted so far, over all connections.
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) right: u64,
    pub(super) errors: Errors,
    pub(super) latency: Latency,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { sent: 0, right: 0, errors: Errors::default(), latency: Latency::new() }
    }

    /// Messages that wait for their reply.
    pub(super) fn unanswered(&self) -> u64 {
        self.sent - self.right - self.errors.messages()
    }
}

/// A reply without an end: there is no way on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endless;

/// Messages that were sent together.
#[derive(Debug)]
struct Batch {
    sent: Instant,
    messages: usize,
}

/// One connection's side of the conversation. Allocates with the first message.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The next message to send.
    next: Message,
    /// The reply to the oldest message without one, or, if there is none, to the next.
    owed: Answer,
    /// What waits for replies, oldest first.
    batches: VecDeque<Batch>,
    unanswered: usize,
    /// The beginning of a reply whose rest has not come.
    partial: Vec<u8>,
}

impl Exchange {
    /// The conversation of connection `index`.
    pub(super) fn new(index: usize) -> Self {
        let mut next = *FIRST_MESSAGE;
        let mut place = index;
        for digit in next[..NUMBER - 1].iter_mut().rev() {
            *digit += (place % 10) as u8;
            place /= 10;
        }
        let mut owed = *FIRST_ANSWER;
        owed[GREETING..GREETING + END].copy_from_slice(&next[..END]);
        Self { next, owed, batches: VecDeque::new(), unanswered: 0, partial: Vec::new() }
    }

    /// Messages that wait for their reply.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Appends `count` messages to `output`, to be sent `now`.
    pub(super) fn ask(
        &mut self,
        count: usize,
        now: Instant,
        output: &mut Vec<u8>,
        tally: &mut Tally,
    ) {
        for _ in 0..count {
            output.extend_from_slice(&self.next);
            advance(&mut self.next[NUMBER..END]);
        }
        self.batches.push_back(Batch { sent: now, messages: count });
        self.unanswered += count;
        tally.sent += count as u64;
    }

    /// Takes what was read `now`, and counts the replies in it.
    pub(super) fn hear(
        &mut self,
        input: &[u8],
        now: Instant,
        tally: &mut Tally,
    ) -> Result<(), Endless> {
        if self.partial.is_empty() {
            let rest = self.replies(input, now, tally);
            self.partial.extend_from_slice(&input[input.len() - rest..]);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(input);
            let rest = self.replies(&joined, now, tally);
            joined.drain(..joined.len() - rest);
            self.partial = joined;
        }
        if self.partial.len() <= LONGEST_REPLY {
            return Ok(());
        }
        let start = std::mem::take(&mut self.partial);
        match self.settle(1) {
            Some(_) => tally.errors.endless += 1,
            None => tally.errors.unasked += 1,
        }
        self.note(&start, &mut tally.errors);
        Err(Endless)
    }

    /// Counts the whole replies at the front of `input`; returns how many bytes are left.
    fn replies(&mut self, mut input: &[u8], now: Instant, tally: &mut Tally) -> usize {
        while !input.is_empty() {
            let right = self.right(input);
            if right > 0 {
                self.count(right, now, tally);
                input = &input[right * size_of::<Answer>()..];
                continue;
            }
            let Some(end) = memchr::memchr(b'\n', input) else { break };
            self.note(&input[..end], &mut tally.errors);
            match self.settle(1) {
                Some(_) => {
                    tally.errors.wrong += 1;
                    self.skip();
                }
                None => tally.errors.unasked += 1,
            }
            input = &input[end + 1..];
        }
        input.len()
    }

    /// How many right replies stand at the front of `input`, of those owed to the oldest batch.
    fn right(&mut self, input: &[u8]) -> usize {
        let limit = self.batches.front().map_or(0, |batch| batch.messages);
        let mut right = 0;
        let mut input = input;
        while right < limit && input.first_chunk() == Some(&self.owed) {
            input = &input[self.owed.len()..];
            self.skip();
            right += 1;
        }
        right
    }

    fn count(&mut self, right: usize, now: Instant, tally: &mut Tally) {
        if let Some(sent) = self.settle(right) {
            tally.right += right as u64;
            tally.latency.record(now - sent, right as u64);
        }
    }

    /// Takes `count` messages, not more than it has, from the oldest batch; `None` if there is no
    /// batch. Returns when they were sent.
    fn settle(&mut self, count: usize) -> Option<Instant> {
        let oldest = self.batches.front_mut()?;
        let sent = oldest.sent;
        oldest.messages -= count;
        if oldest.messages == 0 {
            self.batches.pop_front();
        }
        self.unanswered -= count;
        Some(sent)
    }

    /// The next reply is owed.
    fn skip(&mut self) {
        advance(&mut self.owed[GREETING + NUMBER..GREETING + END]);
    }

    /// Keeps the first reply that was not the one expected.
    fn note(&self, got: &[u8], errors: &mut Errors) {
        if errors.example.is_none() {
            let got = String::from_utf8_lossy(&got[..got.len().min(QUOTED)]);
            let expected = String::from_utf8_lossy(&self.owed);
            errors.example = Some(match self.batches.front() {
                Some(_) => format!("expected {:?}, got {got:?}", expected.trim_end()),
                None => format!("expected nothing, got {got:?}"),
            });
        }
    }
}

/// Adds one to a decimal number, in place: names are written a hundred million times a minute.
fn advance(digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `count` messages and returns them.
    fn asked(exchange: &mut Exchange, count: usize, tally: &mut Tally) -> String {
        let mut output = Vec::new();
        exchange.ask(count, Instant::now(), &mut output, tally);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn names_carry_connection_and_number() {
        let mut exchange = Exchange::new(27_999);
        let mut tally = Tally::new();
        let sent = asked(&mut exchange, 11, &mut tally);
        let names: Vec<&str> = sent.lines().collect();
        assert_eq!(names.len(), 11);
        assert_eq!((names[0], names[10]), ("27999-00000000", "27999-00000010"));
        assert_eq!(asked(&mut exchange, 1, &mut tally), "27999-00000011\n");
        assert_eq!((exchange.unanswered(), tally.unanswered()), (12, 12));
    }

    #[test]
    fn replies_count_however_they_are_cut() {
        let replies = b"Hello, 00000-00000000!\nwrong\n\nHello, 00000-00000003!\nunasked\n";
        for piece in 1..=replies.len() {
            let mut exchange = Exchange::new(0);
            let mut tally = Tally::new();
            asked(&mut exchange, 1, &mut tally);
            asked(&mut exchange, 3, &mut tally);
            for input in replies.chunks(piece) {
                exchange.hear(input, Instant::now(), &mut tally).unwrap();
            }
            let Tally { sent, right, errors, .. } = &tally;
            assert_eq!((*sent, *right), (4, 2), "in pieces of {piece}");
            assert_eq!((errors.wrong, errors.unasked), (2, 1), "in pieces of {piece}");
            assert_eq!(exchange.unanswered(), 0);
            let expected = "expected \"Hello, 00000-00000001!\", got \"wrong\"";
            assert_eq!(errors.example.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_reply_without_an_end_is_given_up() {
        let mut exchange = Exchange::new(0);
        let mut tally = Tally::new();
        asked(&mut exchange, 2, &mut tally);
        let half = vec![b'x'; LONGEST_REPLY];
        assert_eq!(exchange.hear(&half, Instant::now(), &mut tally), Ok(()));
        assert_eq!(exchange.hear(b"x", Instant::now(), &mut tally), Err(Endless));
        assert_eq!((tally.errors.endless, tally.unanswered()), (1, 1));
    }
}
