//! One connection's conversation: which messages go out, which replies are owed for them, and
//! whether those came. Pure: no socket, and the clock is an argument.

use super::pace::Turn;
use super::report::{Errors, Tally};
use super::words::{Found, Place, Words};
use std::collections::VecDeque;
use std::time::Instant;

/// How much longer than the longest message a reply may be and is still read to its end.
const LONGEST_REPLY: usize = 64 << 10;

/// The most bytes of a reply that an error quotes.
const QUOTED: usize = 80;

/// Why a conversation cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The first line was not the greeting.
    Refused,
    /// A reply without an end.
    Endless,
}

/// Messages that were sent together.
#[derive(Debug)]
struct Batch {
    due: Instant,
    sent: Instant,
    messages: usize,
}

/// One connection's side of the conversation. Allocates with the first message.
#[derive(Debug)]
pub(super) struct Exchange {
    greeted: bool,
    /// The next message to send.
    next: Place,
    /// The reply to the oldest message without one, or, if there is none, to the next.
    owed: Place,
    /// What waits for replies, oldest first.
    batches: VecDeque<Batch>,
    unanswered: usize,
    /// The beginning of a reply whose rest has not come.
    partial: Vec<u8>,
}

impl Exchange {
    /// The conversation of connection `index`.
    pub(super) fn new(words: &Words, index: usize) -> Self {
        let (next, owed) = words.begin(index);
        Self {
            greeted: !words.greets(),
            next,
            owed,
            batches: VecDeque::new(),
            unanswered: 0,
            partial: Vec::new(),
        }
    }

    /// Whether messages may be sent.
    pub(super) fn greeted(&self) -> bool {
        self.greeted
    }

    /// Messages that wait for their reply.
    pub(super) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// When the oldest message without a reply was sent.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.batches.front().map(|batch| batch.sent)
    }

    /// Appends the turn's messages to `output`, to be sent `now`.
    pub(super) fn ask(
        &mut self,
        words: &Words,
        turn: Turn,
        now: Instant,
        output: &mut Vec<u8>,
        tally: &mut Tally,
    ) {
        let Turn { messages, due, .. } = turn;
        for _ in 0..messages {
            words.say(&mut self.next, output);
        }
        self.batches.push_back(Batch { due, sent: now, messages });
        self.unanswered += messages;
        tally.sent += messages as u64;
    }

    /// Takes what was read, and counts the replies in it.
    pub(super) fn hear(
        &mut self,
        words: &Words,
        input: &[u8],
        tally: &mut Tally,
    ) -> Result<(), Broken> {
        if self.partial.is_empty() {
            let rest = self.replies(words, input, tally)?;
            self.partial.extend_from_slice(&input[input.len() - rest..]);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(input);
            let rest = self.replies(words, &joined, tally)?;
            joined.drain(..joined.len() - rest);
            self.partial = joined;
        }
        if self.partial.len() <= LONGEST_REPLY + words.longest() {
            return Ok(());
        }
        let start = std::mem::take(&mut self.partial);
        match self.settle(1) {
            Some(_) => tally.errors.endless += 1,
            None => tally.errors.unasked += 1,
        }
        self.note(words, &start, &mut tally.errors);
        Err(Broken::Endless)
    }

    /// Counts the whole replies at the front of `input`; returns how many bytes are left.
    fn replies(
        &mut self,
        words: &Words,
        mut input: &[u8],
        tally: &mut Tally,
    ) -> Result<usize, Broken> {
        if !self.greeted {
            input = &input[self.greet(words, input, tally)?..];
        }
        while !input.is_empty() && self.greeted {
            let (right, length) = self.right(words, input);
            if right > 0 {
                if let Some(due) = self.settle(right) {
                    tally.count(right, due);
                }
                input = &input[length..];
                continue;
            }
            // Not the reply that is owed, or none is.
            let length = match words.reply(&self.owed, input) {
                Found::Wrong(length) => length,
                Found::Part if self.unanswered > 0 => break,
                _ => match words.anything(input) {
                    Found::Right(length) => length,
                    _ => break,
                },
            };
            self.note(words, &input[..length], &mut tally.errors);
            match self.settle(1) {
                Some(_) => {
                    tally.errors.wrong += 1;
                    words.advance(&mut self.owed);
                }
                None => tally.errors.unasked += 1,
            }
            input = &input[length..];
        }
        Ok(input.len())
    }

    /// Takes the greeting; returns its length, or 0 if it is not all there.
    fn greet(&mut self, words: &Words, input: &[u8], tally: &mut Tally) -> Result<usize, Broken> {
        match words.greeting(input) {
            Found::Part => Ok(0),
            Found::Right(length) => {
                self.greeted = true;
                Ok(length)
            }
            Found::Wrong(length) => {
                let got = quoted(&input[..length]);
                tally.errors.note(|| format!("expected `Welcome!`, got {got:?}"));
                Err(Broken::Refused)
            }
        }
    }

    /// How many right replies stand at the front of `input`, of those owed to the oldest batch,
    /// and how long they are.
    fn right(&mut self, words: &Words, input: &[u8]) -> (usize, usize) {
        let limit = self.batches.front().map_or(0, |batch| batch.messages);
        let (mut right, mut taken) = (0, 0);
        while right < limit
            && taken < input.len()
            && let Found::Right(length) = words.reply(&self.owed, &input[taken..])
        {
            taken += length;
            words.advance(&mut self.owed);
            right += 1;
        }
        (right, taken)
    }

    /// Takes `count` messages, not more than it has, from the oldest batch; `None` if there is no
    /// batch. Returns when they were due.
    fn settle(&mut self, count: usize) -> Option<Instant> {
        let oldest = self.batches.front_mut()?;
        let due = oldest.due;
        oldest.messages -= count;
        if oldest.messages == 0 {
            self.batches.pop_front();
        }
        self.unanswered -= count;
        Some(due)
    }

    /// Keeps the first reply that was not the one expected.
    fn note(&self, words: &Words, got: &[u8], errors: &mut Errors) {
        errors.note(|| match self.batches.front() {
            Some(_) => {
                let expected = quoted(&words.owed(&self.owed));
                format!("expected {expected:?}, got {:?}", quoted(got))
            }
            None => format!("expected nothing, got {:?}", quoted(got)),
        });
    }
}

