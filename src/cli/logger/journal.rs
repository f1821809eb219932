//! Whether standard error is the systemd journal.
//!
//! Asked once, when the log is installed.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

/// Whether what we write goes to the journal: then `JOURNAL_STREAM` is the device and inode of
/// it. A child of a service inherits the variable even when its output goes elsewhere.
pub(super) fn is_standard_error() -> bool {
    let Some((device, inode)) = env::var("JOURNAL_STREAM").ok().and_then(|it| parse(&it)) else {
        return false;
    };
    let stderr = io::stderr().as_fd().try_clone_to_owned();
    let stream = stderr.and_then(|stderr| File::from(stderr).metadata());
    stream.is_ok_and(|stream| (stream.dev(), stream.ino()) == (device, inode))
}

/// `device:inode`, in decimal.
fn parse(value: &str) -> Option<(u64, u64)> {
    let (device, inode) = value.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_variable_is_two_numbers() {
        assert_eq!(parse("8:123456789012"), Some((8, 123_456_789_012)));
        for wrong in ["", "8", "8:", ":1", "8:-1", "8:1:2", "a:b"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
