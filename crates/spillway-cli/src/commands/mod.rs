//! One module a command. Each checks all that can be checked here before it reaches out: the
//! settings, what is read, and where results go.

mod after_verified;
mod chunk;
mod completions;
mod context;
mod cost;
mod devnet;
mod download;
mod forget;
mod mode;
mod node;
mod refund;
mod resume;
mod session;
mod settle;
mod status;
mod summary;
mod upload;
mod verify;
mod wallet;
mod wins;

pub(crate) use context::Context;

use crate::{args::Command, exit::Failure};

/// Runs one command to its end.
pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Upload(args) => Box::pin(upload::run(context, &args)).await,
        Command::Download(args) => Box::pin(download::run(context, &args)).await,
        Command::Cost(args) => Box::pin(cost::run(context, &args)).await,
        Command::Chunk(args) => Box::pin(chunk::run(context, &args)).await,
        Command::Status(args) => Box::pin(status::run(context, &args)).await,
        Command::Resume(args) => Box::pin(resume::run(context, &args)).await,
        Command::Verify(args) => Box::pin(verify::run(context, &args)).await,
        Command::Forget(args) => Box::pin(forget::run(context, &args)).await,
        Command::Session(command) => Box::pin(session::run(context, &command)).await,
        Command::Settle(args) => Box::pin(settle::run(context, &args)).await,
        Command::Refund(args) => Box::pin(refund::run(context, &args)).await,
        Command::Wallet(args) => Box::pin(wallet::run(context, &args.command)).await,
        Command::Node(args) => Box::pin(node::run(context, &args)).await,
        Command::Completions { shell } => completions::run(context, shell),
        Command::Devnet(args) => Box::pin(devnet::run(context, &args)).await,
    }
}
