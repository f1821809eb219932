//! A file that appears only when it is whole.
//!
//! Owns the temporary file beside the target and its renaming.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A file under construction. Dropped without [`keep`](Save::keep) it leaves nothing behind, and
/// what stood under its name before stays as it was.
#[derive(Debug)]
#[must_use = "nothing is left without `keep`"]
pub(super) struct Save {
    file: Destination,
    path: PathBuf,
}

#[derive(Debug)]
enum Destination {
    /// Renamed to its target when whole.
    Temporary(NamedTempFile),
    /// A device or a pipe: nothing to rename, and replacing it is not what anyone wants.
    Special(File),
}

impl Save {
    /// Begins the file that will stand at `path`, with the permissions of what stands there, or of
    /// any new file. Behind a symbolic link it is the link's target that is replaced.
    ///
    /// # Errors
    ///
    /// The directory does not exist or is not writable, or `path` is a directory.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path);
        // As they were, if there were any.
        let permissions = found.as_ref().ok().map(fs::Metadata::permissions);
        let path = match found {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => {
                let file = Destination::Special(OpenOptions::new().write(true).open(path)?);
                return Ok(Self { file, path: path.to_owned() });
            }
            Ok(_) => fs::canonicalize(path)?,
            Err(_) => path.to_owned(),
        };
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        // 0666 as the system's own `creat` gives it: the umask takes its share.
        let file = tempfile::Builder::new()
            .prefix(".welcomed-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)
            // Without the temporary file's name, which says nothing to a user.
            .map_err(|error| io::Error::from(error.kind()))?;
        if let Some(permissions) = permissions {
            file.as_file().set_permissions(permissions)?;
        }
        Ok(Self { file: Destination::Temporary(file), path })
    }

    /// The file is whole: gives it its name, in place of what had it.
    ///
    /// # Errors
    ///
    /// It cannot be renamed; then nothing is left of it.
    pub(super) fn keep(self) -> io::Result<()> {
        match self.file {
            Destination::Temporary(file) => {
                file.persist(&self.path).map(drop).map_err(|error| error.error)
            }
            Destination::Special(_) => Ok(()),
        }
    }
}

impl Write for Save {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Destination::Temporary(file) => file.as_file_mut().write(bytes),
            Destination::Special(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // a file keeps nothing back
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_only_when_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut save = Save::create(&path).unwrap();
        save.write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(save);
        assert_eq!(names(directory.path()), Vec::<String>::new());

        let mut save = Save::create(&path).unwrap();
        save.write_all(b"whole").unwrap();
        save.keep().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(directory.path()), ["a"]);
        let plain = directory.path().join("plain");
        File::create(&plain).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain), "the umask's permissions");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        Save::create(&path).unwrap().keep().unwrap();
        assert_eq!(mode(&path) & 0o777, 0o600, "as they were");
    }

    #[test]
    fn a_link_stays_and_a_device_is_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        fs::write(&target, "old").unwrap();
        symlink("target", &link).unwrap();
        let mut save = Save::create(&link).unwrap();
        save.write_all(b"new").unwrap();
        save.keep().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"new");

        let mut null = Save::create(Path::new("/dev/null")).unwrap();
        null.write_all(b"x").unwrap();
        null.keep().unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn what_cannot_be_written_is_said_early() {
        let directory = tempfile::tempdir().unwrap();
        let error = Save::create(directory.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let error = Save::create(&directory.path().join("none/a")).unwrap_err();
        assert_eq!(error.to_string(), "entity not found");
    }
}
