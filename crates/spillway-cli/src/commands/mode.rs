use spillway_client::{BatchOptions, CommitChoice, ModeChoice, UploadOptions, VerifyUpload};

use crate::{
    args::{Commit, Mode, ModeArgs, VerifyAfterArgs},
    config::Settings,
};

/// Options with how is paid.
pub(super) fn pay_as(args: &ModeArgs, settings: &Settings) -> UploadOptions {
    let mode = match args.mode {
        Mode::Auto => ModeChoice::Auto,
        Mode::Direct => ModeChoice::Direct,
        Mode::Batch => ModeChoice::Batch,
    };
    let commit = match args.commit {
        Commit::Together => CommitChoice::Together,
        Commit::OneByOne => CommitChoice::OneByOne,
    };
    UploadOptions {
        mode,
        batch: BatchOptions { max_leaves: args.batch_leaves, commit },
        token_rate: settings.token_rate(),
        max_cost: settings.max_cost(),
        max_gas_cost: settings.max_gas_cost(),
        ..UploadOptions::default()
    }
}

/// Whether to wait until all is verified.
pub(super) fn verify_as(args: &VerifyAfterArgs) -> VerifyUpload {
    if args.wants_verified() { VerifyUpload::Wait } else { VerifyUpload::No }
}
