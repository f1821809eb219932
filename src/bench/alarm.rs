//! A clock that wakes an epoll when a message is due: epoll's own timeout knows only milliseconds.

use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Result;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What an event of the alarm carries: no connection has this index.
pub(super) const ALARM: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Alarm {
    timer: OwnedFd,
    at: Option<Instant>,
}

impl Alarm {
    /// An alarm that wakes this epoll. Its events are edges, so that nobody has to read it.
    pub(super) fn new(epoll: &OwnedFd) -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let interest = EventFlags::IN | EventFlags::ET;
        epoll::add(epoll, &timer, EventData::new_u64(ALARM), interest)?;
        Ok(Self { timer, at: None })
    }

    /// Wakes the epoll at this time, in place of the one that was set before.
    pub(super) fn set(&mut self, at: Instant, now: Instant) -> Result<()> {
        if self.at.replace(at) == Some(at) {
            return Ok(());
        }
        // Zero would switch it off.
        let wait = at.saturating_duration_since(now).max(Duration::from_nanos(1));
        let it_value =
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &setting).map(drop)
    }
}
