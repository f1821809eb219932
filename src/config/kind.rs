//! What a value may be: how each kind is read from text or TOML, and written again.
//!
//! A kind carries its bounds, so that what is checked and what a message calls allowed cannot
//! differ. Used by the table of keys; knows no key.

use super::Settings;
use super::value::{Raw, Shown, either};
use crate::server::{Address, Network};
use bytesize::ByteSize;
use std::fmt;
use std::time::Duration;

/// How values of one type are read and written.
pub(super) trait Kind: Sync {
    /// The type.
    type Value;
    /// What stands for a value in the help.
    const PLACEHOLDER: &'static str;
    /// Whether there may be several values.
    const LIST: bool = false;
    /// What a value may be, in words that follow "allowed: ".
    fn allowed(&self) -> String;
    /// Reads a value. The error is the text that is not valid.
    fn parse(&self, raw: &Raw<'_>) -> Result<Self::Value, String>;
    /// Writes a value so that `parse` reads the same.
    fn show(&self, value: &Self::Value) -> Shown;
}

/// A kind of value tied to the field that holds it.
pub(super) struct Field<K: Kind> {
    pub(super) kind: K,
    pub(super) get: fn(&Settings) -> K::Value,
    pub(super) set: fn(&mut Settings, K::Value),
}

/// A [`Field`] of any kind.
pub(super) trait Slot: Sync {
    fn allowed(&self) -> String;
    fn placeholder(&self) -> &'static str;
    fn is_list(&self) -> bool;
    fn set(&self, settings: &mut Settings, raw: &Raw<'_>) -> Result<(), String>;
    fn show(&self, settings: &Settings) -> Shown;
}

impl<K: Kind> Slot for Field<K> {
    fn allowed(&self) -> String {
        self.kind.allowed()
    }

    fn placeholder(&self) -> &'static str {
        K::PLACEHOLDER
    }

    fn is_list(&self) -> bool {
        K::LIST
    }

    fn set(&self, settings: &mut Settings, raw: &Raw<'_>) -> Result<(), String> {
        (self.set)(settings, self.kind.parse(raw)?);
        Ok(())
    }

    fn show(&self, settings: &Settings) -> Shown {
        self.kind.show(&(self.get)(settings))
    }
}

/// A whole number.
pub(super) struct Count<T> {
    pub(super) min: T,
    pub(super) max: T,
}

impl<T: TryFrom<u64> + PartialOrd + fmt::Display + Sync> Kind for Count<T> {
    type Value = T;
    const PLACEHOLDER: &'static str = "N";

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.min, self.max)
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<T, String> {
        let number = T::try_from(raw.number()?).ok();
        number.filter(|n| (&self.min..=&self.max).contains(&n)).ok_or_else(|| raw.given())
    }

    fn show(&self, value: &T) -> Shown {
        Shown::Number(value.to_string())
    }
}

/// `auto` or a value.
pub(super) struct AutoOr<K>(pub(super) K);

impl<K: Kind> Kind for AutoOr<K> {
    type Value = Option<K::Value>;
    const PLACEHOLDER: &'static str = K::PLACEHOLDER;

