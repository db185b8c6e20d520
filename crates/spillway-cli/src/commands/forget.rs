use std::sync::Arc;

use serde::Serialize;
use spillway_client::{
    Clock, Disk, ForgetError, ForgetOptions, Forgotten, SessionError, SessionStatus, SystemClock,
    forget,
};
use spillway_types::Atto;

use super::{Context, session::is_stream_named, summary::only_report};
use crate::{
    args::Forget,
    config::Layer,
    exit::{Failure, Failures},
    render::{Report, amount, count},
};

/// The summary of `forget`.
#[derive(Debug, Serialize)]
struct Summary {
    forgotten: Vec<Gone>,
    /// Finished uploads that `--finished` keeps: their proofs or signed payments may be needed yet.
    kept: Vec<String>,
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
    let (names, kept) = names(data.as_ref(), args).await?;
    let options = ForgetOptions { now: SystemClock.now(), even_paid: args.even_paid };
    let (mut forgotten, mut failures) = (Vec::new(), Failures::default());
    for name in &names {
        let outcome = match &data {
            Some(data) => match forget(data, name, options).await {
                Ok(gone) => Ok(gone),
                Err(error) => Err(not_forgotten(data, error).await),
            },
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
    let text = only_report(report(&forgotten, kept.len()));
    let summary = Summary { forgotten: forgotten.into_iter().map(Gone::from).collect(), kept };
    context.console.summary(&summary, &text)?;
    failures.end(names.len(), "forgotten")
}

/// What goes on with one that is kept depends on where its contents came from.
async fn not_forgotten(data: &Arc<dyn Disk>, error: ForgetError) -> Failure {
    let ForgetError::AtStake { session, stakes } = error else { return error.into() };
    let is_stream = is_stream_named(data, &session).await;
    Failure::at_stake(session, &stakes, is_stream)
}

/// Whether it may go unasked: nothing of it is open, comes back, can be repaired with its proofs while
/// nodes take them, or may have to be paid once more with what is signed here.
pub(super) fn may_go(session: &SessionStatus) -> bool {
    session.is_over()
        && session.stakes.is_nothing()
        && session.proofs_until.is_none()
        && session.payments_not_final == 0
}

/// Those that were named, and with `--finished` those that are over; and those that are finished and
/// kept. Somebody who works on one of these only says it again.
async fn names(
    data: Option<&Arc<dyn Disk>>,
    args: &Forget,
) -> Result<(Vec<String>, Vec<String>), Failure> {
    let (mut names, mut kept) = (args.sessions.clone(), Vec::new());
    if let (true, Some(data)) = (args.finished, data) {
        let sessions = spillway_client::sessions(data, SystemClock.now()).await?;
        for session in sessions.into_iter().filter(|session| session.finished) {
            if may_go(&session) { names.push(session.id) } else { kept.push(session.id) }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok((names, kept))
}

fn report(forgotten: &[Forgotten], kept: usize) -> String {
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
    if kept > 0 {
        report.line(format_args!(
            "Kept {}: money may come back, the upload window is open, or payments are not final.",
            count(kept as u64, "finished upload"),
        ));
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

#[cfg(test)]
mod tests {
    use spillway_client::Stakes;
    use spillway_types::UnixTime;

    use super::*;

    #[test]
    fn what_may_be_needed_yet_is_kept() {
        let over = || SessionStatus { finished: true, ..SessionStatus::default() };
        assert!(may_go(&over()));
        let stakes = Stakes { undecided_payments: 1, ..Stakes::default() };
        for kept in [
            SessionStatus { finished: false, ..over() },
            SessionStatus { proofs_until: Some(UnixTime(1)), ..over() },
            SessionStatus { payments_not_final: 1, ..over() },
            SessionStatus { stakes, ..over() },
        ] {
            assert!(!may_go(&kept), "{kept:?}");
        }
    }

    #[test]
    fn what_is_kept_is_said() {
        assert_eq!(report(&[], 0), "Nothing to forget.\n");
        assert_eq!(
            report(&[], 2),
            "Nothing to forget.\nKept 2 finished uploads: money may come back, the upload window is \
             open, or payments are not final.\n"
        );
    }
}
