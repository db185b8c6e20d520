use clap::{Args, Subcommand};

use super::{ChainArgs, KeyArgs, ManifestArgs};

/// `wallet`.
#[derive(Debug, Args)]
pub(crate) struct Wallet {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: WalletCommand,
}

/// `wallet` and what follows.
#[derive(Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// Print the account's address and nothing else
    Address(AccountArgs),
    /// Print what the account has: tokens, coins for gas, and what the vault owes it
    Balance(AccountOnChainArgs),
    /// Take out what the vault owes the account
    Withdraw(AccountOnChainArgs),
}

/// Which account.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AccountArgs {
    #[command(flatten)]
    pub(crate) manifest: ManifestArgs,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
}

/// Which account on which chain.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AccountOnChainArgs {
    #[command(flatten)]
    pub(crate) account: AccountArgs,
    #[command(flatten)]
    pub(crate) chain: ChainArgs,
}
