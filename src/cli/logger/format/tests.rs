//! The formats, on records with what a hostile client could send.

use super::*;
use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

/// The line of a record with this message and these values.
fn format(format: LogFormat, message: &str, values: &[(&str, Value<'_>)]) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let line = line(
        Style { format, colour: false, journal: false },
        time,
        &Record::builder()
            .level(Level::Info)
            .target("welcomed::server")
            .args(format_args!("{message}"))
            .key_values(&values)
            .build(),
    );
    line.strip_suffix('\n').expect("a line ends").to_owned()
}

#[test]
fn text_is_time_level_sentence_and_values() {
    let values = [
        ("connection", Value::from(7u64)),
        ("peer", Value::from("127.0.0.1:5000")),
        ("reason", Value::from("end of stream")),
        ("empty", Value::from("")),
    ];
    let line = format(LogFormat::Text, "A client \"came\".", &values);
    let expected = "2023-11-14T22:13:20.123Z INFO  A client \"came\". connection=7 \
                    peer=127.0.0.1:5000 reason=\"end of stream\" empty=\"\"";
    assert_eq!(line, expected);
}

/// On a terminal each level has a colour of its own, and nothing after it has.
#[test]
fn a_level_is_coloured_alone() {
    let style = Style { format: LogFormat::Text, colour: true, journal: false };
    let coloured = |level| {
        let record = Record::builder().level(level).args(format_args!("so")).build();
        line(style, UNIX_EPOCH, &record)
    };
    let levels = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];
    let mut colours = BTreeSet::new();
    for level in levels {
        let line = coloured(level);
        let (before, after) = line.split_once(level.as_str()).expect("the level's name");
        let (_, colour) = before.split_once('\x1b').expect("a colour before it");
        assert!(colours.insert(colour.to_owned()), "{line:?}");
        assert!(after.trim_start().starts_with("\x1b[0m so"), "{line:?}");
    }
}

#[test]
fn logfmt_is_pairs_throughout() {
    let values = [("bad key=", Value::from("a\"b")), ("path", Value::from("a\\b"))];
    let line = format(LogFormat::Logfmt, "Gone.\n", &values);
    let expected = "time=2023-11-14T22:13:20.123Z level=info target=welcomed::server \
                    msg=\"Gone.\\n\" bad_key_=\"a\\\"b\" path=\"a\\\\b\"";
    assert_eq!(line, expected);
}

#[test]
fn json_is_one_object_with_typed_values() {
    let values = [
        ("n", Value::from(-3)),
        ("ratio", Value::from(0.5)),
        ("nan", Value::from(f64::NAN)),
        ("yes", Value::from(true)),
        ("none", Value::null()),
        ("level", Value::from("mine")),
        ("quote", Value::from("a\"b\\c\u{1b}")),
    ];
    let line = format(LogFormat::Json, "Two\nlines", &values);
    let expected = concat!(
        r#"{"time":"2023-11-14T22:13:20.123Z","level":"info","target":"welcomed::server","#,
        r#""message":"Two\nlines","n":-3,"ratio":0.5,"nan":"NaN","yes":true,"none":null,"#,
        r#""level_":"mine","quote":"a\"b\\c\u001b"}"#
    );
    assert_eq!(line, expected);
}

#[test]
fn plain_is_the_sentence_alone() {
    let values = [("connection", Value::from(7))];
    let line = format(LogFormat::Plain, "Accept new connection from 127.0.0.1:5000...", &values);
    assert_eq!(line, "Accept new connection from 127.0.0.1:5000...");
}

