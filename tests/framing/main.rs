//! The framings over arbitrary chunk boundaries, against a reference that knows no boundaries.

mod reference;

use proptest::prelude::{
    ProptestConfig, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest,
};
use reference::{expected, in_chunks};
use welcomed::protocol::Framing;

const LIMIT: usize = 12;

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
        let expected = expected(Framing::Line, LIMIT, &chunks);
        prop_assert_eq!(in_chunks(Framing::Line, LIMIT, &chunks), expected.clone());
        prop_assert_eq!(in_chunks(Framing::Line, LIMIT, &recut(&chunks, &cuts)), expected);
    }

    #[test]
    fn heads_do_not_depend_on_the_chunks(
        chunks in chunks(), cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let expected = expected(Framing::Head, LIMIT, &chunks);
        prop_assert_eq!(in_chunks(Framing::Head, LIMIT, &chunks), expected.clone());
        prop_assert_eq!(in_chunks(Framing::Head, LIMIT, &recut(&chunks, &cuts)), expected);
    }

    #[test]
    fn raw_is_what_one_read_returned(chunks in chunks()) {
        let expected = expected(Framing::Raw, LIMIT, &chunks);
        prop_assert_eq!(in_chunks(Framing::Raw, LIMIT, &chunks), expected);
    }

    #[test]
    fn auto_is_raw_and_then_line(chunks in chunks()) {
        let expected = expected(Framing::Auto, LIMIT, &chunks);
        prop_assert_eq!(in_chunks(Framing::Auto, LIMIT, &chunks), expected);
    }
}
