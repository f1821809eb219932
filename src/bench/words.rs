//! What is said and what is owed for it: messages of a size or from a list, and the replies that
//! a service gives to them. Pure; one for all connections, each of which has a [`Place`] in the
//! messages and one in the replies.

use super::{Expect, Load, Payload};
use crate::protocol::Framing;
use std::sync::Arc;

/// Connection (5 digits), `-`, number (8 digits).
const NAME: usize = 14;
const FIRST: &[u8; NAME] = b"00000-00000000";
/// Where the number begins in a name.
const NUMBER: usize = 6;

/// What a reply of hello begins with.
const HELLO: &[u8] = b"Hello, ";
const GREETING: &[u8] = b"Welcome!";

/// A reply's beginning, a name, and the end of a reply that has no more.
const HEAD: usize = HELLO.len() + NAME + 2;

/// Where a connection is in a sequence of texts. One of them is the head, which counts, and then
/// the tail of the place, which does not change.
#[derive(Debug, Clone)]
pub(super) struct Place {
    head: [u8; HEAD],
    length: u8,
    /// Where in the head the number is.
    number: (u8, u8),
    tail: u32,
}

impl Place {
    fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.length)]
    }
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

/// All messages, or all replies.
#[derive(Debug)]
struct Texts {
    first: Place,
    /// One, unless the messages are a list.
    tails: Vec<Vec<u8>>,
    /// Whether there is any that is not empty.
    has_tails: bool,
}

impl Texts {
    /// The messages with this before and after each.
    fn around(payload: &Payload, before: &[u8], after: &[u8]) -> Self {
        let mut first = Place { head: [0; HEAD], length: 0, number: (0, 0), tail: 0 };
        let size = match payload {
            Payload::Size(size) => *size,
            Payload::Lines(lines) => {
                let tails = lines.iter().map(|line| [before, line, after].concat()).collect();
                return Self { first, tails, has_tails: true };
            }
        };
        // A short message is the end of a name, which changes fastest.
        let mut head = [before, &FIRST[NAME - NAME.min(size)..]].concat();
        let number = head.len() - (NAME - NUMBER).min(size);
        first.number = (number as u8, head.len() as u8);
        let mut tail = Vec::new();
        if size <= NAME {
            // All in one piece is the fastest to write and to compare.
            head.extend_from_slice(after);
        } else {
            tail = [&vec![b'.'; size - NAME], after].concat();
        }
        first.length = head.len() as u8;
        first.head[..head.len()].copy_from_slice(&head);
        Self { first, has_tails: !tail.is_empty(), tails: vec![tail] }
    }

    /// Where connection `index` begins: with its own name, or its own line.
    fn begin(&self, index: usize) -> Place {
        let mut place = self.first.clone();
        place.tail = (index % self.tails.len()) as u32;
        let (number, end) = place.number;
        // The connection's digits stand before a dash, if the message is long enough for them.
        if usize::from(end - number) == NAME - NUMBER {
            let digits = usize::from(number).saturating_sub(1);
            let mut rest = index;
            for digit in place.head[..digits].iter_mut().rev().take_while(|it| **it == b'0') {
                *digit += (rest % 10) as u8;
                rest /= 10;
            }
        }
        place
    }

    #[inline]
    fn at<'a>(&'a self, place: &'a Place) -> [&'a [u8]; 2] {
        [place.head(), &self.tails[place.tail as usize]]
    }

    #[inline]
    fn advance(&self, place: &mut Place) {
        let (number, end) = place.number;
        // Nine times of ten it is the last digit alone.
        match place.head[..usize::from(end)].last_mut() {
            Some(last) if *last < b'9' => *last += 1,
            _ => count(&mut place.head[usize::from(number)..usize::from(end)]),
        }
        if self.has_tails {
            place.tail = (place.tail + 1) % self.tails.len() as u32;
        }
    }
}

/// The messages and replies of a load.
#[derive(Debug)]
pub(super) struct Words {
    messages: Texts,
    replies: Texts,
    any: bool,
    framing: Framing,
    greets: bool,
    greeting: Vec<u8>,
}

impl Words {
    pub(super) fn new(load: &Load) -> Arc<Self> {
        let ending = load.framing.ending().bytes();
        let (before, after) = match load.expect {
            Expect::Hello => (HELLO, [b"!", ending].concat()),
            Expect::Echo | Expect::Any => (&b""[..], ending.to_vec()),
        };
        Arc::new(Self {
            messages: Texts::around(&load.payload, b"", ending),
            replies: Texts::around(&load.payload, before, &after),
            any: load.expect == Expect::Any,
            framing: load.framing,
            greets: load.greeting,
            greeting: [GREETING, ending].concat(),
        })
    }

