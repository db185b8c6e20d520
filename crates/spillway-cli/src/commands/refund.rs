use std::sync::Arc;

use serde::Serialize;
use spillway_client::{Disk, RefundReport, Refundable, RefundedBatch};
use spillway_types::Atto;

use super::{Context, summary::only_report};
use crate::{
    args::Refund,
    config::{Layer, Settings},
    exit::{Code, Failure},
    render::{Report, amount, count, utc},
};

/// The summary of `refund`. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Summary {
    dry_run: bool,
    /// What came back.
    refunded: Vec<CameBack>,
    /// What may come back yet.
    refundable: Vec<Open>,
    /// Uploads that another process works on.
    busy: Vec<String>,
    refunded_atto: String,
    gas_used: u64,
    gas_cost_wei: String,
    tx_hashes: Vec<String>,
}

/// A batch of which something came back.
#[derive(Debug, Serialize)]
struct CameBack {
    upload_id: String,
    payment: String,
    amount_atto: String,
}

/// A batch of which something may come back.
#[derive(Debug, Serialize)]
struct Open {
    upload_id: String,
    payment: String,
    draws: u8,
    settled: u8,
    amount_atto: String,
    /// Unix time in seconds, and the same for people.
    from: u64,
    from_utc: String,
    due: bool,
}

/// `refund`: of the vault that the settings name.
pub(super) async fn run(context: &Context, args: &Refund) -> Result<(), Failure> {
    let settings = context.settings(Layer::from(args))?;
    let mut report = match Context::data(&settings)? {
        None => known(&[], args).map(|()| RefundReport::default())?,
        Some(data) => {
            let sessions = spillway_client::sessions(&data).await?;
            let ids: Vec<String> = sessions.into_iter().map(|session| session.id).collect();
            known(&ids, args)?;
            take_back(context, &settings, &data, args).await?
        }
    };
    // All draws are settled: nothing is waited for.
    report.waiting.retain(|batch| batch.amount > Atto::ZERO);
    context.console.summary(&summary(&report, args), &only_report(text(&report, args)))?;
    if report.busy.is_empty() {
        return Ok(());
    }
    let message = "another process works on some of the uploads";
    Err(Failure::new(Code::Locked, message).hint("run it again when that has ended"))
}

/// Whether there are such uploads.
fn known(ids: &[String], args: &Refund) -> Result<(), Failure> {
    match args.sessions.iter().find(|session| !ids.contains(session)) {
        None => Ok(()),
        Some(session) => Err(Failure::new(Code::NotFound, format!("there is no upload {session}"))
            .hint("`spillway status` lists them")),
    }
}

async fn take_back(
    context: &Context,
    settings: &Settings,
    data: &Arc<dyn Disk>,
    args: &Refund,
) -> Result<RefundReport, Failure> {
    if args.dry_run {
        let payments = context.chain(settings).await?;
        let open = context.until_stopped(spillway_client::refundable(&payments, data)).await?;
        let wanted =
            |batch: &Refundable| args.sessions.is_empty() || args.sessions.contains(&batch.session);
        let waiting = open.into_iter().filter(wanted).collect();
        return Ok(RefundReport { waiting, ..RefundReport::default() });
    }
    let wallet = settings.wallet()?;
    let payments = context.chain(settings).await?;
    if args.sessions.is_empty() {
        // Not until stopped: what is sent is waited for.
        return Ok(spillway_client::refund(&payments, &wallet, data, None).await?);
    }
    let mut all = RefundReport::default();
    for session in &args.sessions {
        let one = spillway_client::refund(&payments, &wallet, data, Some(session)).await;
        let one = one.map_err(|error| Failure::from(error).after_refunds(&all))?;
        add(&mut all, one);
    }
    Ok(all)
}

fn add(all: &mut RefundReport, one: RefundReport) {
    all.refunded.extend(one.refunded);
    all.waiting.extend(one.waiting);
    all.busy.extend(one.busy);
    all.spend.gas_used += one.spend.gas_used;
    all.spend.gas_cost = all.spend.gas_cost.saturating_add(one.spend.gas_cost);
    all.spend.tx_hashes.extend(one.spend.tx_hashes);
}

fn summary(report: &RefundReport, args: &Refund) -> Summary {
    let refunded = report.refunded.iter().map(|batch| CameBack {
        upload_id: batch.session.clone(),
        payment: batch.payment.to_string(),
        amount_atto: batch.amount.to_string(),
    });
    let refundable = report.waiting.iter().map(|batch| Open {
        upload_id: batch.session.clone(),
        payment: batch.payment.to_string(),
        draws: batch.draws,
        settled: batch.settled,
        amount_atto: batch.amount.to_string(),
        from: batch.from.as_secs(),
        from_utc: utc(batch.from),
        due: batch.due,
    });
    Summary {
        dry_run: args.dry_run,
        refunded: refunded.collect(),
        refundable: refundable.collect(),
        busy: report.busy.clone(),
        refunded_atto: report.amount().to_string(),
        gas_used: report.spend.gas_used,
        gas_cost_wei: report.spend.gas_cost.to_string(),
        tx_hashes: report.spend.tx_hashes.iter().map(ToString::to_string).collect(),
    }
}

