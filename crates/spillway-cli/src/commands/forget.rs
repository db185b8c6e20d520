use std::sync::Arc;

use serde::Serialize;
use spillway_client::{Clock, Disk, ForgetOptions, Forgotten, SessionError, SystemClock, forget};
use spillway_types::Atto;

use super::{Context, summary::only_report};
use crate::{
    args::Forget,
    config::Layer,
    exit::{Failure, Failures},
    render::{Report, amount},
};

/// The summary of `forget`.
#[derive(Debug, Serialize)]
struct Summary {
    forgotten: Vec<Gone>,
}

/// One session that is gone. Amounts are text: they pass 53 bits.
#[derive(Debug, Serialize)]
struct Gone {
    upload_id: String,
    /// What was given up with it: stored no more, paid perhaps, not taken back.
    unstored_chunks: u64,
    unstored_atto: String,
    undecided_payments: u64,
    undecided_atto: String,
    refundable_batches: u64,
    refundable_atto: String,
}

/// `forget`.
pub(super) async fn run(context: &Context, args: &Forget) -> Result<(), Failure> {
    let settings = context.settings(Layer::from(&args.data))?;
    let data = Context::data(&settings)?;
    let names = names(data.as_ref(), args).await?;
    let options = ForgetOptions { now: SystemClock.now(), even_paid: args.even_paid };
    let (mut forgotten, mut failures) = (Vec::new(), Failures::default());
    for name in &names {
        let outcome = match &data {
            Some(data) => forget(data, name, options).await.map_err(Failure::from),
            None => Err(SessionError::NotFound { session: name.clone() }.into()),
        };
        match outcome {
            Ok(gone) => forgotten.push(gone),
            Err(failure) if names.len() == 1 => return Err(failure),
            Err(failure) => {
                context.console.failure_of_one(&failure);
                failures.add(failure);
            }
        }
    }
    let text = only_report(report(&forgotten));
    let summary = Summary { forgotten: forgotten.into_iter().map(Gone::from).collect() };
    context.console.summary(&summary, &text)?;
    failures.end(names.len(), "forgotten")
}

/// Those that were named, and with `--finished` those that are over. Somebody who works on one of
/// these only says it again.
async fn names(data: Option<&Arc<dyn Disk>>, args: &Forget) -> Result<Vec<String>, Failure> {
    let mut names = args.sessions.clone();
    if let (true, Some(data)) = (args.finished, data) {
        let sessions = spillway_client::sessions(data, SystemClock.now()).await?;
        let over = sessions.into_iter().filter(|it| it.is_over() && it.stakes.is_nothing());
        names.extend(over.map(|session| session.id));
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

fn report(forgotten: &[Forgotten]) -> String {
    let mut report = Report::default();
    for Forgotten { session, stakes } in forgotten {
        let lost = stakes.unstored.saturating_add(stakes.refundable);
        let given_up = match lost {
            Atto::ZERO => String::new(),
            lost => format!(", and with it {} tokens", amount(lost.get())),
        };
        report.line(format_args!("Forgot session {session}{given_up}."));
    }
    if report.is_empty() {
        report.line("Nothing to forget.");
    }
    report.text()
}

impl From<Forgotten> for Gone {
    fn from(gone: Forgotten) -> Self {
        let stakes = gone.stakes;
        Self {
            upload_id: gone.session,
            unstored_chunks: stakes.unstored_chunks,
            unstored_atto: stakes.unstored.to_string(),
            undecided_payments: stakes.undecided_payments,
            undecided_atto: stakes.undecided.to_string(),
            refundable_batches: stakes.refundable_batches,
            refundable_atto: stakes.refundable.to_string(),
        }
    }
}
