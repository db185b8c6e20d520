use serde::Serialize;
use spillway_client::Wallet;
use spillway_types::RewardAddress;

use super::{Context, summary::only_report};
use crate::{
    args::{AccountArgs, AccountOnChainArgs, WalletCommand},
    config::Layer,
    exit::Failure,
    render::{Text, amount},
};

/// `wallet`.
pub(super) async fn run(context: &Context, command: &WalletCommand) -> Result<(), Failure> {
    match command {
        WalletCommand::Address(args) => address(context, args),
        WalletCommand::Balance(args) => balance(context, args).await,
        WalletCommand::Withdraw(args) => withdraw(context, args).await,
    }
}

fn address(context: &Context, args: &AccountArgs) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Summary {
        address: String,
    }
    let address = context.settings(Layer::from(args))?.wallet()?.address().to_string();
    let text = Text { report: String::new(), result: format!("{address}\n") };
    context.console.summary(&Summary { address }, &text)
}

/// Where the vault keeps what it owes this wallet.
fn payee(wallet: &Wallet) -> RewardAddress {
    RewardAddress(wallet.address().0)
}

async fn balance(context: &Context, args: &AccountOnChainArgs) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Summary {
        address: String,
        tokens_atto: String,
        coins_wei: String,
        credit_atto: String,
        token: String,
        vault: String,
        chain_id: u64,
    }
    let settings = context.settings(Layer::from(args))?;
    let wallet = settings.wallet()?;
    let payments = context.chain(&settings).await?;
    let (account, domain, chain) = (wallet.address(), payments.domain(), payments.chain());
    let figures = async {
        let token = chain.token(domain.vault).await?;
        let tokens = chain.tokens(token, account).await?;
        let coins = chain.coins(account).await?;
        let credit = chain.credit(domain.vault, payee(&wallet)).await?;
        Ok::<_, spillway_client::ChainError>((token, tokens, coins, credit))
    };
    let (token, tokens, coins, credit) = context
        .until_stopped(async { figures.await.map_err(|error| Failure::from(&error)) })
        .await?;
    let summary = Summary {
        address: account.to_string(),
        tokens_atto: tokens.to_string(),
        coins_wei: coins.to_string(),
        credit_atto: credit.to_string(),
        token: token.to_string(),
        vault: domain.vault.to_string(),
        chain_id: domain.chain_id,
    };
    let text = format!(
        "{account}\n{} tokens\n{} coins for gas\n{} tokens in the vault, to withdraw\n",
        amount(tokens.get()),
        amount(coins.get()),
        amount(credit.get()),
    );
    context.console.summary(&summary, &Text { report: String::new(), result: text })
}

async fn withdraw(context: &Context, args: &AccountOnChainArgs) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Summary {
        address: String,
        withdrawn_atto: String,
        gas_used: u64,
        gas_cost_wei: String,
        tx_hashes: Vec<String>,
    }
    let settings = context.settings(Layer::from(args))?;
    let wallet = settings.wallet()?;
    let payments = context.chain(&settings).await?;
    // Not until stopped: what is sent is waited for.
    let withdrawn = spillway_client::withdraw(&payments, &wallet, payee(&wallet)).await?;
    let spend = &withdrawn.spend;
    let summary = Summary {
        address: wallet.address().to_string(),
        withdrawn_atto: withdrawn.amount.to_string(),
        gas_used: spend.gas_used,
        gas_cost_wei: spend.gas_cost.to_string(),
        tx_hashes: spend.tx_hashes.iter().map(ToString::to_string).collect(),
    };
    let report = format!(
        "Withdrew {} tokens to {} for {} coins of gas.\n",
        amount(withdrawn.amount.get()),
        wallet.address(),
        amount(spend.gas_cost.get()),
    );
    context.console.summary(&summary, &only_report(report))
}
