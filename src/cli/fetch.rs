//! `welcomed fetch`: the head to a terminal, the body to a file.

use super::Failure;
use crate::fetch::{self, Error, Head, MOST_REDIRECTS, Options, Sink, Url};
use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::Permissions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::NamedTempFile;

/// What takes no longer shows no progress bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Fetches a web page: its head to standard output, its body to a file
///
/// The body goes to a temporary file beside FILE, which is renamed when the page is whole: a
/// fetch that fails leaves nothing behind. Any whole answer is a success, whatever its status,
/// unless `--fail` is given. http only.
#[derive(Debug, clap::Args)]
pub(super) struct FetchArgs {
    /// What to fetch, as in http://127.0.0.1:8080/page.html
    url: Url,

    /// Where the body goes; `-` is standard output, the head then goes to standard error
    ///
    /// Without it the file is called as the URL's last part, or index.html if there is none. A
    /// file of that name is replaced.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Give up after this time, as in `500ms` or `2m` [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_time: Option<Duration>,

    /// Give up when the body is longer, as in `64KiB` or `10MiB` [default: any length]
    #[arg(long, value_name = "SIZE")]
    max_size: Option<ByteSize>,

    /// Exit with 1 when the status is 400 or above; the body is kept all the same
    #[arg(long)]
    fail: bool,

    /// Follow redirects, at most 10; without it a redirect is shown
    #[arg(short, long)]
    location: bool,
}

pub(super) fn run(args: FetchArgs) -> Result<(), Failure> {
    let options = Options {
        max_time: args.max_time,
        max_size: args.max_size.map(|size| size.as_u64()),
        follow: args.location,
    };
    let path = args.output.unwrap_or_else(|| args.url.file_name().into());
    let place =
        if path.as_os_str() == "-" { Place::Output } else { Place::File(temporary(&path)?) };
    let mut page = Page { place, progress: None, begun: Instant::now(), size: 0, options };
    let outcome = fetch::fetch(&args.url, &options, &mut page);
    if let Some(bar) = page.progress.take() {
        bar.finish_and_clear();
    }
    let status = match outcome {
        Ok(status) => status,
        // Whoever read our output has had enough.
        Err(Error::Sink(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        Err(error) => return Err(Failure::failed(error)),
    };
    if let Place::File(file) = page.place {
        let failed = |error| Failure::failed(format!("cannot write `{}`: {error}", path.display()));
        file.persist(&path).map_err(|error| failed(error.error))?;
        eprintln!("{} bytes in {}", page.size, path.display());
    }
    if args.fail && status >= 400 {
        return Err(Failure::failed(format!("{}: the status is {status}", args.url)));
    }
    Ok(())
}

/// A file beside `path` that is removed unless it is renamed, with a new file's usual rights.
fn temporary(path: &Path) -> Result<NamedTempFile, Failure> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    tempfile::Builder::new()
        .prefix(".fetch-")
        // The umask takes away what it takes from any file.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(|error| Failure::failed(format!("cannot write `{}`: {error}", path.display())))
}

/// Where the body goes.
enum Place {
    Output,
    File(NamedTempFile),
}

/// The page as it comes.
struct Page {
    place: Place,
    progress: Option<ProgressBar>,
    begun: Instant,
    size: u64,
    options: Options,
}

impl Sink for Page {
    fn head(&mut self, head: &Head) -> io::Result<()> {
        let text = printable(&head.text);
        match self.place {
            Place::File(_) => io::stdout().write_all(text.as_bytes())?,
            Place::Output => io::stderr().write_all(text.as_bytes())?,
        }
        if let Some(location) = &head.location {
            let location = location.escape_debug();
            let hint = if self.options.follow { "following" } else { "--location follows" };
            eprintln!("redirected to {location} ({hint}, at most {MOST_REDIRECTS} times)");
        }
        self.progress = None;
        if io::stderr().is_terminal() {
            let bar = head.length.map_or_else(ProgressBar::no_length, ProgressBar::new);
            let style = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            self.progress = Some(bar);
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.place {
            Place::File(file) => file.write_all(bytes)?,
            Place::Output => io::stdout().write_all(bytes)?,
        }
        self.size += bytes.len() as u64;
        if let Some(bar) = self.progress.as_ref().filter(|_| self.begun.elapsed() > PATIENCE) {
            bar.set_position(self.size);
        }
        Ok(())
    }
}

/// A head for a terminal: what could drive one is left out.
fn printable(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let shown = |it: &char| !it.is_control() || matches!(it, '\n' | '\t');
    let mut text: String = text.chars().filter(shown).collect();
    text.push_str("\n\n");
    text
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_head_drives_no_terminal() {
        let head = b"HTTP/1.1 200 OK\r\nX: \x1b[31mred\x07\tb\x9b\xff";
        assert_eq!(printable(head), "HTTP/1.1 200 OK\nX: [31mred\tb\u{fffd}\u{fffd}\n\n");
    }
}
