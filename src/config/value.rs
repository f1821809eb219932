//! A value between its source and its type: what a file, a variable or a flag gave, and how a value
//! is written again.

use std::fmt;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

/// A value as its source gave it.
pub(super) enum Raw<'a> {
    /// From the environment or a flag; several values are separated by commas.
    Text(&'a str),
    /// From the file, with the file's text.
    Toml(&'a Spanned<DeValue<'a>>, &'a str),
}

impl<'a> Raw<'a> {
    /// The value as the user wrote it, on one line, for a message.
    pub(super) fn given(&self) -> String {
        let text = match self {
            Self::Text(text) => text,
            Self::Toml(value, source) => source.get(value.span()).unwrap_or_default(),
        };
        one_line(text)
    }

    /// A text that is no number.
    pub(super) fn word(&self) -> Result<&'a str, String> {
        match self {
            Self::Text(text) => Ok(text.trim()),
            Self::Toml(value, _) => value.get_ref().as_str().ok_or_else(|| self.given()),
        }
    }

    pub(super) fn number(&self) -> Result<u64, String> {
        let number = match self {
            Self::Text(text) => text.trim().parse().ok(),
            Self::Toml(value, _) => value.get_ref().as_integer().and_then(to_number),
        };
        number.ok_or_else(|| self.given())
    }

    pub(super) fn is_toml_integer(&self) -> bool {
        matches!(self, Self::Toml(value, _) if value.get_ref().is_integer())
    }

    /// The values of a list; a single value is a list of one.
    pub(super) fn items(&self) -> Vec<Self> {
        match self {
            Self::Text(text) => text.split(',').map(Self::Text).collect(),
            Self::Toml(value, source) => match value.get_ref() {
                DeValue::Array(items) => {
                    items.iter().map(|item| Self::Toml(item, source)).collect()
                }
                _ => vec![Self::Toml(value, source)],
            },
        }
    }
}

fn to_number(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// `text` without control characters, shortened, for use within a line.
pub(super) fn one_line(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == LONGEST {
            shown += "...";
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A value as it is written: for a flag by `Display`, for a file by [`toml`](Shown::toml).
#[derive(PartialEq)]
pub(super) enum Shown {
    Number(String),
    Word(String),
    List(Vec<String>),
}

impl Shown {
    pub(super) fn toml(&self) -> String {
        match self {
            Self::Number(number) => number.clone(),
            Self::Word(word) => quoted(word),
            Self::List(words) => {
                let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
                format!("[{}]", words.join(", "))
            }
        }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(text) | Self::Word(text) => f.write_str(text),
            Self::List(words) => f.write_str(&words.join(",")),
        }
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted += &format!("\\u{:04x}", u32::from(character)),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// `a`, `b` or `c`.
pub(super) fn either(words: &[String]) -> String {
    match words {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}