    fn allowed(&self) -> String {
        format!("`auto` or {}", self.0.allowed())
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<Self::Value, String> {
        if raw.word() == Ok("auto") { Ok(None) } else { self.0.parse(raw).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> Shown {
        value.as_ref().map_or_else(|| Shown::Word("auto".to_owned()), |value| self.0.show(value))
    }
}

/// `off` or a value.
pub(super) struct OffOr<K>(pub(super) K);

impl<K: Kind> Kind for OffOr<K> {
    type Value = Option<K::Value>;
    const PLACEHOLDER: &'static str = K::PLACEHOLDER;

    fn allowed(&self) -> String {
        format!("`off` or {}", self.0.allowed())
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<Self::Value, String> {
        if raw.word() == Ok("off") { Ok(None) } else { self.0.parse(raw).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> Shown {
        value.as_ref().map_or_else(|| Shown::Word("off".to_owned()), |value| self.0.show(value))
    }
}

/// A number of bytes.
pub(super) struct Size {
    pub(super) min: usize,
    pub(super) max: usize,
}

/// The units of sizes; each is 1,024 of the one before.
const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];

impl Kind for Size {
    type Value = usize;
    const PLACEHOLDER: &'static str = "SIZE";

    fn allowed(&self) -> String {
        let (min, max) = (show_size(self.min), show_size(self.max));
        format!("a size in B, KiB, MiB or GiB from {min} to {max}; a bare number is bytes")
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<usize, String> {
        let bytes =
            if raw.is_toml_integer() { Some(raw.number()?) } else { parse_size(raw.word()?) };
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        bytes.filter(|bytes| (self.min..=self.max).contains(bytes)).ok_or_else(|| raw.given())
    }

    fn show(&self, value: &usize) -> Shown {
        Shown::Word(show_size(*value))
    }
}

/// Reads `64KiB` or `1024`. Decimal units are refused: whoever writes `64K` may mean either.
fn parse_size(text: &str) -> Option<u64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').trim_start();
    let known = unit.is_empty() || UNITS.iter().any(|name| name.eq_ignore_ascii_case(unit));
    if known { text.parse::<ByteSize>().ok().map(|size| size.as_u64()) } else { None }
}

/// Writes a size in the largest unit that leaves no fraction.
pub(super) fn show_size(bytes: usize) -> String {
    let (mut number, mut unit) = (bytes, 0);
    while number != 0 && number % 1024 == 0 && unit + 1 < UNITS.len() {
        number /= 1024;
        unit += 1;
    }
    format!("{number}{}", UNITS[unit])
}

/// A duration.
pub(super) struct Time {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

impl Kind for Time {
    type Value = Duration;
    const PLACEHOLDER: &'static str = "DURATION";

    fn allowed(&self) -> String {
        let [min, max] = [self.min, self.max].map(humantime::format_duration);
        format!("a duration with its unit, as in `250ms` or `1m 30s`, from {min} to {max}")
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<Duration, String> {
        let time = humantime::parse_duration(raw.word()?).ok();
        time.filter(|time| (self.min..=self.max).contains(time)).ok_or_else(|| raw.given())
    }

    fn show(&self, value: &Duration) -> Shown {
        Shown::Word(humantime::format_duration(*value).to_string())
    }
}

/// The rights of a file.
pub(super) struct Mode;

impl Kind for Mode {
    type Value = u32;
    const PLACEHOLDER: &'static str = "MODE";

    fn allowed(&self) -> String {
        "three or four octal digits such as \"0660\"".to_owned()
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<u32, String> {
        let word = raw.word()?;
        let mode = u32::from_str_radix(word, 8).ok().filter(|_| !word.starts_with('+'));
        mode.filter(|mode| (3..=4).contains(&word.len()) && *mode <= 0o777)
            .ok_or_else(|| raw.given())
    }

    fn show(&self, value: &u32) -> Shown {
        Shown::Word(format!("{value:04o}"))
    }
}

/// One of several names.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq + Sync> Kind for Choice<T> {
    type Value = T;
    const PLACEHOLDER: &'static str = "NAME";

    fn allowed(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|(name, _)| format!("`{name}`")).collect();
        either(&names)
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<T, String> {
        let word = raw.word()?;
        let named = self.0.iter().find(|(name, _)| *name == word);
        named.map(|(_, value)| *value).ok_or_else(|| raw.given())
    }

    fn show(&self, value: &T) -> Shown {
        let named = self.0.iter().find(|(_, named)| named == value);
        // A value without a name can only be set by code, for no file could name it.
        Shown::Word(named.map_or("", |(name, _)| name).to_owned())
    }
}

const ADDRESS_FORMS: &str = "`127.0.0.1:9999`, `[::1]:9999` or `unix:/path`";

fn parse_address(raw: &Raw<'_>) -> Result<Address, String> {
    raw.word()?.parse().map_err(|_| raw.given())
}

/// One or several addresses.
pub(super) struct Addresses;

impl Kind for Addresses {
    type Value = Vec<Address>;
    const PLACEHOLDER: &'static str = "ADDRESS";
    const LIST: bool = true;

    fn allowed(&self) -> String {
        format!("one or several addresses such as {ADDRESS_FORMS}")
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<Vec<Address>, String> {
        let addresses: Vec<_> = raw.items().iter().map(parse_address).collect::<Result<_, _>>()?;
        if addresses.is_empty() { Err(raw.given()) } else { Ok(addresses) }
    }

    fn show(&self, value: &Vec<Address>) -> Shown {
        Shown::List(value.iter().map(Address::to_string).collect())
    }
}

/// An address, or `off` for none.
pub(super) struct AddressOrOff;

impl Kind for AddressOrOff {
    type Value = Option<Address>;
    const PLACEHOLDER: &'static str = "ADDRESS";

    fn allowed(&self) -> String {
        format!("`off` or an address such as {ADDRESS_FORMS}")
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<Option<Address>, String> {
        if raw.word()? == "off" { Ok(None) } else { parse_address(raw).map(Some) }
    }

    fn show(&self, value: &Option<Address>) -> Shown {
        Shown::Word(value.as_ref().map_or_else(|| "off".to_owned(), Address::to_string))
    }
}

/// Networks, or none.
pub(super) struct Networks {
    /// Whom an empty list means.
    pub(super) none: &'static str,
}

impl Kind for Networks {
    type Value = Vec<Network>;
    const PLACEHOLDER: &'static str = "NETWORK";
    const LIST: bool = true;

    fn allowed(&self) -> String {
        let none = self.none;
        format!("networks such as `10.0.0.0/8`, `fd00::/8` or `10.1.2.3`; none is {none}")
    }

    fn parse(&self, raw: &Raw<'_>) -> Result<Vec<Network>, String> {
        // A variable or a flag has no other way to say that there are none.
        if raw.word() == Ok("") {
            return Ok(Vec::new());
        }
        let network = |raw: &Raw<'_>| raw.word()?.parse().map_err(|_| raw.given());
        raw.items().iter().map(network).collect()
    }

    fn show(&self, value: &Vec<Network>) -> Shown {
        Shown::List(value.iter().map(Network::to_string).collect())
    }
}
