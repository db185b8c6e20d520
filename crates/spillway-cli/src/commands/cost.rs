use std::sync::Arc;

use serde::Serialize;
use spillway_client::{Cost as Price, UploadOptions, Wallet};

use super::{Context, summary::only_report};
use crate::{
    args::Cost,
    config::Layer,
    exit::{Code, Failure},
    render::{ProgressView, amount, bytes, count},
};

/// The summary of `cost`. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Summary {
    bytes: u64,
    chunks_total: u64,
    chunks_to_pay: u64,
    chunks_already_stored: u64,
    storage_cost_atto: String,
    gas: u64,
    gas_cost_wei: String,
}

/// `cost`.
pub(super) async fn run(context: &Context, args: &Cost) -> Result<(), Failure> {
    let source = Context::source(&args.path)?;
    let secret = Context::secret(args.secret_file.as_deref())?;
    let settings = context.settings(Layer::from(&args.client))?;
    // Whoever pays, the price is the same: without a key, nobody in particular asks.
    let wallet = match settings.wallet_if_any()? {
        Some(wallet) => wallet,
        None => Wallet::random().map_err(|error| {
            Failure::new(Code::Failure, format!("cannot make an account: {error}"))
        })?,
    };
    let wallet = Arc::new(wallet);
    let connected = context.connect(&settings).await?;
    let (view, progress) = ProgressView::start(&context.console);
    let options =
        UploadOptions { public: args.public, secret, progress, ..UploadOptions::default() };
    let outcome = Box::pin(connected.client().cost(source, &wallet, options)).await;
    view.finish().await;
    connected.shutdown().await;
    let price = outcome?;
    context.console.summary(&summary(&price), &only_report(report(&price)))
}

fn summary(price: &Price) -> Summary {
    Summary {
        bytes: price.bytes,
        chunks_total: price.chunks_total,
        chunks_to_pay: price.offer.chunks_to_pay,
        chunks_already_stored: price.offer.chunks_already_stored,
        storage_cost_atto: price.offer.storage_cost.to_string(),
        gas: price.offer.gas,
        gas_cost_wei: price.offer.gas_cost.to_string(),
    }
}

fn report(price: &Price) -> String {
    let offer = &price.offer;
    format!(
        "{} in {}, {} of them stored already.\nStorage: {} tokens ({} atto).\nGas: about {} \
         coins ({} wei) for {} gas.\n",
        bytes(price.bytes),
        count(price.chunks_total, "chunk"),
        offer.chunks_already_stored,
        amount(offer.storage_cost.get()),
        offer.storage_cost,
        amount(offer.gas_cost.get()),
        offer.gas_cost,
        offer.gas,
    )
}
