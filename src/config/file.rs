//! The file: TOML to known keys with their values, each with its line.
//!
//! Called by the load; judges no value.

use super::Key;
use super::hint::{unknown_key, unknown_section};
use super::table::{find, sections};
use super::value::one_line;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

/// A known key with its value, or what is wrong.
pub(super) type Entry<'a> = Result<(&'static Key, Spanned<DeValue<'a>>), String>;

/// The entries of a file, by line.
pub(super) fn read(text: &str) -> Vec<(usize, Entry<'_>)> {
    let mut entries = Reader { text, entries: Vec::new() }.read();
    entries.sort_by_key(|(line, _)| *line);
    entries
}

struct Reader<'a> {
    text: &'a str,
    entries: Vec<(usize, Entry<'a>)>,
}

impl<'a> Reader<'a> {
    /// What stands behind the first error of syntax is not judged: TOML has lost its way there.
    fn read(mut self) -> Vec<(usize, Entry<'a>)> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        let mut end = usize::MAX;
        let at = |error: &Error| error.span().unwrap_or_default();
        if let Some(error) = errors.iter().min_by_key(|error| at(error).start) {
            let span = at(error);
            end = span.start;
            let near = one_line(self.text.get(span).unwrap_or_default().trim());
            let near = if near.is_empty() { near } else { format!(" at `{near}`") };
            let problem = format!("not valid TOML{near}: {}", one_line(error.message()));
            self.push(end, Err(problem));
        }
        for (section, content) in document.into_inner() {
            let (at, section) = (section.span().start, section.into_inner());
            match content.into_inner() {
                _ if at >= end => {}
                _ if !sections().contains(&&*section) => {
                    self.push(at, Err(unknown_section(&section)))
                }
                DeValue::Table(table) => self.section(&section, table, end),
                _ => {
                    let problem = format!("`{section}` is a section: write `[{section}]`");
                    self.push(at, Err(problem));
                }
            }
        }
        self.entries
    }

    fn section(&mut self, section: &str, table: DeTable<'a>, end: usize) {
        for (name, value) in table.into_iter().filter(|(_, value)| value.span().end < end) {
            let entry = match find(&format!("{section}.{}", name.get_ref())) {
                Some(key) => Ok((key, value)),
                None => Err(unknown_key(section, name.get_ref())),
            };
            self.push(name.span().start, entry);
        }
    }

    fn push(&mut self, at: usize, entry: Entry<'a>) {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        self.entries.push((line, entry));
    }
}
