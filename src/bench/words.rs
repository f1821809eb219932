//! What is said and what is owed for it: messages of a size or from a list, and the replies that
//! a service gives to them. Pure; one for all connections, each of which has two [`Place`]s in it.

use super::{Expect, Load, Payload};
use crate::protocol::Framing;
use std::sync::Arc;

/// Connection (5 digits), `-`, number (8 digits).
const NAME: usize = 14;
const FIRST: &[u8; NAME] = b"00000-00000000";
/// Where the number begins in a name.
const NUMBER: usize = 6;

const GREETING: &[u8] = b"Welcome!";

/// Where a connection is in its sequence of messages.
#[derive(Debug, Clone)]
pub(super) struct Place {
    name: [u8; NAME],
    line: usize,
}

/// What stands at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// What was expected, and its length.
    Right(usize),
    /// Something else, and its length.
    Wrong(usize),
    /// Too little to say.
    Part,
}

/// The messages and replies of a load.
#[derive(Debug)]
pub(super) struct Words {
    payload: Payload,
    expect: Expect,
    framing: Framing,
    greets: bool,
    /// What a message is filled up with behind its name.
    filler: Vec<u8>,
    /// What stands in a reply before and after the message.
    around: (&'static [u8], &'static [u8]),
    greeting: Vec<u8>,
    ending: &'static [u8],
}

impl Words {
    pub(super) fn new(load: &Load) -> Arc<Self> {
        let ending = load.framing.ending().bytes();
        let lines = !ending.is_empty();
        let around: (&[u8], &[u8]) = match load.expect {
            Expect::Hello if lines => (b"Hello, ", b"!\n"),
            Expect::Hello => (b"Hello, ", b"!"),
            Expect::Echo | Expect::Any => (b"", ending),
        };
        let length = match load.payload {
            Payload::Size(length) => length.saturating_sub(NAME),
            Payload::Lines(_) => 0,
        };
        Arc::new(Self {
            payload: load.payload.clone(),
            expect: load.expect,
            framing: load.framing,
            greets: load.greeting,
            filler: vec![b'.'; length],
            around,
            greeting: [GREETING, ending].concat(),
            ending,
        })
    }

    /// Whether the service speaks first.
    pub(super) fn greets(&self) -> bool {
        self.greets
    }

    /// The longest message.
    pub(super) fn longest(&self) -> usize {
        match &self.payload {
            Payload::Size(length) => *length,
            Payload::Lines(lines) => lines.iter().map(Vec::len).max().unwrap_or(0),
        }
    }

    /// Where connection `index` begins: with its own name, or its own line.
    pub(super) fn begin(&self, index: usize) -> Place {
        let mut name = *FIRST;
        let mut rest = index;
        for digit in name[..NUMBER - 1].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        let lines = if let Payload::Lines(lines) = &self.payload { lines.len() } else { 1 };
        Place { name, line: index % lines }
    }

    fn message<'a>(&'a self, place: &'a Place) -> [&'a [u8]; 2] {
        match &self.payload {
            // A short message is the end of a name, which changes fastest.
            Payload::Size(length) => {
                [&place.name[NAME - NAME.min(*length)..], self.filler.as_slice()]
            }
            Payload::Lines(lines) => [lines[place.line].as_slice(), &[]],
        }
    }

    /// Moves on to the next message.
    pub(super) fn advance(&self, place: &mut Place) {
        match &self.payload {
            Payload::Size(_) => count(&mut place.name[NUMBER..]),
            Payload::Lines(lines) => place.line = (place.line + 1) % lines.len(),
        }
    }

    /// Appends the message to `output`.
    pub(super) fn say(&self, place: &Place, output: &mut Vec<u8>) {
        let [name, filler] = self.message(place);
        output.extend_from_slice(name);
        output.extend_from_slice(filler);
        output.extend_from_slice(self.ending);
    }

    /// What the service should answer, without its ending, to be shown.
    pub(super) fn owed(&self, place: &Place) -> Vec<u8> {
        let [name, filler] = self.message(place);
        let reply = [self.around.0, name, filler, self.around.1].concat();
        reply.strip_suffix(b"\n").map(<[u8]>::to_vec).unwrap_or(reply)
    }

    /// Looks for the reply that is owed for the message at `place`.
    pub(super) fn reply(&self, place: &Place, input: &[u8]) -> Found {
        if self.expect == Expect::Any {
            return self.anything(input);
        }
        let [name, filler] = self.message(place);
        self.these([self.around.0, name, filler, self.around.1], input)
    }

    /// Looks for the greeting.
    pub(super) fn greeting(&self, input: &[u8]) -> Found {
        match self.expect {
            Expect::Any => self.anything(input),
            _ => self.these([&self.greeting, &[], &[], &[]], input),
        }
    }

    fn these(&self, parts: [&[u8]; 4], input: &[u8]) -> Found {
        let mut rest = input;
        for part in parts {
            match rest.strip_prefix(part) {
                Some(behind) => rest = behind,
                None if part.starts_with(rest) => return Found::Part,
                None => {
                    return match self.anything(input) {
                        Found::Right(length) => Found::Wrong(length),
                        other => other,
                    };
                }
            }
        }
        Found::Right(input.len() - rest.len())
    }

    /// A line, or in `raw` what one read returned.
    pub(super) fn anything(&self, input: &[u8]) -> Found {
        let end = match self.framing {
            Framing::Line | Framing::Auto => memchr::memchr(b'\n', input).map(|end| end + 1),
            Framing::Raw | Framing::Head => (!input.is_empty()).then_some(input.len()),
        };
        end.map_or(Found::Part, Found::Right)
    }
}

