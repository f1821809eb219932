//! The hand-shakes of deadlines, between the workers, who set them, and the accept loop, which
//! closes who is overdue.
//!
//! A slot has the moment at which its connection is overdue, and the one at which the accept loop
//! is going to look at that: it is *armed*. Both sides write one of the two and then look at the
//! other's, so at least one sees that the armed moment is too late. The same holds for the accept
//! loop's sleep and the mail that is to end it. Knows no table, no thread and no alarm, so that
//! `tests/model` can run every interleaving of it.

use super::clock::{Moment, NEVER};
use super::sync::{AtomicU64, Ordering, fence};

/// One slot's deadline. All of it is sequentially consistent: the argument above needs an order of
/// all writes and looks.
#[derive(Debug)]
pub(super) struct Due {
    deadline: AtomicU64,
    armed: AtomicU64,
}

impl Due {
    /// Never.
    pub(super) fn new() -> Self {
        Self { deadline: AtomicU64::new(NEVER), armed: AtomicU64::new(NEVER) }
    }

    /// When the connection is overdue, if it is parked.
    pub(super) fn deadline(&self) -> Moment {
        self.deadline.load(Ordering::SeqCst)
    }

    /// Sets the deadline: by the connection's owner, before it parks it.
    pub(super) fn set(&self, deadline: Moment) {
        self.deadline.store(deadline, Ordering::SeqCst);
    }

    /// The connection is parked with this deadline. Says whether the accept loop would look too
    /// late, and has to be told.
    pub(super) fn is_news(&self, deadline: Moment) -> bool {
        let is_news = deadline < self.armed.load(Ordering::SeqCst);
        if is_news {
            self.armed.store(deadline, Ordering::SeqCst);
        }
        is_news
    }

    /// The accept loop is told of the slot; says when to look at it. The mail may be about an
    /// earlier tenant: what is armed for this one stays armed.
    pub(super) fn told(&self) -> Moment {
        self.deadline().min(self.armed.load(Ordering::SeqCst))
    }

    /// The accept loop is going to look at the deadline at `moment`, or earlier if it has just
    /// come nearer; returns when. A deadline that is over belongs to a connection that is served:
    /// its worker will set a new one. Or it was parked with that just now: then `moment` will do.
    pub(super) fn arm(&self, moment: Moment, now: Moment) -> Moment {
        self.armed.store(moment, Ordering::SeqCst);
        let deadline = self.deadline();
        if deadline <= now || deadline >= moment {
            return moment;
        }
        self.armed.store(deadline, Ordering::SeqCst);
        deadline
    }
}

/// Until when the accept loop sleeps, so that it is woken only for what would come too late.
#[derive(Debug)]
pub(super) struct Nap {
    /// 0 while it is awake.
    until: AtomicU64,
}

impl Nap {
    pub(super) fn new() -> Self {
        Self { until: AtomicU64::new(0) }
    }

    /// The accept loop is going to sleep. Says whether it must not, for there is mail by now.
    pub(super) fn begin(&self, until: Option<Moment>, has_mail: impl FnOnce() -> bool) -> bool {
        self.until.store(until.unwrap_or(NEVER), Ordering::SeqCst);
        fence(Ordering::SeqCst);
        has_mail()
    }

    /// The accept loop is awake, and going to read its mail.
    pub(super) fn end(&self) {
        self.until.store(0, Ordering::SeqCst);
    }

    /// Something for `moment` was put into the mail. Says whether the accept loop would sleep too
    /// long, and has to be woken.
    pub(super) fn outlasts(&self, moment: Moment) -> bool {
        fence(Ordering::SeqCst);
        moment < self.until.load(Ordering::SeqCst)
    }
}
