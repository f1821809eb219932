//! Readiness: the shared edge-triggered epoll that idle workers wait in, and the accept loop's
//! own level-triggered one. The only place of the server that knows epoll and eventfd.

use super::schedule::{BATCH, Events, Signal, Token};
use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::{Errno, retry_on_intr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const WAKE: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

/// The workers' epoll. Every connection is registered once in its life.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    wake: OwnedFd,
    stop: OwnedFd,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = new_eventfd()?;
        let stop = new_eventfd()?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), edge)?;
        // Level-triggered: what stops or shrinks the pool concerns every waiting worker.
        epoll::add(&epoll, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        Ok(Self { epoll, wake, stop })
    }

    /// Starts watching a connection's socket.
    pub(super) fn register(&self, socket: &impl AsFd, token: Token) -> io::Result<()> {
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::PRI
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(pack(token)), flags)?)
    }

    /// Stops watching it. A socket that was never registered is no error.
    pub(super) fn deregister(&self, socket: &impl AsFd) {
        if let Err(error) = epoll::delete(&self.epoll, socket)
            && error != Errno::NOENT
        {
            log::error!("epoll_ctl could not remove a socket: {error}");
        }
    }

    /// Fills `signals` with at most a [`BATCH`]; blocks until there is one if `block` is set.
    pub(super) fn poll(&self, block: bool, signals: &mut Vec<Signal>) {
        signals.clear();
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; BATCH];
        let timeout = if block { None } else { Some(&Timespec { tv_sec: 0, tv_nsec: 0 }) };
        match epoll::wait(&self.epoll, &mut events, timeout) {
            Ok((ready, _)) => signals.extend(ready.iter().map(signal)),
            Err(Errno::INTR) => {}
            // Nothing that a running program can bring about: a bug, and not to be spun on.
            Err(error) => panic!("epoll_wait on the workers' poller: {error}"),
        }
    }

    /// Makes one waiting worker return.
    pub(super) fn wake(&self) {
        signal_eventfd(&self.wake);
    }

    /// Makes every worker return, now and until [`all_clear`](Self::all_clear).
    pub(super) fn stop(&self) {
        signal_eventfd(&self.stop);
    }

    /// Takes `stop` back.
    pub(super) fn all_clear(&self) {
        clear_eventfd(&self.stop);
    }
}

fn signal(event: &epoll::Event) -> Signal {
    match event.data.u64() {
        WAKE => Signal::Wake,
        STOP => Signal::Stop,
        packed => Signal::Ready(unpack(packed), events(event.flags)),
    }
}

fn events(flags: epoll::EventFlags) -> Events {
    let named = [
        (epoll::EventFlags::IN, Events::READ),
        (epoll::EventFlags::OUT, Events::WRITE),
        (epoll::EventFlags::RDHUP, Events::END),
        (epoll::EventFlags::PRI, Events::URGENT),
        (epoll::EventFlags::HUP | epoll::EventFlags::ERR, Events::GONE),
    ];
    let present = named.into_iter().filter(|(flag, _)| flags.intersects(*flag));
    present.fold(Events::NONE, |all, (_, event)| all.and(event))
}

fn pack(token: Token) -> u64 {
    (u64::from(token.generation) << 32) | u64::from(token.slot)
}

fn unpack(packed: u64) -> Token {
    Token { slot: packed as u32, generation: (packed >> 32) as u32 }
}

/// A level-triggered epoll for one thread, with an eventfd that ends its wait: the accept
/// loop's. Keys are the caller's, but for `u64::MAX`.
pub(super) struct LoopPoller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl LoopPoller {
    pub(super) fn new(alarm: &Alarm) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&epoll, &alarm.0, epoll::EventData::new_u64(WAKE), edge)?;
        Ok(Self { epoll, events: Vec::with_capacity(64) })
    }

    /// Watches `socket` for input and for its end.
    pub(super) fn register(&self, socket: &impl AsFd, key: u64) -> io::Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        Ok(epoll::add(&self.epoll, socket, epoll::EventData::new_u64(key), flags)?)
    }

    /// Stops watching it.
    pub(super) fn deregister(&self, socket: &impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, socket)?)
    }

    /// Waits at most `timeout` and returns the keys of what is ready; the alarm has none.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, keys: &mut Vec<u64>) {
        keys.clear();
        self.events.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let buffer = spare_capacity(&mut self.events);
        match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("epoll_wait of the accept loop: {error}"),
        }
        keys.extend(self.events.iter().map(|event| event.data.u64()).filter(|key| *key != WAKE));
    }
}

/// Ends the accept loop's wait from another thread.
#[derive(Debug)]
pub(super) struct Alarm(OwnedFd);

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(new_eventfd()?))
    }

    pub(super) fn ring(&self) {
        signal_eventfd(&self.0);
    }
}

fn new_eventfd() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

fn signal_eventfd(fd: &OwnedFd) {
    // It fails only when the count is at its end (2^64 - 2), and then it is signalled anyway.
    match retry_on_intr(|| rustix::io::write(fd, &1_u64.to_ne_bytes())) {
        Ok(_) | Err(Errno::AGAIN) => {}
        Err(error) => panic!("write to an eventfd: {error}"),
    }
}

fn clear_eventfd(fd: &OwnedFd) {
    match retry_on_intr(|| rustix::io::read(fd, &mut [0_u8; 8])) {
        Ok(_) | Err(Errno::AGAIN) => {}
        Err(error) => panic!("read from an eventfd: {error}"),
    }
}