/// Adds one to a decimal number, in place: names are written a hundred million times a minute.
fn count(digits: &mut [u8]) {
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

    fn load() -> Load {
        Load::new(([127, 0, 0, 1], 9).into())
    }

    fn said(words: &Words, place: &Place) -> String {
        let mut output = Vec::new();
        words.say(place, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn names_carry_connection_and_number_and_never_repeat() {
        let words = Words::new(&load());
        let mut place = words.begin(27_999);
        assert_eq!(said(&words, &place), "27999-00000000\n");
        for _ in 0..11 {
            words.advance(&mut place);
        }
        assert_eq!(said(&words, &place), "27999-00000011\n");
        assert_eq!(words.owed(&place), b"Hello, 27999-00000011!");
    }

    #[test]
    fn a_message_has_the_size_asked_for() {
        for (length, expected) in [(1, "0"), (3, "000"), (14, "00000-00000000")] {
            let words = Words::new(&Load { payload: Payload::Size(length), ..load() });
            assert_eq!(said(&words, &words.begin(0)), format!("{expected}\n"));
        }
        let words = Words::new(&Load { payload: Payload::Size(1024), ..load() });
        assert_eq!(said(&words, &words.begin(0)).len(), 1025);
    }

    #[test]
    fn lines_come_in_turn_each_connection_from_its_own() {
        let lines: Payload = Payload::Lines(["a", "b"].map(|it| it.as_bytes().to_vec()).into());
        let words = Words::new(&Load { payload: lines, expect: Expect::Echo, ..load() });
        let mut place = words.begin(1);
        let mut all = String::new();
        for _ in 0..3 {
            all.push_str(&said(&words, &place));
            words.advance(&mut place);
        }
        assert_eq!(all, "b\na\nb\n");
    }

    #[test]
    fn a_reply_is_right_wrong_or_not_all_there() {
        let lines = Words::new(&load());
        let right = b"Hello, 00000-00000000!\n";
        let raw = Words::new(&Load { framing: Framing::Raw, ..load() });
        let any = Words::new(&Load { expect: Expect::Any, ..load() });
        let place = lines.begin(0);
        for cut in 0..right.len() {
            assert_eq!(lines.reply(&place, &right[..cut]), Found::Part);
        }
        let rows: [(&Words, &[u8], Found); 7] = [
            (&lines, right, Found::Right(23)),
            (&lines, b"Hello, 00000-00000000!\nmore", Found::Right(23)),
            (&lines, b"Hello, 00000-00000001!\n", Found::Wrong(23)),
            (&lines, b"what", Found::Part),
            (&raw, b"Hello, 00000-00000000!", Found::Right(22)),
            (&raw, b"what", Found::Wrong(4)),
            (&any, b"what\nelse\n", Found::Right(5)),
        ];
        for (words, input, found) in rows {
            assert_eq!(words.reply(&place, input), found, "{}", input.escape_ascii());
        }
    }
}
