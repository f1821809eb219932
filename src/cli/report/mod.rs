//! What the reports of several subcommands are made of: charts, a page, a picture in the
//! terminal, and the files they go to.
//!
//! Called by `bench` and `tune`. Knows numbers and texts, no load.

pub(super) mod canvas;
pub(super) mod chart;
pub(super) mod outputs;
pub(super) mod page;
