//! How a record looks as a line: `text`, `json`, `logfmt` and `plain`.
//!
//! Pure: a record in, a line with its end out; called by the backend for each record that is
//! written. Whatever a client sent may stand in a record, so no control character and no line
//! break gets out, and long values are shortened.

use crate::config::LogFormat;
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};
use std::fmt::{self, Display, Write as _};
use std::time::SystemTime;

/// Longest sentence in bytes.
const LONGEST_MESSAGE: usize = 1024;
/// Longest value of a `key=value` in bytes.
const LONGEST_VALUE: usize = 256;

/// What a line depends on beside its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) format: LogFormat,
    /// For a terminal.
    pub(super) colour: bool,
    /// For the systemd journal, which takes the priority from the front of a line and has a time
    /// of its own.
    pub(super) journal: bool,
}

/// The record as a line with its end.
pub(super) fn line(style: Style, time: SystemTime, record: &Record<'_>) -> String {
    let mut out = String::with_capacity(256);
    if style.journal {
        out.push_str(priority(record.level()));
    }
    match style.format {
        LogFormat::Text => text(&mut out, style, time, record),
        LogFormat::Json => json(&mut out, time, record),
        LogFormat::Logfmt => logfmt(&mut out, time, record),
        LogFormat::Plain => escape(&mut out, &message(record), Quotes::Keep),
    }
    out.push('\n');
    out
}

/// The level as syslog numbers it, the way sd-daemon(3) wants it in front of a line.
pub(super) fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}

/// The record's sentence, of bounded length.
pub(super) fn message(record: &Record<'_>) -> String {
    shortened(record.args(), LONGEST_MESSAGE)
}

fn text(out: &mut String, style: Style, time: SystemTime, record: &Record<'_>) {
    let level = record.level();
    let (on, off) = if style.colour { (ansi(level), "\x1b[0m") } else { ("", "") };
    if !style.journal {
        push(out, format_args!("{} ", humantime::format_rfc3339_millis(time)));
    }
    push(out, format_args!("{on}{level:<5}{off} "));
    escape(out, &message(record), Quotes::Keep);
    pairs(record, |key, value| {
        out.push(' ');
        pair(out, key, &value.text);
    });
}

/// Turns the level's colour on.
fn ansi(level: Level) -> &'static str {
    match level {
        Level::Error => "\x1b[31m",
        Level::Warn => "\x1b[33m",
        Level::Info => "\x1b[32m",
        Level::Debug => "\x1b[36m",
        Level::Trace => "\x1b[2m",
    }
}

fn logfmt(out: &mut String, time: SystemTime, record: &Record<'_>) {
    let time = humantime::format_rfc3339_millis(time);
    let level = record.level().as_str().to_ascii_lowercase();
    push(out, format_args!("time={time} level={level} "));
    pair(out, "target", record.target());
    out.push(' ');
    pair(out, "msg", &message(record));
    pairs(record, |key, value| {
        out.push(' ');
        pair(out, key, &value.text);
    });
}

/// `key=value`, with quotes when the value could be misread without.
fn pair(out: &mut String, key: &str, value: &str) {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=' | '\\') && !hidden(c);
    out.extend(key.chars().map(|c| if plain(c) { c } else { '_' }));
    out.push('=');
    if !value.is_empty() && value.chars().all(plain) {
        out.push_str(value);
    } else {
        string(out, value);
    }
}

fn json(out: &mut String, time: SystemTime, record: &Record<'_>) {
    let time = humantime::format_rfc3339_millis(time);
    let level = record.level().as_str().to_ascii_lowercase();
    push(out, format_args!(r#"{{"time":"{time}","level":"{level}","target":"#));
    string(out, record.target());
    out.push_str(r#","message":"#);
    string(out, &message(record));
    pairs(record, |key, value| {
        out.push(',');
        // A reader keeps one of two equal names, and it must not be the wrong one.
        let taken = matches!(key, "time" | "level" | "target" | "message");
        string(out, &format!("{key}{}", if taken { "_" } else { "" }));
        out.push(':');
        if value.bare { out.push_str(&value.text) } else { string(out, &value.text) }
    });
    out.push('}');
}

/// A string in quotes, as JSON has it.
fn string(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text, Quotes::Escape);
    out.push('"');
}

/// Whether quotes and backslashes are ordinary characters.
#[derive(Clone, Copy, PartialEq)]
enum Quotes {
    Keep,
    Escape,
}

/// Appends `text` with everything escaped that could end a line or command a terminal, the way
/// JSON does it.
fn escape(out: &mut String, text: &str, quotes: Quotes) {
    for character in text.chars() {
        match character {
            '"' | '\\' if quotes == Quotes::Escape => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if hidden(character) => push(out, format_args!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
}

/// Control characters (C0, DEL and C1), line and paragraph separators, and the marks that turn
/// the direction of writing (Unicode's `Bidi_Control`).
fn hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push(out: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

/// What `value` displays, cut after `limit` bytes; a huge one is not even made.
fn shortened(value: impl Display, limit: usize) -> String {
    struct Bounded {
        text: String,
        limit: usize,
    }

    impl fmt::Write for Bounded {
        fn write_str(&mut self, more: &str) -> fmt::Result {
            let room = self.limit - self.text.len();
            if more.len() <= room {
                self.text.push_str(more);
                return Ok(());
            }
            let end = (0..=room).rev().find(|end| more.is_char_boundary(*end)).unwrap_or(0);
            self.text.push_str(&more[..end]);
            Err(fmt::Error)
        }
    }

    let mut bounded = Bounded { text: String::new(), limit };
    if write!(bounded, "{value}").is_err() {
        bounded.text.push_str("...");
    }
    bounded.text
}

/// A value as text, and whether JSON takes it without quotes.
struct Shown {
    text: String,
    bare: bool,
}

impl Shown {
    fn set(&mut self, text: impl Display, bare: bool) -> Result<(), kv::Error> {
        let text = shortened(text, LONGEST_VALUE);
        // Half a number is none: JSON takes it as a text.
        let bare = bare && text.len() <= LONGEST_VALUE;
        *self = Self { text, bare };
        Ok(())
    }
}

impl<'v> VisitValue<'v> for &mut Shown {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.set(value, false)
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.set("null", true)
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.set(value, true)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.set(value, true)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.set(value, true)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.set(value, value.is_finite())
    }
}

/// Calls `each` with the record's keys and values.
fn pairs(record: &Record<'_>, each: impl FnMut(&str, &Shown)) {
    struct Visitor<F>(F);

    impl<'kvs, F: FnMut(&str, &Shown)> VisitSource<'kvs> for Visitor<F> {
        fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
            let mut shown = Shown { text: String::new(), bare: false };
            value.visit(&mut shown)?;
            (self.0)(key.as_str(), &shown);
            Ok(())
        }
    }

    // A value that cannot be shown ends the list: what came before it stands.
    let _ = record.key_values().visit(&mut Visitor(each));
}

#[cfg(test)]
mod tests;
