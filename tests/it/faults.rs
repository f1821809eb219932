//! Faults: what clients, the kernel, handlers and signals do to the real program, and that it is
//! as before afterwards. `docs/reliability.md` is the table of them.
//!
//! Each test causes one fault on a [`Patient`](base::Patient), asserts what must be seen of it,
//! and ends with [`Base::is_restored`](base::Base::is_restored). Full sizes that take minutes are
//! ignored: `cargo test --release --test it faults -- --ignored --nocapture --test-threads 1`.

mod accepting;
pub mod base;
mod clients;
mod handlers;
mod interrupts;
mod long;
mod overload;
mod races;
pub mod relay;
mod side;
mod signals;
mod start;
mod strace;
mod wire;
