use clap::CommandFactory;
use clap_complete::Shell;

use super::Context;
use crate::{args::Cli, exit::Failure};

/// `completions`.
pub(super) fn run(context: &Context, shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "spillway", &mut script);
    context.console.out(&String::from_utf8_lossy(&script))
}