    /// Whether the service speaks first.
    pub(super) fn greets(&self) -> bool {
        self.greets
    }

    /// The longest reply.
    pub(super) fn longest(&self) -> usize {
        HEAD + self.replies.tails.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Connection `index`'s first message, and the first reply that it is owed.
    pub(super) fn begin(&self, index: usize) -> (Place, Place) {
        (self.messages.begin(index), self.replies.begin(index))
    }

    /// Appends the message to `output`, and moves on to the next.
    #[inline]
    pub(super) fn say(&self, place: &mut Place, output: &mut Vec<u8>) {
        // A copy of a constant length is a few instructions, one of any length is a call.
        output.extend_from_slice(&place.head);
        output.truncate(output.len() - (HEAD - usize::from(place.length)));
        if self.messages.has_tails {
            output.extend_from_slice(self.messages.at(place)[1]);
        }
        self.messages.advance(place);
    }

    /// The next reply is owed.
    #[inline]
    pub(super) fn advance(&self, owed: &mut Place) {
        self.replies.advance(owed);
    }

    /// The reply that is owed, to be shown.
    pub(super) fn owed(&self, owed: &Place) -> Vec<u8> {
        self.replies.at(owed).concat()
    }

    /// Looks for the reply that is owed.
    #[inline(always)] // the usual reply is found here, 16 times per read
    pub(super) fn reply(&self, owed: &Place, input: &[u8]) -> Found {
        // A full head has no tail, and two arrays are compared without a call.
        if usize::from(owed.length) == HEAD && input.first_chunk() == Some(&owed.head) {
            return Found::Right(HEAD);
        }
        self.other_reply(owed, input)
    }

    #[inline(never)]
    fn other_reply(&self, owed: &Place, input: &[u8]) -> Found {
        if self.any { self.anything(input) } else { self.these(self.replies.at(owed), input) }
    }

    /// Looks for the greeting.
    pub(super) fn greeting(&self, input: &[u8]) -> Found {
        if self.any { self.anything(input) } else { self.these([&self.greeting, &[]], input) }
    }

    fn these(&self, parts: [&[u8]; 2], input: &[u8]) -> Found {
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

    fn said(words: &Words, index: usize, count: usize) -> String {
        let mut place = words.begin(index).0;
        let mut output = Vec::new();
        (0..count).for_each(|_| words.say(&mut place, &mut output));
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn names_carry_connection_and_number_and_never_repeat() {
        let words = Words::new(&load());
        let said = said(&words, 27_999, 12);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!((lines[0], lines[11]), ("27999-00000000", "27999-00000011"));
        let mut owed = words.begin(27_999).1;
        (0..11).for_each(|_| words.advance(&mut owed));
        assert_eq!(words.owed(&owed), b"Hello, 27999-00000011!\n");
    }

    #[test]
    fn a_message_has_the_size_asked_for() {
        for (size, expected) in [
            (1, "0\n1\n2\n"),
            (3, "000\n001\n002\n"),
            (9, "-00000000\n-00000001\n-00000002\n"),
            (12, "042-00000000\n042-00000001\n042-00000002\n"),
            (16, "00042-00000000..\n00042-00000001..\n00042-00000002..\n"),
        ] {
            let words = Words::new(&Load { payload: Payload::Size(size), ..load() });
            assert_eq!(said(&words, 42, 3), expected);
            let mut owed = words.begin(42).1;
            for line in expected.lines() {
                assert_eq!(words.owed(&owed), format!("Hello, {line}!\n").into_bytes());
                words.advance(&mut owed);
            }
        }
        let words = Words::new(&Load { payload: Payload::Size(1024), ..load() });
        assert_eq!(said(&words, 0, 1).len(), 1025);
    }

    #[test]
    fn lines_come_in_turn_each_connection_from_its_own() {
        let lines: Payload = Payload::Lines(["a", "b"].map(|it| it.as_bytes().to_vec()).into());
        let words = Words::new(&Load { payload: lines, expect: Expect::Echo, ..load() });
        assert_eq!(said(&words, 1, 3), "b\na\nb\n");
        assert_eq!(words.owed(&words.begin(1).1), b"b\n");
    }

    #[test]
    fn a_reply_is_right_wrong_or_not_all_there() {
        let lines = Words::new(&load());
        let right = b"Hello, 00000-00000000!\n";
        let raw = Words::new(&Load { framing: Framing::Raw, ..load() });
        let any = Words::new(&Load { expect: Expect::Any, ..load() });
        for cut in 0..right.len() {
            assert_eq!(lines.reply(&lines.begin(0).1, &right[..cut]), Found::Part);
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
            assert_eq!(words.reply(&words.begin(0).1, input), found, "{}", input.escape_ascii());
        }
    }
}
