//! What the subcommands' output has in common: text from the network, and a reader that has gone.

use super::Failure;
use std::io::{self, ErrorKind, StdoutLock, Write};

/// Prints all that a subcommand has to say. A reader who has gone has got what he wanted.
pub(super) fn print(text: &[u8]) -> Result<(), Failure> {
    print_to(&mut io::stdout().lock(), text).map(drop)
}

/// Prints now. Says whether the reader is still there.
pub(super) fn print_to(output: &mut StdoutLock<'_>, text: &[u8]) -> Result<bool, Failure> {
    let written = reader_stays(output.write_all(text).and_then(|()| output.flush()));
    written.map_err(|error| Failure::failed(format!("cannot write to standard output: {error}")))
}

/// Text from the network, fit for a terminal: without control characters other than tab.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|c| *c == '\t' || !c.is_control()).collect()
}

/// Whether the reader of standard output is still there; any other failure stays one.
/// `welcomed client | head -1` has got what it wanted when the pipe closes.
pub(super) fn reader_stays(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let hostile = "a\tb\x1b[31mred\x07\u{9b}2J\x7f\r\nd";
        assert_eq!(printable(hostile.as_bytes()), "a\tb[31mred2Jd");
        assert_eq!(printable(b"Ren\xc3\xa9 \xff"), "René \u{fffd}");
    }
}
