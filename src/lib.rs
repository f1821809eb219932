//! A TCP server with a fixed pool of worker threads, for handlers that block.
//!
//! A handler may sleep, compute or ask a database: it holds one worker for that long, and nothing
//! else. Any number of clients may be connected; an idle one costs no worker and a few hundred
//! bytes. The pool's size is the one number to choose, and the metrics say whether it is right.
//!
//! ```no_run
//! use welcomed::server::Server;
//! use welcomed::service::{Context, Flow, Reply, Service, ServiceError};
//!
//! struct Uppercase;
//!
//! impl Service for Uppercase {
//!     fn call(
//!         &self,
//!         _: &mut Context<'_>,
//!         message: &[u8],
//!         reply: &mut Reply<'_>,
//!     ) -> Result<Flow, ServiceError> {
//!         reply.push(&message.to_ascii_uppercase()); // may block
//!         Ok(Flow::Continue)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! Server::builder().workers(8).listen("127.0.0.1:9999")?.build(Uppercase)?.run()?;
//! # Ok(())
//! # }
//! ```
//!
//! # The threads
//!
//! - **The accept loop** runs on the thread that called [`run`](server::Server::run). It accepts
//!   clients and puts them into the run queue, closes connections whose time is over, and ends
//!   the server.
//! - **The workers**, `work-01` to `work-NN`, take connections from the run queue, serve each for
//!   a turn, and wait in one shared epoll when the queue is empty.
//! - **The side endpoint** ([`endpoint::SideEndpoint`]) has an accept loop and two workers of its
//!   own, so that it answers while the service's workers are all busy.
//!
//! # What always holds
//!
//! 1. A connection has one owner at a time: the run queue, a worker, the accept loop while it
//!    closes it, or, parked, nobody: it stands in its slot of the table.
//! 2. Everything is bounded, by a number in [`Options`](server::Options) or a constant beside it.
//! 3. The way back to the queue never blocks.
//! 4. A connection with a whole message in its buffer is never parked, unless unsent output holds
//!    it back.
//! 5. One function closes a connection, with a reason from one table.
//! 6. A handler's panic costs one connection.
//! 7. The library reads no file but the kernel's own (`/proc`), no environment and no argument,
//!    prints nothing, installs no signal handler and never exits; [`cli`], the program around it,
//!    does.
//! 8. Service and endpoint fail apart.

pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
mod dial;
pub mod endpoint;
pub mod fetch;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod metrics;
pub mod protocol;
pub mod server;
pub mod service;
pub mod sizing;
