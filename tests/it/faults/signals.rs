//! Signals that nobody should send.

use super::base::Patient;
use crate::support::{Daemon, talk};
use std::os::unix::process::ExitStatusExt;

/// SIGPIPE is ignored: a write to a client that is gone is an error of that client. The others
/// that nothing here uses are the operator's mistakes, and harmless where the kernel's default is.
#[test]
fn stray_signals_that_are_ignored() {
    let server = Patient::new("");
    let mut client = server.connect();
    client.expect("Welcome!");
    let before = server.log();
    for signal in ["PIPE", "URG", "WINCH", "CHLD", "CONT"] {
        for _ in 0..20 {
            server.signal(signal);
        }
        talk(&mut client, &["still", "here"]);
    }
    assert_eq!(server.log(), before);
    drop(client);
    server.is_restored();
}

/// SIGALRM means nothing here, so the kernel's default holds: it ends the process at once, as
/// documented. No part of the program, nor of a library in it, asks for one.
#[test]
fn a_stray_alarm_ends_the_process_as_everywhere() {
    const SIGALRM: i32 = 14;
    let mut server = Daemon::serve(&[]);
    server.signal("ALRM");
    assert_eq!(server.wait().0.signal(), Some(SIGALRM));
}
