//! What the framings make of a stream, in the simplest way that can be written down: from the
//! whole input or from its reads, without a state that is carried from read to read.
//!
//! Called by the property tests beside it and by the fuzz target `framing`.

use welcomed::protocol::{Ending, Framing, Progress, Split, Splitter};

/// What came of an input: the messages, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<(Vec<u8>, Ending)>,
    pub(crate) end: End,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum End {
    TooLong,
    /// Bytes that made no message before the stream ended.
    Left(usize),
}

/// As the engine does it: each read is split until nothing whole is left, the rest waits for the
/// next read, and a read takes no more than the framing allows.
pub(crate) fn in_chunks(framing: Framing, limit: usize, chunks: &[Vec<u8>]) -> Outcome {
    let splitter = Splitter::new(framing, limit);
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

/// What must come of it.
pub(crate) fn expected(framing: Framing, limit: usize, chunks: &[Vec<u8>]) -> Outcome {
    match framing {
        Framing::Line => lines(limit, &chunks.concat()),
        Framing::Head => heads(limit, &chunks.concat()),
        Framing::Raw => raw(limit, chunks),
        Framing::Auto => auto(limit, chunks),
        _ => panic!("{framing:?} has no reference yet"),
    }
}

/// Lines of the whole input, by the standard library.
fn lines(limit: usize, input: &[u8]) -> Outcome {
    let mut messages = Vec::new();
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.strip_suffix(b"\n");
        let body = whole.map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        // Of a line that has no end yet, a last `\r` may still be dropped.
        let held_back = usize::from(whole.is_none() && body.ends_with(b"\r"));
        if body.len() - held_back > limit {
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
fn heads(limit: usize, mut input: &[u8]) -> Outcome {
    let mut messages = Vec::new();
    loop {
        let ends = |end: &usize| {
            let head = &input[..*end];
            head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n")
        };
        match (1..=input.len()).find(ends) {
            Some(end) if end <= limit => {
                messages.push((input[..end].to_vec(), Ending::Nothing));
                input = &input[end..];
            }
            Some(_) => return Outcome { messages, end: End::TooLong },
            None if input.len() > limit => return Outcome { messages, end: End::TooLong },
            None => return Outcome { messages, end: End::Left(input.len()) },
        }
    }
}

/// What each read returned.
fn raw(limit: usize, chunks: &[Vec<u8>]) -> Outcome {
    let reads = chunks.iter().flat_map(|chunk| chunk.chunks(limit));
    let messages = reads.map(|read| (read.to_vec(), Ending::Nothing)).collect();
    Outcome { messages, end: End::Left(0) }
}

/// `raw` up to the read that has the first newline, and `line` from that read on, but for a last
/// line without an end.
fn auto(limit: usize, chunks: &[Vec<u8>]) -> Outcome {
    // Until it speaks lines, a read takes no more than the limit.
    let mut reads = chunks.iter().flat_map(|chunk| chunk.chunks(limit));
    let mut tail = Vec::new();
    let mut messages = Vec::new();
    for read in reads.by_ref() {
        if read.contains(&b'\n') {
            tail.extend_from_slice(read);
            break;
        }
        messages.push((read.to_vec(), Ending::Nothing));
    }
    tail.extend(reads.flatten());
    let mut outcome = lines(limit, &tail);
    if let End::Left(left @ 1..) = outcome.end {
        let last = tail[tail.len() - left..].to_vec();
        if last.len() > limit {
            outcome.end = End::TooLong;
        } else {
            outcome.end = End::Left(0);
            outcome.messages.push((last, Ending::Nothing));
        }
    }
    messages.append(&mut outcome.messages);
    Outcome { messages, end: outcome.end }
}
