//! `welcomed fetch`: arguments in; the head, the notes, the bar and the file out.

use super::Failure;
use super::interrupt::Interrupt;
use super::save::Save;
use super::terminal::{printable, reader_stays};
use crate::fetch::{self, Error, Head, Observer, Options, Redirect, Url};
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many redirects `--location` follows.
const MAX_REDIRECTS: usize = 10;
/// What takes longer than this gets a progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Saves a web page over a plain socket
///
/// Sends one GET, prints the answer's head to standard output and saves the body to a file. The
/// file appears only when the body is whole: a fetch that fails leaves nothing behind. HTTP/1.1
/// without TLS, so `http://` only.
///
/// The exit code is 0 for any complete answer, whatever its status (see --fail), 1 for an
/// incomplete one, and 3 if a signal cut it off.
#[derive(Debug, clap::Args)]
pub(super) struct FetchArgs {
    /// What to fetch, as in `http://example.org/page.html`
    url: Url,

    /// Where to save the body; `-` is standard output, the head then goes to standard error
    ///
    /// An existing file is replaced. [default: the last segment of the URL's path, in the current
    /// directory, or `index.html`]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// How long all of it may take, as in `500ms` or `2m`; 0 is no limit
    #[arg(long, value_name = "DURATION", default_value = "0",
          value_parser = humantime::parse_duration)]
    max_time: Duration,

    /// How large the body may be, as in `64KiB` or `10MB` [default: no limit]
    #[arg(long, value_name = "SIZE")]
    max_size: Option<ByteSize>,

    /// Exit with 1 for a status of 400 and above; the body is kept all the same
    #[arg(long)]
    fail: bool,

    /// Follow redirects, at most 10; without it they are only shown
    #[arg(long)]
    location: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: FetchArgs) -> Result<(), Failure> {
    let options = Options {
        max_time: Some(args.max_time).filter(|limit| !limit.is_zero()),
        max_size: args.max_size.map(|size| size.as_u64()),
        max_redirects: if args.location { MAX_REDIRECTS } else { 0 },
    };
    let target = match args.output {
        None => Target::File(args.url.file_name().into()),
        Some(path) if path == Path::new("-") => Target::StandardOutput,
        Some(path) => Target::File(path),
    };
    let mut download = Download::new(target);
    let answer = fetch::fetch(args.url.clone(), &options, &mut download);
    download.clear_bar();
    let head = match answer {
        Ok(head) => head,
        // `welcomed fetch -o - URL | head` has got what it wanted.
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
        Err(Error::Interrupted) => {
            return Err(Failure::cut_off(format!("fetch {}: interrupted", args.url)));
        }
        Err(error) => {
            let error = printable(error.to_string().as_bytes());
            return Err(Failure::failed(format!("fetch {}: {error}", args.url)));
        }
    };
    download.keep().map_err(Failure::failed)?;
    if args.fail && head.status() >= 400 {
        let status = printable(head.status_line().as_bytes());
        return Err(Failure::failed(format!("fetch {}: the server answered {status}", args.url)));
    }
    Ok(())
}

/// Where the body goes.
enum Target {
    File(PathBuf),
    StandardOutput,
}

/// The fetch as the user sees it.
struct Download {
    target: Target,
    /// The file, once there is a body for it.
    file: Option<Save>,
    started: Instant,
    received: u64,
    bar: Option<ProgressBar>,
    /// Watched for once there is a file under construction to remove. Before that a signal ends
    /// the process.
    interrupt: Option<Interrupt>,
}

impl Download {
    fn new(target: Target) -> Self {
        Self {
            target,
            file: None,
            started: Instant::now(),
            received: 0,
            bar: None,
            interrupt: None,
        }
    }

    /// Makes the bar, hidden: it measures the rate from here on, should it be shown.
    fn begin_progress(&mut self, length: Option<u64>) {
        if matches!(self.target, Target::StandardOutput) && io::stdout().is_terminal() {
            return; // the body is what shows
        }
        let template = if length.is_some() { KNOWN } else { UNKNOWN };
        let style = ProgressStyle::with_template(template);
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
        self.bar = Some(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())));
    }

    fn show_progress(&mut self) {
        let Some(bar) = &self.bar else { return };
        bar.set_position(self.received);
        if bar.is_hidden() && self.started.elapsed() > PATIENCE {
            // Stays hidden where standard error is no terminal.
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    fn clear_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn keep(self) -> Result<(), String> {
        match (self.file, &self.target) {
            (Some(file), Target::File(path)) => {
                file.keep().map_err(|error| cannot_write(path, &error).to_string())
            }
            _ => Ok(()),
        }
    }
}

const KNOWN: &str = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const UNKNOWN: &str = "{spinner} {bytes} {bytes_per_sec}";

fn cannot_write(path: &Path, error: &io::Error) -> io::Error {
    // Of its own kind: a pipe given by name that breaks is a failure, unlike standard output.
    io::Error::other(format!("cannot write `{}`: {error}", path.display()))
}

/// Writes through to standard output; an error keeps its kind, by which a gone reader is known.
fn to_stdout(write: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) -> io::Result<()> {
    let mut output = io::stdout().lock();
    write(&mut output).and_then(|()| output.flush()).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))
    })
}

impl Observer for Download {
    fn redirect(&mut self, redirect: &Redirect) {
        let Redirect { status_line, to, followed } = redirect;
        let how = if *followed { "" } else { " (not followed)" };
        eprintln!("{} -> {}{how}", printable(status_line.as_bytes()), printable(to.as_bytes()));
    }

    fn head(&mut self, head: &Head, length: Option<u64>) -> io::Result<()> {
        self.begin_progress(length);
        let head: Vec<String> =
            head.to_string().split('\n').map(|line| printable(line.as_bytes())).collect();
        let head = head.join("\n");
        match &self.target {
            Target::StandardOutput => eprintln!("{head}"),
            Target::File(path) => {
                // Whoever does not read the head may still want the file.
                reader_stays(to_stdout(|output| writeln!(output, "{head}")))?;
                self.interrupt = Some(Interrupt::catch()?);
                self.file = Some(Save::create(path).map_err(|error| cannot_write(path, &error))?);
            }
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.received += bytes.len() as u64;
        match (&mut self.file, &self.target) {
            (Some(file), Target::File(path)) => {
                file.write_all(bytes).map_err(|error| cannot_write(path, &error))?;
            }
            _ => to_stdout(|output| output.write_all(bytes))?,
        }
        self.show_progress();
        Ok(())
    }

    fn go_on(&mut self) -> bool {
        self.show_progress();
        !self.interrupt.as_ref().is_some_and(Interrupt::came)
    }
}
