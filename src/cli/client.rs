//! `welcomed client`: names from the arguments or standard input, replies to standard output.

use super::Failure;
use super::load::more_than_zero;
use super::terminal::print_to;
use crate::client::{Client, Error, Options, Target};
use crate::protocol::Framing;
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Read, StdinLock, StdoutLock};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// A line of standard input that is longer is no name.
const LONGEST_NAME_BYTES: u64 = 16 << 20;

/// Says names to a server and prints its replies
///
/// Connects, prints the greeting, sends each name and prints the reply before it sends the next;
/// then it says `exit` and closes. Without names it reads them from standard input, one a line.
/// The name `exit` ends the conversation.
///
/// The exit code is 1 if it cannot connect, if the server goes away, or if something does not
/// come in time.
#[derive(Debug, clap::Args)]
pub(super) struct ClientArgs {
    /// The server: `host:port`, `[::1]:9999` or `unix:/path`
    ///
    /// The first argument is always the address. Each address of a host is tried for 5s.
    #[arg(value_name = "ADDR", default_value = "127.0.0.1:9999")]
    target: Target,

    /// The names to say
    #[arg(value_name = "NAME")]
    names: Vec<OsString>,

    /// How messages are told apart: `auto`, `line` or `raw`
    ///
    /// As the server's `service.framing`. `auto` and `line` end each name with a newline and read
    /// a reply up to one; with `raw` a name is what one write sends, and a reply what one read
    /// returns.
    #[arg(long, default_value_t)]
    framing: Framing,

    /// How long a reply may take, as in `500ms` or `10s` [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = more_than_zero)]
    timeout: Option<Duration>,

    /// Expect no greeting: the service has none, as `echo`
    #[arg(long)]
    no_greeting: bool,

    /// How long the greeting may take
    #[arg(long, hide = true, value_parser = more_than_zero, default_value = "5s")]
    greeting_timeout: Duration,
}

pub(super) fn run(args: ClientArgs) -> Result<(), Failure> {
    let options = Options { framing: args.framing, reply_timeout: args.timeout };
    let names: Vec<_> = args.names.into_iter().map(OsString::into_vec).collect();
    for name in &names {
        options.check(name).map_err(Failure::usage)?;
    }
    let mut client = Client::connect(&args.target, options).map_err(Failure::failed)?;
    let patience = (!args.no_greeting).then_some(args.greeting_timeout);
    let mut names = match names.is_empty() {
        true => Names::Typed(io::stdin().lock()),
        false => Names::Given(names.into_iter()),
    };
    let prompt = names.prompt(io::stdin().is_terminal(), io::stdout().is_terminal());
    match converse(&mut client, patience, &mut names, prompt, &mut io::stdout().lock()) {
        // Nobody reads on; what we have said is said.
        Ok(()) | Err(Stop::Unread) => client.finish(),
        Err(Stop::Failed(failure)) => return Err(failure),
    }
    Ok(())
}

/// Why a conversation ends early.
enum Stop {
    /// Standard output is closed.
    Unread,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn converse(
    client: &mut Client,
    patience: Option<Duration>,
    names: &mut Names,
    prompt: &str,
    output: &mut StdoutLock<'_>,
) -> Result<(), Stop> {
    if let Some(patience) = patience {
        let greeting = client.greeting(patience);
        show(output, greeting, "; for a service without one there is --no-greeting")?;
    }
    loop {
        print(output, prompt.as_bytes())?;
        let Some(name) = names.next()? else {
            // The shell's prompt should not stand behind ours.
            return if prompt.is_empty() { Ok(()) } else { print(output, b"\n") };
        };
        if name == b"exit" {
            return Ok(());
        }
        show(output, client.ask(&name), "")?;
    }
}

/// Prints what the server said, last words too. `hint`: what helps if it said nothing in time.
fn show(output: &mut StdoutLock<'_>, said: Result<Vec<u8>, Error>, hint: &str) -> Result<(), Stop> {
    let (mut words, failure) = match said {
        Ok(words) => (words, None),
        Err(error) => {
            let hint = if matches!(error, Error::TimedOut { .. }) { hint } else { "" };
            let failure = Failure::failed(format!("{error}{hint}"));
            match error {
                Error::Gone { last_words, .. } if !last_words.is_empty() => {
                    (last_words, Some(failure))
                }
                _ => return Err(failure.into()),
            }
        }
    };
    // In `raw` the server's newline, if it has one, is part of what it said.
    if !words.ends_with(b"\n") {
        words.push(b'\n');
    }
    let printed = print(output, &words);
    // The failure is told even if nobody reads the words.
    failure.map_or(printed, |failure| Err(failure.into()))
}

fn print(output: &mut StdoutLock<'_>, bytes: &[u8]) -> Result<(), Stop> {
    if print_to(output, bytes)? { Ok(()) } else { Err(Stop::Unread) }
}

/// Where the names come from.
enum Names {
    Given(std::vec::IntoIter<Vec<u8>>),
    Typed(StdinLock<'static>),
}

impl Names {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Given(names) => Ok(names.next()),
            Self::Typed(input) => line(input),
        }
    }

    /// What asks a human for the next name: nothing, unless one types them and sees it.
    fn prompt(&self, input_is_terminal: bool, output_is_terminal: bool) -> &'static str {
        match self {
            Self::Typed(_) if input_is_terminal && output_is_terminal => "> ",
            _ => "",
        }
    }
}

/// The next line, without its end; `None` at the end of the input.
fn line(input: &mut impl BufRead) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let read = input.take(LONGEST_NAME_BYTES + 1).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    } else if line.len() as u64 > LONGEST_NAME_BYTES {
        return Err(Failure::failed(format!(
            "a line of standard input is longer than {LONGEST_NAME_BYTES} bytes"
        )));
    }
    Ok(Some(line))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn only_a_human_is_prompted() {
        let typed = Names::Typed(io::stdin().lock());
        assert_eq!(typed.prompt(true, true), "> ");
        assert_eq!(typed.prompt(false, true), "");
        assert_eq!(typed.prompt(true, false), "");
        let given = Names::Given(Vec::new().into_iter());
        assert_eq!(given.prompt(true, true), "");
    }

    #[test]
    fn a_line_is_a_name_whatever_ends_it() {
        let mut input: &[u8] = b"Michael\nTracy\r\n\nSarah";
        for name in ["Michael", "Tracy", "", "Sarah"] {
            assert_eq!(line(&mut input).unwrap(), Some(name.as_bytes().to_vec()));
        }
        assert_eq!(line(&mut input).unwrap(), None);
    }
}
