//! `welcomed man`: the manual, made from the command line's description and the table of keys.
//! The only place that knows `clap_mangen`.

use super::terminal::print;
use super::{Arguments, Failure};
use crate::config::{KEYS, Key};
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::fs;
use std::io;
use std::path::PathBuf;

const MANUAL: &str = "welcomed";
const VERSION: &str = concat!("welcomed ", env!("CARGO_PKG_VERSION"));

/// What the exit codes mean; they are the same for every subcommand.
const EXIT_CODES: &[(&str, &str)] = &[
    ("0", "Done."),
    ("1", "The work failed."),
    ("2", "Wrong arguments or configuration, or a start that could not be made."),
    ("3", "Ended with work left undone: replies owed, or a second signal."),
];

/// Prints the manual page welcomed(1), or writes all pages into a directory
///
/// The pages are welcomed(1), one for each subcommand as welcomed-serve(1), and welcomed.toml(5)
/// with every setting. To read one: `welcomed man | man -l -`.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write all pages here, as `welcomed.1` and so on; the directory is made if need be
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: ManArgs) -> Result<(), Failure> {
    let pages = pages().map_err(Failure::failed)?;
    let Some(dir) = args.dir else {
        return print(pages[0].text.as_bytes());
    };
    let failed = |path: &PathBuf, error: io::Error| {
        Failure::failed(format!("cannot write `{}`: {error}", path.display()))
    };
    fs::create_dir_all(&dir).map_err(|error| failed(&dir, error))?;
    for page in pages {
        let path = dir.join(page.file);
        fs::write(&path, page.text).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// A page, with the name of its file.
struct Page {
    file: String,
    text: String,
}

impl Page {
    fn new(file: String, source: Vec<u8>) -> Self {
        let source = String::from_utf8_lossy(&source);
        // A plain backquote is a curly quote to roff.
        Self { file, text: source.replace('`', r"\(ga") }
    }
}

/// All pages, welcomed(1) first.
fn pages() -> io::Result<Vec<Page>> {
    let mut root = Arguments::command().disable_help_subcommand(true);
    root.build();
    let mut pages = vec![page(&root)?];
    for subcommand in root.get_subcommands() {
        pages.push(page(subcommand)?);
    }
    pages.push(settings()?);
    Ok(pages)
}

/// All of a command's page but what its help says at its end: that is the list of settings, which
/// have a page of their own.
fn page(command: &Command) -> io::Result<Page> {
    let man = Man::new(command.clone()).source(VERSION).manual(MANUAL);
    let mut source = Vec::new();
    man.render_title(&mut source)?;
    man.render_name_section(&mut source)?;
    man.render_synopsis_section(&mut source)?;
    man.render_description_section(&mut source)?;
    man.render_options_section(&mut source)?;
    let is_root = command.has_subcommands();
    if is_root {
        man.render_subcommands_section(&mut source)?;
    }
    let mut rest = Roff::new();
    rest.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        entry(&mut rest, code, meaning);
    }
    rest.control("SH", ["SEE ALSO"]);
    let others = if is_root { vec![] } else { vec![bold("welcomed"), roman("(1), ")] };
    rest.text([others, vec![bold("welcomed.toml"), roman("(5)")]].concat());
    rest.to_writer(&mut source)?;
    Ok(Page::new(man.get_filename(), source))
}

/// welcomed.toml(5).
fn settings() -> io::Result<Page> {
    let mut page = Roff::new();
    page.control("TH", ["welcomed.toml", "5", "", VERSION, MANUAL]);
    page.control("SH", ["NAME"]);
    page.text([roman("welcomed.toml - settings of welcomed")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "A TOML file that `welcomed serve --config FILE` reads. An environment variable overrides \
         the file, and a flag overrides both; what nobody sets has its default. A wrong key or \
         value is an error with file, line and key, and exit code 2. `welcomed check --config \
         FILE` says what it all amounts to.",
    )]);
    page.control("PP", []);
    page.text([roman(
        "Durations are written as \"250ms\" or \"1m 30s\", sizes as 512 or \"64KiB\" (1KiB = \
         1024 bytes).",
    )]);
    let mut section = "";
    for key in KEYS {
        if key.section() != section {
            section = key.section();
            page.control("SH", [format!("[{section}]").as_str()]);
        }
        setting(&mut page, key);
    }
    page.control("SH", ["FILES"]);
    entry(&mut page, "/etc/welcomed/welcomed.toml", "What the packaged service reads.");
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("welcomed-serve"), roman("(1), "), bold("welcomed-check"), roman("(1)")]);
    let mut source = Vec::new();
    page.to_writer(&mut source)?;
    Ok(Page::new("welcomed.toml.5".to_owned(), source))
}

fn setting(page: &mut Roff, key: &Key) {
    let mut paragraphs = key.help.split("\n\n");
    entry(page, key.name(), &format!("{}.", paragraphs.next().unwrap_or_default()));
    let mut paragraphs: Vec<String> = paragraphs.map(str::to_owned).collect();
    paragraphs.push(format!("Allowed: {}.", key.allowed()));
    let flag = key.flag.map(|flag| format!(", flag --{flag}")).unwrap_or_default();
    let (default, variable) = (key.default_text(), key.variable());
    let default = if default.is_empty() { "none".to_owned() } else { default };
    paragraphs.push(format!("Default: {default}. Environment: {variable}{flag}."));
    for paragraph in paragraphs {
        page.control("IP", []);
        page.text([roman(paragraph)]);
    }
}

/// A word and what it means.
fn entry(page: &mut Roff, word: &str, meaning: &str) {
    page.control("TP", []);
    page.text([bold(word)]);
    page.text([roman(meaning)]);
}
