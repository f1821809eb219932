//! Messages about names that are none of ours, with the name that was probably meant.

use super::keys::PREFIX;
use super::table::sections;
use super::value::{either, one_line};
use super::{KEYS, Key};

pub(super) fn unknown_variable(name: &str) -> String {
    let short = name.trim_start_matches(PREFIX);
    let known = KEYS.iter().map(|key| key.variable().trim_start_matches(PREFIX).to_owned());
    let hint = nearest(short, known).map(|name| format!(" (did you mean {PREFIX}{name}?)"));
    format!("{} is no setting and is ignored{}", one_line(name), hint.unwrap_or_default())
}

/// The candidate that `word` is probably a misspelling of.
fn nearest(word: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let tolerated = (word.chars().count() / 4).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, &candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

pub(super) fn unknown_section(section: &str) -> String {
    let shown = one_line(section);
    let with_such_a_key = KEYS.iter().filter(|key| key.name() == section).map(in_brackets);
    let homes: Vec<_> = with_such_a_key.collect();
    if !homes.is_empty() {
        let homes = either(&homes);
        return format!("`{shown}` stands outside its section: write it below {homes}");
    }
    let known = sections();
    let hint = nearest(section, known.iter().map(|name| (*name).to_owned()));
    let known: Vec<_> = known.iter().map(|name| format!("`[{name}]`")).collect();
    let hint = hint.map(|name| format!(" (did you mean `[{name}]`?)")).unwrap_or_default();
    format!("unknown section `[{shown}]`{hint}; allowed: {}", either(&known))
}

pub(super) fn unknown_key(section: &str, name: &str) -> String {
    let shown = one_line(name);
    let known = KEYS.iter().filter(|key| key.section() == section).map(|key| key.name());
    let hint = nearest(name, known.clone().map(str::to_owned))
        .map(|near| format!(" (did you mean `{near}`?)"))
        .or_else(|| {
            let elsewhere = KEYS.iter().find(|key| key.name() == name)?;
            Some(format!(" (`{shown}` belongs to {})", in_brackets(elsewhere)))
        });
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    let hint = hint.unwrap_or_default();
    format!("unknown key `{section}.{shown}`{hint}; allowed: {}", either(&known))
}

fn in_brackets(key: &Key) -> String {
    format!("`[{}]`", key.section())
}
