//! `welcomed completions`: what a shell needs to complete our command line. The only place that
//! knows `clap_complete`.

use super::terminal::print;
use super::{Arguments, Failure};
use clap::CommandFactory;
use clap_complete::Shell;

/// Prints a completion script for a shell
///
/// To try it in a running bash: `source <(welcomed completions bash)`. The package puts the scripts
/// for bash, zsh and fish where these shells look for them.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: CompletionsArgs) -> Result<(), Failure> {
    // Into memory first: the generator panics when its output is refused.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "welcomed", &mut script);
    print(&script)
}
