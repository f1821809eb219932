//! The program with a handler that fails as its clients tell it to, for the tests of faults and
//! for trying out what a bug in a handler costs: `cargo run --example faulty -- serve`.

use std::thread;
use std::time::Duration;
use welcomed::service::{Context, Flow, Reply, Service, ServiceError};

/// Does what the message says, and echoes what it does not know.
struct Faulty;

impl Service for Faulty {
    fn call(
        &self,
        ctx: &mut Context<'_>,
        message: &[u8],
        reply: &mut Reply<'_>,
    ) -> Result<Flow, ServiceError> {
        let message = std::str::from_utf8(message)?;
        let (order, number) = message.split_once(' ').unwrap_or((message, "0"));
        match order {
            "who" => reply.push(std::process::id().to_string().as_bytes()),
            "thread" => reply.push(thread::current().name().unwrap_or_default().as_bytes()),
            "panic" => panic!("as told"),
            "panic-with-a-number" => std::panic::panic_any(number.parse::<u64>()?),
            "fail" => return Err("as told".into()),
            "hang" => loop {
                thread::park();
            },
            "sleep-ms" => thread::sleep(Duration::from_millis(number.parse()?)),
            "recurse" => reply.push(depth(number.parse()?).to_string().as_bytes()),
            "reply-mb" => {
                let megabyte = vec![b'x'; 1 << 20];
                for _ in 0..number.parse()? {
                    reply.push(&megabyte);
                }
            }
            "panic-when-dropped" => {
                ctx.state::<Bomb>();
            }
            "panic-twice-when-dropped" => {
                ctx.state::<BombWithBomb>();
            }
            "break-the-turn" => return Err(Bomb.into()),
            "end-the-worker" => return Err(BombWithBomb.into()),
            _ => reply.push(message.as_bytes()),
        }
        Ok(Flow::Continue)
    }
}

/// Uses a kilobyte of stack a level, which no optimiser removes.
fn depth(levels: u32) -> u32 {
    let frame = std::hint::black_box([levels; 256]);
    if levels == 0 { 0 } else { 1 + depth(frame[255] - 1) }
}

/// A value whose end is a bug: as an error, it panics outside the call.
#[derive(Debug, Default, thiserror::Error)]
#[error("as told")]
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("as told, when dropped");
    }
}

/// A value whose end is a panic whose own end is a bug: that is as deep as a bug can sit.
#[derive(Debug, Default, thiserror::Error)]
#[error("as told")]
struct BombWithBomb;

impl Drop for BombWithBomb {
    fn drop(&mut self) {
        std::panic::panic_any(Bomb);
    }
}

fn main() -> std::process::ExitCode {
    welcomed::cli::serve_with(Faulty)
}
