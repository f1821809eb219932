//! Why connections end and messages fail: one table each, from reason to label and sentence.
//!
//! The labels are those of `connections_closed_total{reason}`,
//! `connections_rejected_total{reason}`, `accept_errors_total{code}`,
//! `accept_pauses_total{cause}` and `message_errors_total{reason}`; these tables are their
//! documentation.

/// Makes an enum whose variants have a label and a sentence, and know their number.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $label:literal $sentence:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum $name { $(#[doc = $sentence] $variant,)* }

        impl $name {
            /// Every label, in the order of the variants' numbers.
            pub(super) const LABELS: &[&str] = &[$($label,)*];

            /// The value of the label.
            pub(super) fn label(self) -> &'static str {
                Self::LABELS[self as usize]
            }
        }
    };
}

reasons! {
    /// Why an admitted connection was closed.
    Reason {
        Client "client" "The client ended its stream, and had every reply it was owed.",
        Exit "exit" "The service closed: `exit`, for the hello service.",
        Idle "idle" "No message for as long as `idle_timeout`.",
        ReadTimeout "read_timeout" "A message was not whole within `message_timeout`.",
        WriteTimeout "write_timeout" "The client took no output for `write_timeout`.",
        TooLarge "message_too_large" "A message was longer than `max_message`.",
        Handler "handler" "The handler failed, panicked, or its reply was too long.",
        MaxAge "max_age" "It was as old as `max_age` allows, and had every reply it was owed.",
        Shed "shed" "It had waited for a worker longer than `max_queue_wait`, as others had.",
        Drain "drain" "The server stopped; what had arrived before was answered.",
        IoError "io_error" "The connection broke: a reset, or another error of the socket.",
    }
}

reasons! {
    /// Why a connection was refused.
    Rejection {
        MaxConnections "max_connections" "As many were open as `max_connections` allows.",
        PerIp "per_ip" "Its address had as many open as `max_connections_per_ip` allows.",
        Denied "denied" "Its address is in `deny`, or not in `allow`.",
    }
}

reasons! {
    /// Why an accept failed.
    AcceptError {
        Emfile "emfile" "The process has no descriptors left.",
        Enfile "enfile" "The system has none left.",
        Enobufs "enobufs" "The kernel has no buffers left.",
        Enomem "enomem" "The kernel has no memory left.",
        Econnaborted "econnaborted" "The client was gone before it was accepted.",
        Other "other" "Anything else.",
    }
}

reasons! {
    /// Why accepting paused.
    PauseCause {
        Fd "fd" "There were no descriptors left.",
        Limit "limit" "As many were open as `max_connections` allows, and the others wait.",
        Pressure "pressure" "The kernel had no memory, or an error that is not one client's.",
    }
}

reasons! {
    /// Why a message failed.
    MessageError {
        Panic "panic" "The handler panicked.",
        Handler "handler" "The handler returned an error.",
        TooLarge "too_large" "It was longer than `max_message`.",
        ReplyTooLarge "reply_too_large" "The reply was longer than `max_pending_output`.",
        Incomplete "incomplete" "The stream ended in the middle of it (`line` framing).",
        Write "write" "Its connection broke while replies were unsent.",
    }
}