#[test]
fn nothing_hidden_gets_out_in_any_format() {
    let marks = [0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2066, 0x2069];
    let hidden: String =
        (0..0x20).chain(0x7f..0xa0).chain(marks).fold(String::new(), |mut text, code| {
            text.extend(char::from_u32(code));
            text
        });
    assert_eq!(hidden.chars().count(), 32 + 33 + marks.len());
    for (_, name) in [
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("logfmt", LogFormat::Logfmt),
        ("plain", LogFormat::Plain),
    ] {
        let values = [("value", Value::from(hidden.as_str())), (&hidden, Value::from(1))];
        let line = format(name, &hidden, &values);
        let is_mark = |it: char| marks.contains(&u32::from(it));
        assert!(!line.contains(|it: char| it.is_control() || is_mark(it)), "{name:?}: {line:?}");
        assert!(line.contains("\\u001b") && line.contains("\\u009b"), "{name:?}: {line:?}");
        assert!(line.contains("\\n"), "{name:?}: {line:?}");
    }
}

#[test]
fn ordinary_letters_stay_as_they_are() {
    // Their UTF-8 has bytes from 0x80 to 0x9f, which are no control characters here.
    let line = format(LogFormat::Plain, "Hello, À 你好 🎉!", &[]);
    assert_eq!(line, "Hello, À 你好 🎉!");
}

#[test]
fn long_values_are_shortened_between_characters() {
    let long = "é".repeat(LONGEST_VALUE);
    let values = [("value", Value::from(long.as_str())), ("after", Value::from(1))];
    let line = format(LogFormat::Text, "Long.", &values);
    let kept = "é".repeat(LONGEST_VALUE / 2);
    assert!(line.ends_with(&format!("Long. value={kept}... after=1")), "{line}");

    let odd = format!("a{long}");
    let line = format(LogFormat::Text, "Long.", &[("value", Value::from(odd.as_str()))]);
    let kept = format!("a{}", "é".repeat(LONGEST_VALUE / 2 - 1));
    assert!(line.ends_with(&format!("Long. value={kept}...")), "{line}");

    let message = format(LogFormat::Plain, &"x".repeat(1 << 20), &[]);
    assert_eq!(message.len(), LONGEST_MESSAGE + "...".len());
}

#[test]
fn a_number_with_more_digits_than_a_value_may_have_is_a_text_in_json() {
    for number in [1e300, -1e300, 1e-300] {
        let line = format(LogFormat::Json, "m", &[("n", Value::from(number))]);
        let digits = &number.to_string()[..LONGEST_VALUE];
        assert!(line.ends_with(&format!(r#","n":"{digits}..."}}"#)), "{line}");
    }
}

#[test]
fn what_only_displays_is_a_string() {
    let delay = Duration::from_millis(5);
    let line = format(LogFormat::Json, "m", &[("delay", Value::from_debug(&delay))]);
    assert!(line.ends_with(r#""delay":"5ms"}"#), "{line}");
}

#[test]
fn colour_marks_the_level_only() {
    let record = Record::builder().level(Level::Error).args(format_args!("m")).build();
    let style = Style { format: LogFormat::Text, colour: true, journal: false };
    let line = line(style, UNIX_EPOCH, &record);
    assert_eq!(line, "1970-01-01T00:00:00.000Z \x1b[31mERROR\x1b[0m m\n");
}

#[test]
fn the_journal_gets_priorities_and_text_no_time() {
    let shown = |format, level| {
        let record = Record::builder().level(level).args(format_args!("m")).build();
        line(Style { format, colour: false, journal: true }, UNIX_EPOCH, &record)
    };
    assert_eq!(shown(LogFormat::Text, Level::Error), "<3>ERROR m\n");
    assert_eq!(shown(LogFormat::Text, Level::Warn), "<4>WARN  m\n");
    assert_eq!(shown(LogFormat::Plain, Level::Info), "<6>m\n");
    assert_eq!(shown(LogFormat::Plain, Level::Debug), "<7>m\n");
    assert_eq!(shown(LogFormat::Plain, Level::Trace), "<7>m\n");
    // A program that reads the journal's messages finds what it finds elsewhere.
    let json = shown(LogFormat::Json, Level::Info);
    assert!(json.starts_with(r#"<6>{"time":"1970-01-01T00:00:00.000Z","#), "{json}");
}