/// The beginning, without a newline at its end.
fn quoted(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    String::from_utf8_lossy(&bytes[..bytes.len().min(QUOTED)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Framing, Load};

    fn load() -> Load {
        Load { greeting: false, ..Load::new(([127, 0, 0, 1], 9).into()) }
    }

    fn ask(exchange: &mut Exchange, words: &Words, count: usize, tally: &mut Tally) {
        let now = Instant::now();
        let turn = Turn { connection: 0, messages: count, due: now };
        exchange.ask(words, turn, now, &mut Vec::new(), tally);
    }

    #[test]
    fn replies_count_however_they_are_cut() {
        let replies = b"Hello, 00000-00000000!\nwrong\n\nHello, 00000-00000003!\nunasked\n";
        let words = Words::new(&load());
        for piece in 1..=replies.len() {
            let mut exchange = Exchange::new(&words, 0);
            let mut tally = Tally::new(Instant::now());
            ask(&mut exchange, &words, 1, &mut tally);
            ask(&mut exchange, &words, 3, &mut tally);
            assert_eq!((exchange.unanswered(), tally.unanswered()), (4, 4));
            for input in replies.chunks(piece) {
                exchange.hear(&words, input, &mut tally).unwrap();
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
    fn a_raw_reply_is_whole_when_all_of_it_has_come() {
        let words = Words::new(&Load { framing: Framing::Raw, ..load() });
        let mut exchange = Exchange::new(&words, 0);
        let mut tally = Tally::new(Instant::now());
        let hear = |exchange: &mut Exchange, input: &[u8], tally: &mut Tally| {
            exchange.hear(&words, input, tally).unwrap();
        };
        ask(&mut exchange, &words, 1, &mut tally);
        hear(&mut exchange, b"Hello, 00000", &mut tally);
        assert_eq!((tally.right, exchange.unanswered()), (0, 1));
        hear(&mut exchange, b"-00000000!", &mut tally);
        assert_eq!((tally.right, exchange.unanswered()), (1, 0));
        ask(&mut exchange, &words, 1, &mut tally);
        hear(&mut exchange, b"Hello, nobody!", &mut tally);
        assert_eq!((tally.right, tally.errors.wrong, exchange.unanswered()), (1, 1, 0));
    }

    #[test]
    fn a_greeting_comes_first_and_may_come_in_pieces() {
        let words = Words::new(&Load { greeting: true, ..load() });
        let mut tally = Tally::new(Instant::now());
        let mut exchange = Exchange::new(&words, 0);
        assert_eq!(exchange.hear(&words, b"Welc", &mut tally), Ok(()));
        assert!(!exchange.greeted());
        assert_eq!(exchange.hear(&words, b"ome!\n", &mut tally), Ok(()));
        assert!(exchange.greeted() && tally.errors.is_empty());
        let mut other = Exchange::new(&words, 1);
        let busy = other.hear(&words, b"Busy\n", &mut tally);
        assert_eq!(busy, Err(Broken::Refused));
        let expected = "expected `Welcome!`, got \"Busy\"";
        assert_eq!(tally.errors.example.as_deref(), Some(expected));
    }

    #[test]
    fn a_reply_without_an_end_is_given_up() {
        let words = Words::new(&load());
        let mut exchange = Exchange::new(&words, 0);
        let mut tally = Tally::new(Instant::now());
        ask(&mut exchange, &words, 2, &mut tally);
        let most = vec![b'x'; LONGEST_REPLY + words.longest()];
        assert_eq!(exchange.hear(&words, &most, &mut tally), Ok(()));
        let broken = exchange.hear(&words, b"x", &mut tally);
        assert_eq!(broken, Err(Broken::Endless));
        assert_eq!((tally.errors.endless, tally.unanswered()), (1, 1));
    }
}
