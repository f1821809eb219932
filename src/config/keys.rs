//! The table of keys: the one place that names a setting.
//!
//! The file, the environment, the flags, `check`'s output and the help all follow it. An entry
//! says what a value may be ([`kind`](super::kind)) and which field of [`Settings`] it fills.

use super::Settings;
use super::kind::{
    AddressOrOff, Addresses, AutoOr, Choice, Count, Field, Networks, Size, Slot, Time,
};
use super::names::{LEVELS, LEVELS_AND_OFF, LogFormat, ServiceKind};
use super::value::{Raw, Shown};
use crate::protocol::Framing;
use crate::server::MAX_WORKERS;
use std::fmt;
use std::time::Duration;

/// One setting.
pub struct Key {
    /// Section and name as in `pool.workers`.
    pub path: &'static str,
    /// The flag's name without dashes, for the settings that have one.
    pub flag: Option<&'static str>,
    /// What it does, with its unit: a short first line, and details behind an empty one.
    pub help: &'static str,
    slot: &'static dyn Slot,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.path)
    }
}

/// All settings, section by section in the order in which they are shown.
pub static KEYS: &[Key] = &[
    Key {
        path: "server.listen",
        flag: Some("listen"),
        help: "Addresses on which clients are served\n\n\
               Several are separated by commas; IPv6 addresses stand in brackets. Port 0 lets the \
               kernel choose a free port.",
        slot: &Field { kind: Addresses, get: |s| s.listen.clone(), set: |s, v| s.listen = v },
    },
    Key {
        path: "server.backlog",
        flag: None,
        help: "Connections that the kernel keeps waiting to be accepted, per address\n\n\
               The kernel caps it at net.core.somaxconn.",
        slot: &Field {
            kind: Count { min: 1, max: 65_535 },
            get: |s| s.engine.backlog,
            set: |s, v| s.engine.backlog = v,
        },
    },
    Key {
        path: "limits.max_connections",
        flag: Some("max-connections"),
        help: "Clients served at a time; more are told `Busy, try again later.`\n\n\
               It must fit the limit of open files: the default is lowered to what fits, with a \
               warning; a chosen number that does not fit is an error.",
        slot: &Field {
            kind: Count { min: 1, max: 1_000_000 },
            get: |s| s.engine.max_connections,
            set: |s, v| s.engine.max_connections = v,
        },
    },
    Key {
        path: "pool.workers",
        flag: Some("workers"),
        help: "Threads that run the service\n\n\
               `auto` is twice the number of cores, at least 4. A service that blocks needs more: \
               a worker serves one message at a time.",
        slot: &Field {
            kind: AutoOr(Count { min: 1, max: MAX_WORKERS }),
            get: |s| s.workers.map(Into::into),
            set: |s, v| s.workers = v.and_then(|workers| workers.try_into().ok()),
        },
    },
    Key {
        path: "service.kind",
        flag: Some("service"),
        help: "What is done with a message\n\n\
               `hello` greets and says hello to each name, `echo` sends messages back, `discard` \
               throws them away.",
        slot: &Field {
            kind: Choice(&ServiceKind::NAMED),
            get: |s| s.service,
            set: |s, v| s.service = v,
        },
    },
    Key {
        path: "service.framing",
        flag: Some("framing"),
        help: "Where a message ends\n\n\
               `line`: at a newline. `raw`: where one read of the socket ends. `auto`: as `raw` \
               until a connection has sent its first newline, then as `line`; its first line can \
               come apart on the way, so production says `line`.",
        slot: &Field {
            kind: Choice(&Framing::NAMED),
            get: |s| s.engine.framing,
            set: |s, v| s.engine.framing = v,
        },
    },
    Key {
        path: "service.work_delay",
        flag: Some("work-delay"),
        help: "Time for which each message blocks its worker, before the service sees it\n\n\
               For trying out pool sizes; the tutorial's server has `1s`.",
        slot: &Field {
            kind: Time { min: Duration::ZERO, max: Duration::from_secs(3600) },
            get: |s| s.work_delay,
            set: |s, v| s.work_delay = v,
        },
    },
    Key {
        path: "service.max_message",
        flag: None,
        help: "Longest message, without its framing\n\n\
               A client that sends a longer one is told so and cut off.",
        slot: &Field {
            kind: Size { min: 1, max: 1 << 30 },
            get: |s| s.engine.max_message,
            set: |s, v| s.engine.max_message = v,
        },
    },
    Key {
        path: "metrics.listen",
        flag: Some("metrics-listen"),
        help: "Address of the side endpoint, which serves the metrics over HTTP\n\n\
               Port 0 lets the kernel choose a free port; `off` opens none.",
        slot: &Field {
            kind: AddressOrOff,
            get: |s| s.metrics_listen.clone(),
            set: |s, v| s.metrics_listen = v,
        },
    },
    Key {
        path: "metrics.allow",
        flag: None,
        help: "Networks whose clients the side endpoint answers; others get 403\n\n\
               Empty, it answers everyone who reaches its address.",
        slot: &Field {
            kind: Networks,
            get: |s| s.metrics_allow.clone(),
            set: |s, v| s.metrics_allow = v,
        },
    },
    Key {
        path: "log.level",
        flag: Some("log-level"),
        help: "Least severe level that is logged, to standard error\n\n\
               One place in the code writes at most ten warnings or errors a second, then one line \
               with the number of the others. A reader too slow for the log loses lines, which \
               the metrics count; the service does not wait for it.",
        slot: &Field {
            kind: Choice(&LEVELS_AND_OFF),
            get: |s| s.log_level,
            set: |s, v| s.log_level = v,
        },
    },
    Key {
        path: "log.format",
        flag: None,
        help: "How a line of the log looks\n\n\
               `text` is for people, `json` and `logfmt` are for programs, `plain` is the sentence \
               alone.",
        slot: &Field {
            kind: Choice(&LogFormat::NAMED),
            get: |s| s.log_format,
            set: |s, v| s.log_format = v,
        },
    },
    Key {
        path: "log.connections",
        flag: None,
        help: "Level at which a connection's opening and closing is logged",
        slot: &Field {
            kind: Choice(&LEVELS),
            get: |s| s.engine.connection_log,
            set: |s, v| s.engine.connection_log = v,
        },
    },
];

impl Key {
    /// The section, as in `[pool]`.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or("", |(section, _)| section)
    }

    /// The name within the section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// The environment variable, as in `WELCOMED_POOL_WORKERS`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "_").to_uppercase())
    }

    /// What a value may be, in words.
    #[must_use]
    pub fn allowed(&self) -> String {
        self.slot.allowed()
    }

    /// What stands for a value in the help, as in `--workers <N>`.
    #[must_use]
    pub fn placeholder(&self) -> &'static str {
        self.slot.placeholder()
    }

    /// Whether it takes several values.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.slot.is_list()
    }

    /// The value that it has when nobody chose one, written as for a flag.
    #[must_use]
    pub fn default_text(&self) -> String {
        self.value(&Settings::default()).to_string()
    }

    pub(super) fn value(&self, settings: &Settings) -> Shown {
        self.slot.show(settings)
    }

    /// Sets the value, or says which text is not valid.
    pub(super) fn set(&self, settings: &mut Settings, raw: &Raw<'_>) -> Result<(), String> {
        self.slot.set(settings, raw)
    }
}

/// What our environment variables start with.
pub(super) const PREFIX: &str = "WELCOMED_";

/// The key of this section and name.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The sections, in the table's order.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().map(Key::section).collect();
    sections.dedup();
    sections
}