fn text(report: &RefundReport, args: &Refund) -> String {
    let mut text = Report::default();
    for batch in &report.refunded {
        let tokens = amount(batch.amount.get());
        text.line(format_args!("{tokens} tokens came back of {}", of(batch)));
    }
    for batch in &report.waiting {
        text.line(open(batch));
    }
    for session in &report.busy {
        text.line(format_args!("Another process works on upload {session}."));
    }
    if text.is_empty() {
        return "Nothing can be refunded.\n".to_owned();
    }
    if args.dry_run {
        let due = report.waiting.iter().filter(|batch| batch.due);
        let due: Atto = due.map(|batch| batch.amount).sum();
        text.line(format_args!("Now {} tokens would come back.", amount(due.get())));
    } else {
        text.line(format_args!(
            "Refunded {} tokens for {} coins of gas, in {}.",
            amount(report.amount().get()),
            amount(report.spend.gas_cost.get()),
            count(report.spend.tx_hashes.len() as u64, "transaction"),
        ));
    }
    text.text()
}

fn of(batch: &RefundedBatch) -> String {
    format!("batch {} of upload {}.", batch.payment, batch.session)
}

fn open(batch: &Refundable) -> String {
    let when = if batch.due {
        "now".to_owned()
    } else {
        format!("from {} ({}) on", utc(batch.from), batch.from)
    };
    format!(
        "{} tokens of batch {} of upload {} can be refunded {when}, if no further draw is settled; \
         {} of {} are.",
        amount(batch.amount.get()),
        batch.payment,
        batch.session,
        batch.settled,
        batch.draws,
    )
}

#[cfg(test)]
mod tests {
    use spillway_types::{PaymentId, UnixTime, Wei};

    use super::*;
    use crate::args::{AccountOnChainArgs, DataArgs};

    fn args(dry_run: bool) -> Refund {
        Refund {
            sessions: vec!["a".into()],
            dry_run,
            data: DataArgs::default(),
            account: AccountOnChainArgs::default(),
        }
    }

    fn waiting(due: bool) -> Refundable {
        Refundable {
            session: "a".into(),
            payment: PaymentId([2; 32]),
            draws: 16,
            settled: 3,
            amount: Atto(1_500_000_000_000_000_000),
            from: UnixTime(1_795_260_315),
            due,
        }
    }

    fn report() -> RefundReport {
        let amount = Atto(250_000_000_000_000_000);
        let mut report = RefundReport {
            refunded: vec![RefundedBatch {
                session: "a".into(),
                payment: PaymentId([1; 32]),
                amount,
            }],
            waiting: vec![waiting(false)],
            busy: vec!["b".into()],
            ..RefundReport::default()
        };
        report.spend.gas_used = 50_000;
        report.spend.gas_cost = Wei(100_000_000_000_000);
        report.spend.tx_hashes = vec![spillway_types::TxHash([3; 32])];
        report
    }

    #[test]
    fn what_came_back_and_what_may_is_said() {
        let [one, two, three] = [1, 2, 3].map(|byte: u8| format!("0{byte}").repeat(32));
        assert_eq!(
            text(&report(), &args(false)),
            format!(
                "0.25 tokens came back of batch 0x{one} of upload a.\n1.5 tokens of batch 0x{two} \
                 of upload a can be refunded from 2026-11-21 11:25:15 UTC (1795260315) on, if no \
                 further draw is settled; 3 of 16 are.\nAnother process works on upload \
                 b.\nRefunded 0.25 tokens for 0.0001 coins of gas, in 1 transaction.\n"
            )
        );
        assert_eq!(
            serde_json::to_string(&summary(&report(), &args(false))).unwrap(),
            format!(
                r#"{{"dry_run":false,"refunded":[{{"upload_id":"a","payment":"0x{one}","amount_atto":"250000000000000000"}}],"refundable":[{{"upload_id":"a","payment":"0x{two}","draws":16,"settled":3,"amount_atto":"1500000000000000000","from":1795260315,"from_utc":"2026-11-21 11:25:15 UTC","due":false}}],"busy":["b"],"refunded_atto":"250000000000000000","gas_used":50000,"gas_cost_wei":"100000000000000","tx_hashes":["0x{three}"]}}"#
            )
        );
    }

    #[test]
    fn a_dry_run_says_what_would_come_back() {
        let report = RefundReport { waiting: vec![waiting(true)], ..RefundReport::default() };
        let two = "02".repeat(32);
        assert_eq!(
            text(&report, &args(true)),
            format!(
                "1.5 tokens of batch 0x{two} of upload a can be refunded now, if no further draw is \
                 settled; 3 of 16 are.\nNow 1.5 tokens would come back.\n"
            )
        );
        assert_eq!(text(&RefundReport::default(), &args(true)), "Nothing can be refunded.\n");
    }

    #[test]
    fn an_upload_that_is_not_there_is_named() {
        let failure = known(&["b".into()], &args(false)).unwrap_err();
        assert_eq!(failure.code, Code::NotFound);
        assert_eq!(failure.to_string(), "there is no upload a; `spillway status` lists them");
        known(&["a".into()], &args(false)).unwrap();
    }
}
