//! Where reports go: files, and standard output.

use super::super::Failure;
use super::super::save::Save;
use super::super::terminal::print;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A report of `T` as text of some kind.
pub(in super::super) type Render<T> = fn(&T) -> String;

/// Where the report goes. Files are begun before there is one, so that a path that cannot be
/// written is known before the time is spent.
pub(in super::super) struct Outputs<T> {
    subcommand: &'static str,
    files: Vec<(Save, PathBuf, Render<T>)>,
    stdout: Render<T>,
}

impl<T> Outputs<T> {
    /// Standard output gets `text`, or what is wanted for the file `-`.
    pub(in super::super) fn open(
        subcommand: &'static str,
        text: Render<T>,
        wanted: &[(&Option<PathBuf>, Render<T>)],
    ) -> Result<Self, Failure> {
        let mut outputs = Self { subcommand, files: Vec::new(), stdout: text };
        let mut taken = false;
        for (path, render) in wanted {
            let Some(path) = path else { continue };
            if path == Path::new("-") {
                if std::mem::replace(&mut taken, true) {
                    return Err(Failure::usage(format!(
                        "{subcommand}: only one of the files can be `-`"
                    )));
                }
                outputs.stdout = *render;
                continue;
            }
            let save = Save::create(path);
            let save = save.map_err(|error| Failure::usage(outputs.cannot_write(path, &error)))?;
            outputs.files.push((save, path.clone(), *render));
        }
        Ok(outputs)
    }

    /// Writes them all.
    pub(in super::super) fn write(mut self, report: &T) -> Result<(), Failure> {
        print((self.stdout)(report).as_bytes())?;
        for (mut save, path, render) in std::mem::take(&mut self.files) {
            let written = save.write_all(render(report).as_bytes());
            let kept = written.and_then(|()| save.keep());
            kept.map_err(|error| Failure::failed(self.cannot_write(&path, &error)))?;
        }
        Ok(())
    }

    fn cannot_write(&self, path: &Path, error: &io::Error) -> String {
        format!("{}: cannot write `{}`: {error}", self.subcommand, path.display())
    }
}
