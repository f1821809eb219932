//! Choices of the configuration that belong to no part of the server: the services, the log's
//! formats and what to do when all is stuck, with the names that a user writes.

/// Which service answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServiceKind {
    /// [`Hello`](crate::service::Hello), the tutorial's.
    Hello,
    /// [`Echo`](crate::service::Echo).
    Echo,
    /// [`Discard`](crate::service::Discard).
    Discard,
}

impl ServiceKind {
    pub(super) const NAMED: [(&'static str, Self); 3] =
        [("hello", Self::Hello), ("echo", Self::Echo), ("discard", Self::Discard)];
}

/// What is done when every worker is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StuckAction {
    /// It is said, in the log and at `/readyz`.
    Report,
    /// The process ends, for a supervisor to start it anew.
    Abort,
}

impl StuckAction {
    pub(super) const NAMED: [(&'static str, Self); 2] =
        [("report", Self::Report), ("abort", Self::Abort)];
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people: time, level, sentence, `key=value`.
    Text,
    /// One JSON object a line.
    Json,
    /// `key=value` throughout.
    Logfmt,
    /// The sentence alone, as the tutorial prints it.
    Plain,
}

impl LogFormat {
    pub(super) const NAMED: [(&'static str, Self); 4] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("logfmt", Self::Logfmt),
        ("plain", Self::Plain),
    ];
}

pub(super) const LEVELS: [(&str, log::Level); 5] = [
    ("error", log::Level::Error),
    ("warn", log::Level::Warn),
    ("info", log::Level::Info),
    ("debug", log::Level::Debug),
    ("trace", log::Level::Trace),
];

pub(super) const LEVELS_AND_OFF: [(&str, log::LevelFilter); 6] = [
    ("off", log::LevelFilter::Off),
    ("error", log::LevelFilter::Error),
    ("warn", log::LevelFilter::Warn),
    ("info", log::LevelFilter::Info),
    ("debug", log::LevelFilter::Debug),
    ("trace", log::LevelFilter::Trace),
];
