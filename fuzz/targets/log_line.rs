//! Records of arbitrary text as the log writes them: one line each, nothing in it that commands a
//! terminal, and a reader of the format finds again what was said.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use log::kv::Value as Logged;
use log::{Level, Record};
use serde_json::Value;
use std::time::{Duration, UNIX_EPOCH};
use welcomed::config::LogFormat;
use welcomed::fuzzing::log_line;

/// Longest sentence and longest value in bytes; longer ones end with `...`.
const LONGEST: [usize; 2] = [1024, 256];

#[derive(Debug, Arbitrary)]
struct Input {
    format: u8,
    level: u8,
    journal: bool,
    /// Up to the year 9999, behind which the time has no notation.
    seconds: u32,
    target: String,
    pairs: Vec<(String, Given)>,
    message: String,
}

#[derive(Debug, Arbitrary)]
enum Given {
    Text(String),
    Debug(String),
    Unsigned(u64),
    Signed(i64),
    Wide(i128),
    Float(f64),
    Letter(char),
    Bool(bool),
    Null,
}

impl Given {
    fn logged(&self) -> Logged<'_> {
        match self {
            Self::Text(it) => Logged::from(it.as_str()),
            Self::Debug(it) => Logged::from_debug(it),
            Self::Unsigned(it) => Logged::from(*it),
            Self::Signed(it) => Logged::from(*it),
            Self::Wide(it) => Logged::from(*it),
            Self::Float(it) => Logged::from(*it),
            Self::Letter(it) => Logged::from(*it),
            Self::Bool(it) => Logged::from(*it),
            Self::Null => Logged::null(),
        }
    }
}

/// Control characters, ends of lines and paragraphs, and what turns the direction of writing.
fn is_hidden(character: char) -> bool {
    let direction = matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || direction || matches!(character, '\u{2028}' | '\u{2029}')
}

/// What may stand in the place of `text`.
fn assert_says(found: &str, text: &str, longest: usize) {
    match found.strip_suffix("...") {
        Some(kept) if text.len() > longest => {
            assert!(text.starts_with(kept) && kept.len() + 3 >= longest, "{found:?}");
        }
        _ => assert_eq!(found, text),
    }
}

fuzz_target!(|input: Input| {
    let formats = [LogFormat::Text, LogFormat::Json, LogFormat::Logfmt, LogFormat::Plain];
    let format = formats[usize::from(input.format) % formats.len()];
    let level = Level::iter().nth(usize::from(input.level) % 5).unwrap();
    let pairs: Vec<_> =
        input.pairs.iter().map(|(key, value)| (key.as_str(), value.logged())).collect();
    let line = log_line(
        format,
        input.journal,
        UNIX_EPOCH + Duration::from_secs(input.seconds.into()),
        &Record::builder()
            .level(level)
            .target(&input.target)
            .args(format_args!("{}", input.message))
            .key_values(&pairs)
            .build(),
    );
    let line = line.strip_suffix('\n').unwrap();
    assert!(!line.contains(is_hidden), "{line:?}");
    let line = if input.journal {
        let (priority, line) = line.split_at(3);
        assert!(matches!(priority, "<3>" | "<4>" | "<6>" | "<7>"), "{priority}");
        line
    } else {
        line
    };
    match format {
        LogFormat::Json => json(line, &input),
        LogFormat::Logfmt => logfmt(line, &input),
        // `formats` above has the others, which are for people.
        _ => {}
    }
});

fn json(line: &str, input: &Input) {
    let Ok(Value::Object(fields)) = serde_json::from_str(line) else { panic!("{line}") };
    let text = |name: &str| fields[name].as_str().unwrap();
    assert_eq!(text("target"), input.target);
    assert_says(text("message"), &input.message, LONGEST[0]);
    assert!(text("time").ends_with("Z"));
    assert!(text("level").bytes().all(|it| it.is_ascii_lowercase()));
    for (key, given) in &input.pairs {
        // Of several values of one name, which are a mistake of the program's, one is enough.
        if input.pairs.iter().filter(|(other, _)| other.starts_with(key.as_str())).count() > 1 {
            continue;
        }
        let taken = ["time", "level", "target", "message"].contains(&key.as_str());
        let found = &fields[&format!("{key}{}", if taken { "_" } else { "" })];
        match given {
            Given::Text(it) => assert_says(found.as_str().unwrap(), it, LONGEST[1]),
            Given::Unsigned(it) => assert_eq!(found.as_u64(), Some(*it)),
            Given::Signed(it) => assert_eq!(found.as_i64(), Some(*it)),
            Given::Bool(it) => assert_eq!(found.as_bool(), Some(*it)),
            Given::Null => assert!(found.is_null()),
            Given::Float(_) => assert!(found.is_number() || found.is_string()),
            Given::Debug(_) | Given::Wide(_) | Given::Letter(_) => assert!(found.is_string()),
        }
    }
}

/// `key=value key="value"`, the quoted ones as JSON has them.
fn logfmt(line: &str, input: &Input) {
    let mut rest = line;
    let mut read = Vec::new();
    loop {
        let (key, value) = rest.split_once('=').unwrap();
        assert!(!key.contains(|it: char| it.is_whitespace() || it == '"'), "{line}");
        let (value, later) = if value.starts_with('"') {
            let mut values = serde_json::Deserializer::from_str(value).into_iter::<String>();
            let text = values.next().unwrap().unwrap();
            (text, &value[values.byte_offset()..])
        } else {
            let end = value.find(' ').unwrap_or(value.len());
            assert!(!value[..end].contains(['"', '=']), "{line}");
            (value[..end].to_owned(), &value[end..])
        };
        read.push((key, value));
        match later.strip_prefix(' ') {
            Some(later) => rest = later,
            None => break assert_eq!(later, "", "{line}"),
        }
    }
    let names: Vec<_> = read.iter().take(4).map(|(key, _)| *key).collect();
    assert_eq!(names, ["time", "level", "target", "msg"]);
    assert_eq!(read[2].1, input.target);
    assert_says(&read[3].1, &input.message, LONGEST[0]);
    assert_eq!(read.len(), 4 + input.pairs.len());
    for ((_, found), (_, given)) in read[4..].iter().zip(&input.pairs) {
        if let Given::Text(given) = given {
            assert_says(found, given, LONGEST[1]);
        }
    }
}
