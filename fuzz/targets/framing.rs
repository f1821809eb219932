//! Messages out of arbitrary reads, in every framing, against the reference of the property tests.
#![no_main]

#[path = "../../tests/framing/reference.rs"]
mod reference;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use reference::{expected, in_chunks};
use welcomed::protocol::Framing;

#[derive(Debug, Arbitrary)]
struct Input {
    framing: u8,
    limit: u8,
    /// Where the stream is cut into reads: the length of each; the last one has the rest.
    cuts: Vec<u8>,
    stream: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let framings = [Framing::Auto, Framing::Line, Framing::Raw, Framing::Head];
    let framing = framings[usize::from(input.framing) % framings.len()];
    // A limit of 0 would allow no read in `raw`; the configuration allows none such.
    let limit = usize::from(input.limit).max(1);
    let mut rest = input.stream.as_slice();
    let mut reads = Vec::new();
    for cut in input.cuts {
        let (read, later) = rest.split_at(usize::from(cut).min(rest.len()));
        reads.push(read.to_vec());
        rest = later;
    }
    reads.push(rest.to_vec());
    assert_eq!(in_chunks(framing, limit, &reads), expected(framing, limit, &reads));
});
