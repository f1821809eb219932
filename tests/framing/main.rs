//! The framings over arbitrary chunk boundaries, against a split of the whole input at once.
#![allow(clippy::unwrap_used)] // tests

use proptest::prelude::{
    ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest,
};
use welcomed::protocol::{Ending, Framing, Progress, Split, Splitter};

const LIMIT: usize = 12;

/// What came of an input: the messages, and how it ended.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    messages: Vec<(Vec<u8>, Ending)>,
    end: End,
}

#[derive(Debug, Clone, PartialEq)]
enum End {
    TooLong,
    /// Bytes that made no message before the stream ended.
    Left(usize),
}

/// As the engine does it: each read is split until nothing whole is left, the rest waits for the
/// next read, and a read takes no more than the framing allows.
fn in_chunks(framing: Framing, chunks: &[Vec<u8>]) -> Outcome {
    let splitter = Splitter::new(framing, LIMIT);
    let mut progress = Progress::default();
    let mut buffer = Vec::new();
    let mut messages = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.as_slice();
        while !chunk.is_empty() {
            let (read, later) = chunk.split_at(splitter.read_limit(&progress, chunk.len()));
            buffer.extend_from_slice(read);
            chunk = later;
            if !drain(&splitter, &mut progress, &mut buffer, &mut messages, false) {
                return Outcome { messages, end: End::TooLong };
            }
        }
    }
    if !drain(&splitter, &mut progress, &mut buffer, &mut messages, true) {
        return Outcome { messages, end: End::TooLong };
    }
    Outcome { messages, end: End::Left(buffer.len()) }
}

fn drain(
    splitter: &Splitter,
    progress: &mut Progress,
    buffer: &mut Vec<u8>,
    messages: &mut Vec<(Vec<u8>, Ending)>,
    at_end: bool,
) -> bool {
    loop {
        match splitter.split(progress, buffer, at_end) {
            Split::Message { body, ending, consumed } => {
                messages.push((body.to_vec(), ending));
                buffer.drain(..consumed);
            }
            Split::Incomplete => return true,
            Split::TooLong => return false,
        }
    }
}

/// Lines of the whole input, by the standard library.
fn whole_lines(input: &[u8]) -> Outcome {
    let mut messages = Vec::new();
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.strip_suffix(b"\n");
        let body = whole.map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        // Of a line that has no end yet, a last `\r` may still be dropped.
        let held_back = usize::from(whole.is_none() && body.ends_with(b"\r"));
        if body.len() - held_back > LIMIT {
            return Outcome { messages, end: End::TooLong };
        }
        match whole {
            Some(_) => messages.push((body.to_vec(), Ending::Newline)),
            None => return Outcome { messages, end: End::Left(line.len()) },
        }
    }
    Outcome { messages, end: End::Left(0) }
}

/// Heads of the whole input, by looking at each position.
fn whole_heads(mut input: &[u8]) -> Outcome {
    let mut messages = Vec::new();
    loop {
        let ends = |end: &usize| {
            let head = &input[..*end];
            head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n")
        };
        match (1..=input.len()).find(ends) {
            Some(end) if end <= LIMIT => {
                messages.push((input[..end].to_vec(), Ending::Nothing));
                input = &input[end..];
            }
            Some(_) => return Outcome { messages, end: End::TooLong },
            None if input.len() > LIMIT => return Outcome { messages, end: End::TooLong },
            None => return Outcome { messages, end: End::Left(input.len()) },
        }
    }
}

/// Chunks in which ends of lines, half ends and long lines are common.
fn chunks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        prop::sample::select(vec![&b"\n"[..], b"\r\n", b"\r", b"\n\n", b"\r\n\r\n", b"\n\r\n"])
            .prop_map(<[u8]>::to_vec),
        prop::collection::vec(any::<u8>(), 1..6),
        prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 1..9),
    ];
    prop::collection::vec(piece, 0..24)
}

/// The chunks cut anew, so that every boundary is met.
fn recut(chunks: &[Vec<u8>], cuts: &[usize]) -> Vec<Vec<u8>> {
    let whole = chunks.concat();
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (whole.len() + 1)).collect();
    places.extend([0, whole.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| whole[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn lines_do_not_depend_on_the_chunks(
        chunks in chunks(), cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let expected = whole_lines(&chunks.concat());
        prop_assert_eq!(in_chunks(Framing::Line, &chunks), expected.clone());
        prop_assert_eq!(in_chunks(Framing::Line, &recut(&chunks, &cuts)), expected);
    }

    #[test]
    fn heads_do_not_depend_on_the_chunks(
        chunks in chunks(), cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let expected = whole_heads(&chunks.concat());
        prop_assert_eq!(in_chunks(Framing::Head, &chunks), expected.clone());
        prop_assert_eq!(in_chunks(Framing::Head, &recut(&chunks, &cuts)), expected);
    }

    #[test]
    fn raw_is_what_one_read_returned(chunks in chunks()) {
        let reads = chunks.iter().flat_map(|chunk| chunk.chunks(LIMIT));
        let messages = reads.map(|read| (read.to_vec(), Ending::Nothing)).collect();
        let expected = Outcome { messages, end: End::Left(0) };
        prop_assert_eq!(in_chunks(Framing::Raw, &chunks), expected);
    }

    /// `auto` is `raw` up to the read that has the first newline, and `line` from that read on,
    /// but for a last line without an end.
    #[test]
    fn auto_is_raw_and_then_line(chunks in chunks()) {
        let mut reads = Vec::new();
        for chunk in &chunks {
            if reads.iter().any(|read: &Vec<u8>| read.contains(&b'\n')) {
                reads.push(chunk.clone());
            } else {
                // Until it speaks lines, a read takes no more than the limit.
                let mut rest = chunk.as_slice();
                while !rest.is_empty() && !reads.iter().any(|read| read.contains(&b'\n')) {
                    let (read, later) = rest.split_at(rest.len().min(LIMIT));
                    reads.push(read.to_vec());
                    rest = later;
                }
                reads.push(rest.to_vec());
            }
        }
        let first = reads.iter().position(|read| read.contains(&b'\n')).unwrap_or(reads.len());
        let raw = reads[..first].iter().filter(|read| !read.is_empty());
        let mut expected = whole_lines(&reads[first..].concat());
        if let End::Left(left @ 1..) = expected.end {
            let tail = reads[first..].concat();
            let last = tail[tail.len() - left..].to_vec();
            expected.end = if last.len() > LIMIT { End::TooLong } else { End::Left(0) };
            if last.len() <= LIMIT {
                expected.messages.push((last, Ending::Nothing));
            }
        }
        let raw = raw.map(|read| (read.clone(), Ending::Nothing));
        expected.messages = raw.chain(expected.messages).collect();
        prop_assert_eq!(in_chunks(Framing::Auto, &chunks), expected);
    }
}
