use std::sync::Arc;

use serde::Serialize;
use spillway_client::{Cost as Price, UploadOptions, Wallet};
use spillway_types::Atto;

use super::{Context, mode::pay_as, summary::only_report};
use crate::{
    args::Cost,
    config::Layer,
    exit::{Code, Failure},
    render::{Report, amount, bytes, count, mode_name, paid_as},
};

/// The summary of `cost`. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Summary {
    bytes: u64,
    chunks_total: u64,
    chunks_to_pay: u64,
    chunks_already_stored: u64,
    payment_mode: Option<&'static str>,
    mode_reason: Option<String>,
    /// What the nodes are paid.
    storage_cost_atto: String,
    /// What whoever settles is paid.
    tip_atto: String,
    gas: u64,
    gas_cost_wei: String,
}

/// `cost`.
pub(super) async fn run(context: &Context, args: &Cost) -> Result<(), Failure> {
    let source = Context::source(&args.path)?;
    let secret = Context::secret(args.secret_file.as_deref())?;
    let settings = context.settings(Layer::from(&args.client).with_mode(&args.mode))?;
    // Whoever pays, the price is the same: without a key, nobody in particular asks.
    let wallet = match settings.wallet_if_any()? {
        Some(wallet) => wallet,
        None => Wallet::random().map_err(|error| {
            Failure::new(Code::Failure, format!("cannot make an account: {error}"))
        })?,
    };
    let wallet = Arc::new(wallet);
    let connected = context.connect(&settings).await?;
    let (view, progress) = context.progress();
    let options =
        UploadOptions { public: args.public, secret, progress, ..pay_as(&args.mode, &settings) };
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
        payment_mode: price.offer.mode.map(mode_name),
        mode_reason: price.offer.reason.map(|reason| reason.to_string()),
        storage_cost_atto: price.offer.storage_cost.to_string(),
        tip_atto: price.offer.tips.to_string(),
        gas: price.offer.gas,
        gas_cost_wei: price.offer.gas_cost.to_string(),
    }
}

fn report(price: &Price) -> String {
    let offer = &price.offer;
    let mut report = Report::default();
    report.line(format_args!(
        "{} in {}, {} of them stored already.\nStorage: {} tokens ({} atto).",
        bytes(price.bytes),
        count(price.chunks_total, "chunk"),
        offer.chunks_already_stored,
        amount(offer.storage_cost.get()),
        offer.storage_cost,
    ));
    if offer.tips > Atto::ZERO {
        let tips = amount(offer.tips.get());
        report.line(format_args!("Tips: {tips} tokens ({} atto).", offer.tips));
    }
    report.line(format_args!(
        "Gas: about {} coins ({} wei) for {} gas.",
        amount(offer.gas_cost.get()),
        offer.gas_cost,
        offer.gas,
    ));
    if let Some(text) = paid_as(offer.mode, offer.reason.as_ref()) {
        report.line(format_args!("{text}."));
    }
    report.text()
}

#[cfg(test)]
mod tests {
    use spillway_client::{ModeReason, Offer, PaymentMode};
    use spillway_types::Wei;

    use super::*;

    fn price() -> Price {
        let offer = Offer {
            mode: Some(PaymentMode::Batch),
            reason: Some(ModeReason::Asked { mode: PaymentMode::Batch }),
            storage_cost: Atto(1_500_000_000_000_000_000),
            tips: Atto(20_000_000_000_000_000),
            gas: 100_000,
            gas_cost: Wei(200_000_000_000_000),
            chunks_to_pay: 300,
            chunks_later: 0,
            chunks_already_stored: 2,
        };
        Price { bytes: 1_200_000_000, chunks_total: 302, offer }
    }

    #[test]
    fn a_price_is_said_in_full() {
        assert_eq!(
            report(&price()),
            "1.20 GB in 302 chunks, 2 of them stored already.\nStorage: 1.5 tokens \
             (1500000000000000000 atto).\nTips: 0.02 tokens (20000000000000000 atto).\nGas: about \
             0.0002 coins (200000000000000 wei) for 100000 gas.\nPayment as batch: as asked for.\n"
        );
        assert_eq!(
            serde_json::to_string(&summary(&price())).unwrap(),
            r#"{"bytes":1200000000,"chunks_total":302,"chunks_to_pay":300,"chunks_already_stored":2,"payment_mode":"batch","mode_reason":"batch: as asked for","storage_cost_atto":"1500000000000000000","tip_atto":"20000000000000000","gas":100000,"gas_cost_wei":"200000000000000"}"#
        );
    }
}
