//! The `welcomed` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    welcomed::cli::main()
}
