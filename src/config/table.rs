//! The table of keys: the one place that names a setting.
//!
//! The file, the environment, the flags, `check`'s output and the help all follow it. An entry
//! says what a value may be ([`kind`](super::kind)) and which field of `Settings` it fills.

use super::keys::Key;
use super::kind::{
    AddressOrOff, Addresses, AutoOr, Choice, Count, Field, Mode, Networks, OffOr, Size, Time,
};
use super::names::{LEVELS, LEVELS_AND_OFF, LogFormat, ServiceKind, StuckAction};
use crate::protocol::Framing;
use crate::server::{MAX_CONNECTIONS, MAX_MESSAGE, MAX_WORKERS, Overload};
use std::time::Duration;

/// No wait of the server's is longer.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// As `1y` is read.
const YEAR: Duration = Duration::from_secs(31_557_600);

/// All settings, section by section in the order in which they are shown.
pub static KEYS: &[Key] = &[
    Key {
        path: "server.listen",
        flag: Some("listen"),
        help: "Addresses on which clients are served\n\n\
               Several are a list in the file, and separated by commas elsewhere; IPv6 addresses \
               stand in brackets. Port 0 lets the \
               kernel choose a free port.",
        live: false,
        slot: &Field { kind: Addresses, get: |s| s.listen.clone(), set: |s, v| s.listen = v },
    },
    Key {
        path: "server.backlog",
        flag: None,
        help: "Connections that the kernel keeps waiting to be accepted, per address\n\n\
               The kernel caps it at net.core.somaxconn.",
        live: false,
        slot: &Field {
            kind: Count { min: 1, max: 65_535 },
            get: |s| s.engine.backlog,
            set: |s, v| s.engine.backlog = v,
        },
    },
    Key {
        path: "server.socket_mode",
        flag: None,
        help: "Rights of the files of Unix sockets, the endpoint's too\n\n\
               In octal digits; `auto` is what the umask leaves.",
        live: false,
        slot: &Field { kind: AutoOr(Mode), get: |s| s.socket_mode, set: |s, v| s.socket_mode = v },
    },
    Key {
        path: "limits.max_connections",
        flag: Some("max-connections"),
        help: "Clients served at a time; what becomes of more, overload.policy says\n\n\
               It must fit the limit of open files: the default is lowered to what fits, with a \
               warning; a chosen number that does not fit is an error. A reload may lower it, and \
               raise it again up to what it was at the start.",
        live: true,
        slot: &Field {
            kind: Count { min: 1, max: MAX_CONNECTIONS },
            get: |s| s.engine.max_connections,
            set: |s, v| s.engine.max_connections = v,
        },
    },
    Key {
        path: "limits.max_connections_per_ip",
        flag: None,
        help: "Clients served at a time from one address; more are refused\n\n\
               They are told `Busy, try again later.` An IPv6 address counts with its network of \
               64 bits. After a reload that sets it, connections from before are not counted.",
        live: true,
        slot: &Field {
            kind: OffOr(Count { min: 1, max: MAX_CONNECTIONS }),
            get: |s| s.engine.max_connections_per_ip,
            set: |s, v| s.engine.max_connections_per_ip = v,
        },
    },
    Key {
        path: "limits.allow",
        flag: None,
        help: "Networks whose clients are let in; others are closed without a word\n\n\
               Empty, everyone is.",
        live: true,
        slot: &Field {
            kind: Networks { none: "everyone" },
            get: |s| s.engine.allow.clone(),
            set: |s, v| s.engine.allow = v,
        },
    },
    Key {
        path: "limits.deny",
        flag: None,
        help: "Networks whose clients are closed without a word, also if limits.allow has them",
        live: true,
        slot: &Field {
            kind: Networks { none: "nobody" },
            get: |s| s.engine.deny.clone(),
            set: |s, v| s.engine.deny = v,
        },
    },
    Key {
        path: "limits.max_pending_output",
        flag: None,
        help: "Longest reply\n\n\
               A connection holds at most this and 64 KiB of output that its client does not take; \
               while it holds any, nothing more is read from it.",
        live: true,
        slot: &Field {
            kind: Size { min: 1024, max: 1 << 30 },
            get: |s| s.engine.max_pending_output,
            set: |s, v| s.engine.max_pending_output = v,
        },
    },
    Key {
        path: "timeouts.idle",
        flag: None,
        help: "Time without a message after which a connection is closed",
        live: true,
        slot: &Field {
            kind: Time { min: Duration::from_millis(1), max: DAY },
            get: |s| s.engine.idle_timeout,
            set: |s, v| s.engine.idle_timeout = v,
        },
    },
    Key {
        path: "timeouts.message",
        flag: None,
        help: "Time from a message's first byte to its last\n\n\
               Absolute: sending a byte now and then does not extend it.",
        live: true,
        slot: &Field {
            kind: Time { min: Duration::from_millis(1), max: DAY },
            get: |s| s.engine.message_timeout,
            set: |s, v| s.engine.message_timeout = v,
        },
    },
    Key {
        path: "timeouts.write",
        flag: None,
        help: "Time without progress after which a connection with unsent output is cut",
        live: true,
        slot: &Field {
            kind: Time { min: Duration::from_millis(1), max: DAY },
            get: |s| s.engine.write_timeout,
            set: |s, v| s.engine.write_timeout = v,
        },
    },
    Key {
        path: "timeouts.linger",
        flag: None,
        help: "Time for which a closed connection is still read\n\n\
               What comes is thrown away; without it the client would get a reset and lose its \
               last replies. At most 500ms \
               during a drain.",
        live: true,
        slot: &Field {
            kind: Time { min: Duration::ZERO, max: Duration::from_secs(60) },
            get: |s| s.engine.linger_timeout,
            set: |s, v| s.engine.linger_timeout = v,
        },
    },
    Key {
        path: "timeouts.max_age",
        flag: None,
        help: "Age at which a connection is closed, once it has its replies\n\n\
               Within 10 % of it, by chance, so that clients behind a balancer spread anew and do \
               not come back together.",
        live: true,
        slot: &Field {
            kind: OffOr(Time { min: Duration::from_secs(1), max: YEAR }),
            get: |s| s.engine.max_age,
            set: |s, v| s.engine.max_age = v,
        },
    },
    Key {
        path: "timeouts.tcp_keepalive",
        flag: None,
        help: "Silence after which the kernel probes whether a client is still there",
        live: true,
        slot: &Field {
            kind: OffOr(Time { min: Duration::from_secs(1), max: Duration::from_secs(9 * 3600) }),
            get: |s| s.engine.tcp_keepalive,
            set: |s, v| s.engine.tcp_keepalive = v,
        },
    },
    Key {
        path: "timeouts.tcp_user",
        flag: None,
        help: "Time without acknowledgement after which the kernel gives up a connection\n\n\
               TCP_USER_TIMEOUT; `off` leaves it to the kernel, which tries for about 15 minutes.",
        live: true,
        slot: &Field {
            kind: OffOr(Time { min: Duration::from_secs(1), max: DAY }),
            get: |s| s.engine.tcp_user_timeout,
            set: |s, v| s.engine.tcp_user_timeout = v,
        },
    },
    Key {
        path: "overload.policy",
        flag: None,
        help: "What becomes of clients beyond limits.max_connections\n\n\
               `reject`: they are told `Busy, try again later.` and closed. `wait`: they stay in \
               the kernel's queue until there is a place.",
        live: true,
        slot: &Field {
            kind: Choice(Overload::NAMED),
            get: |s| s.engine.overload,
            set: |s, v| s.engine.overload = v,
        },
    },
    Key {
        path: "overload.max_queue_wait",
        flag: None,
        help: "Longest wait for a worker while the pool is overloaded\n\n\
               While nobody waits less than half of it, for 100ms or four mean calls, those who \
               have waited longer are told `Busy, try again later.` and closed (CoDel).",
        live: true,
        slot: &Field {
            kind: OffOr(Time { min: Duration::from_millis(1), max: Duration::from_secs(3600) }),
            get: |s| s.engine.max_queue_wait,
            set: |s, v| s.engine.max_queue_wait = v,
        },
    },
    Key {
        path: "drain.delay",
        flag: None,
        help: "Time for which a server that is told to stop still accepts clients\n\n\
               `/readyz` says 503 meanwhile, so that a balancer can notice.",
        live: true,
        slot: &Field {
            kind: Time { min: Duration::ZERO, max: Duration::from_secs(3600) },
            get: |s| s.engine.drain_delay,
            set: |s, v| s.engine.drain_delay = v,
        },
    },
    Key {
        path: "drain.timeout",
        flag: None,
        help: "Time for owed replies before the drain cuts what is left",
        live: true,
        slot: &Field {
            kind: Time { min: Duration::ZERO, max: Duration::from_secs(3600) },
            get: |s| s.engine.drain_timeout,
            set: |s, v| s.engine.drain_timeout = v,
        },
    },
    Key {
        path: "pool.workers",
        flag: Some("workers"),
        help: "Threads that run the service\n\n\
               `auto` is twice the number of cores, at least 4. A service that blocks needs more: \
               a worker serves one message at a time.",
        live: true,
        slot: &Field {
            kind: AutoOr(Count { min: 1, max: MAX_WORKERS }),
            get: |s| s.workers.map(Into::into),
            set: |s, v| s.workers = v.and_then(|workers| workers.try_into().ok()),
        },
    },
    Key {
        path: "pool.stuck_after",
        flag: None,
        help: "Time in one call after which a worker is reported as stuck\n\n\
               While all are, `/readyz` says 503.",
        live: true,
        slot: &Field {
            kind: Time { min: Duration::from_millis(1), max: DAY },
            get: |s| s.engine.stuck_after,
            set: |s, v| s.engine.stuck_after = v,
        },
    },
    Key {
        path: "pool.stuck_action",
        flag: None,
        help: "What is done when every worker is stuck\n\n\
               `report`: it is logged, and `/readyz` says 503. `abort`: the process ends at once, \
               with a core, for a supervisor to start it anew.",
        live: true,
        slot: &Field {
            kind: Choice(&StuckAction::NAMED),
            get: |s| s.stuck_action,
            set: |s, v| s.stuck_action = v,
        },
    },
    Key {
        path: "service.kind",
        flag: Some("service"),
        help: "What is done with a message\n\n\
               `hello` greets and says hello to each name, `echo` sends messages back, `discard` \
               throws them away.",
        live: false,
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
        live: false,
        slot: &Field {
            kind: Choice(Framing::NAMED),
            get: |s| s.engine.framing,
            set: |s, v| s.engine.framing = v,
        },
    },
    Key {
        path: "service.work_delay",
        flag: Some("work-delay"),
        help: "Time for which each message blocks its worker, before the service sees it\n\n\
               For trying out pool sizes; the tutorial's server has `1s`.",
        live: true,
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
        live: true,
        slot: &Field {
            kind: Size { min: 1, max: MAX_MESSAGE },
            get: |s| s.engine.max_message,
            set: |s, v| s.engine.max_message = v,
        },
    },
    Key {
        path: "metrics.listen",
        flag: Some("metrics-listen"),
        help: "Address of the side endpoint, which serves the metrics over HTTP\n\n\
               Port 0 lets the kernel choose a free port; `off` opens none.",
        live: false,
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
        live: true,
        slot: &Field {
            kind: Networks { none: "everyone" },
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
        live: true,
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
        live: true,
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
        live: true,
        slot: &Field {
            kind: Choice(&LEVELS),
            get: |s| s.engine.connection_log,
            set: |s, v| s.engine.connection_log = v,
        },
    },
];

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
