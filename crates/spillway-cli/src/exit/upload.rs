use std::path::PathBuf;

use serde_json::{Value, json};
use spillway_client::{
    BatchRefused, ChunkFailure, PaymentMode, SourceError, Spend, UploadError, Uploaded,
};
use spillway_types::{ChunkAddress, Retry, limits::QUOTE_LIFETIME};

use super::{Code, Failure, chain_of};
use crate::{advice, render::count};

/// Other options give other chunks, which are paid for anew.
pub(super) const SAME_CONTENTS: &str =
    "the same contents, with the same --public and --secret-file";

/// Whether the price was not approved.
pub(crate) fn is_declined(error: &UploadError) -> bool {
    match error {
        UploadError::Declined { .. } => true,
        UploadError::PartialUpload { cause: Some(cause), .. } => is_declined(cause),
        _ => false,
    }
}

/// What an upload worked on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Of<'a> {
    /// Its session, if it came so far.
    pub(crate) session: Option<&'a str>,
    /// Whether it came from standard input, so that its data map has no name of its own.
    pub(crate) is_stream: bool,
}

impl Of<'_> {
    /// What to do about one that was interrupted.
    fn go_on(self) -> String {
        let how = match self.session {
            Some(session) => {
                let resume = advice::resume(session, self.is_stream);
                format!("`{resume}` goes on, as the same command does")
            }
            None => "run the same command again to go on".to_owned(),
        };
        format!("{how}; what is paid stays paid")
    }
}

impl Failure {
    /// Why an upload failed.
    pub(crate) fn of_upload(error: &UploadError, of: Of<'_>) -> Self {
        if let UploadError::PartialUpload { session, .. } = error {
            return partial(error, Of { session: Some(session), ..of });
        }
        let mut failure = Self::from(error);
        let Some(session) = of.session else { return failure };
        failure.details.entry("upload_id").or_insert_with(|| session.into());
        match error {
            UploadError::Interrupted => failure.hint(of.go_on()),
            error if error.retry() == Retry::Never => failure,
            _ => failure.and(format!("`{}` goes on", advice::resume(session, of.is_stream))),
        }
    }

    /// Says of the session of an upload whose price was not taken that it stays.
    pub(crate) fn kept(self, session: Option<&str>) -> Self {
        let Some(session) = session else { return self };
        self.and(format!(
            "its sealed chunks stay, they may be all that there is: `{}` removes them",
            advice::forget(session)
        ))
    }

    /// There is a price, and nobody who could say that it is right.
    pub(crate) fn nobody_to_ask() -> Self {
        Self::usage("nobody can be asked whether the price is right")
            .hint("say --yes to pay without asking, and --max-cost for a limit")
    }

    /// Not approved, for there was nobody to ask.
    pub(crate) fn unasked(self) -> Self {
        let nobody = Self::nobody_to_ask();
        let nobody = match &self.hint {
            Some(hint) => nobody.and(hint.clone()),
            None => nobody,
        };
        match self.code {
            Code::PartialUpload => {
                Self { hint: nobody.hint, ..self }.detail("cause_code", Code::Usage as u8)
            }
            _ => Self { details: self.details, ..nobody },
        }
    }

    /// One more thing that may be done about it.
    fn and(mut self, more: String) -> Self {
        let hint = match self.hint.take() {
            Some(hint) => format!("{hint}; {more}"),
            None => more,
        };
        self.hint(hint)
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        Self::from(&error)
    }
}

impl From<&UploadError> for Failure {
    fn from(error: &UploadError) -> Self {
        match error {
            UploadError::Source(error) => Self::from(error),
            UploadError::Disk(error) => Self::from(error),
            UploadError::Network(error) => Self::from(error),
            UploadError::Chain(error) => Self::from(error),
            UploadError::Payment { source, spend } => Self::from(source.as_ref()).spent(spend),
            UploadError::Interrupted => Self::interrupted().hint(Of::default().go_on()),
            UploadError::Session(error) => Self::from(error),
            UploadError::HandedOver { session, .. } => Self::new(Code::Failure, chain_of(error))
                .hint(format!(
                    "`{}` takes it back; `{}` begins anew, and pays anew for all that it has paid",
                    advice::import(),
                    advice::forget(session)
                ))
                .detail("upload_id", session.clone()),
            UploadError::LostChunks { session, lost } => Self::new(Code::Failure, chain_of(error))
                .hint(format!(
                    "run `{}` of {SAME_CONTENTS}; what is paid stays paid",
                    advice::upload()
                ))
                .detail("upload_id", session.clone())
                .detail("lost", texts(lost)),
            UploadError::NoSpace { needed, free, .. } => Self::new(Code::Failure, chain_of(error))
                .hint("make room, or choose another place with --data-dir")
                .detail("needed_bytes", *needed)
                .detail("free_bytes", *free),
            UploadError::Busy { session } => Self::new(Code::Locked, chain_of(error))
                .hint("wait until it has ended")
                .detail("upload_id", session.clone()),
            UploadError::DamagedSession { session, .. } => {
                Self::new(Code::Failure, chain_of(error))
                    .hint(
                        "it is left as it is, for a look; with its directory moved away uploading \
                         begins anew, and pays anew for all that it has paid",
                    )
                    .detail("upload_id", session.clone())
            }
            UploadError::TooFewQuotes { address, .. } => Self::new(Code::TryAgain, chain_of(error))
                .hint("nothing was paid; try again later")
                .detail("address", address.to_string()),
            UploadError::OverCost { cost, cap } => Self::new(Code::OverCap, chain_of(error))
                .hint("nothing more was paid; raise --max-cost to go on")
                .detail("storage_cost_atto", cost.to_string())
                .detail("max_cost_atto", cap.to_string()),
            UploadError::OverGasCost { cost, cap } => Self::new(Code::OverCap, chain_of(error))
                .hint("nothing more was paid; raise --max-gas-cost or wait for lower fees")
                .detail("gas_cost_wei", cost.to_string())
                .detail("max_gas_cost_wei", cap.to_string()),
            UploadError::ImportedPlans { session, cost } => {
                Self::new(Code::Failure, chain_of(error))
                    .hint("nothing of them was paid; say --max-cost, or go on without --yes")
                    .detail("upload_id", session.clone())
                    .detail("storage_cost_atto", cost.to_string())
            }
            UploadError::Declined { .. } => {
                Self::new(Code::Failure, "not approved").hint("nothing was paid")
            }
            UploadError::NoBatch(refused) => no_batch(*refused, "nothing was charged"),
            UploadError::Undecided { .. } => Self::new(Code::TryAgain, chain_of(error))
                .hint("nothing was paid again; try again when the chain has moved on"),
            UploadError::PartialUpload { .. } => Self::of_upload(error, Of::default()),
            _ => Self::new(Code::Failure, chain_of(error)),
        }
    }
}

/// A batch was asked for and cannot be; `charged` is what that has cost.
fn no_batch(refused: BatchRefused, charged: &str) -> Failure {
    let failure = |code| Failure::new(code, format!("no batch payment: {refused}"));
    match refused {
        // Somebody has to make a seed known; until then it is as good as an RPC that is down.
        BatchRefused::BeaconBehind { latest } => failure(Code::TryAgain)
            .hint(format!("{charged}; try again later, or say --mode direct"))
            .detail("latest_seed", latest.as_secs()),
        BatchRefused::NotTaken => failure(Code::TryAgain)
            .hint(format!("{charged}; try again later, or say --mode direct")),
        BatchRefused::PrizeTooSmall { prize, least } => failure(Code::Failure)
            .hint(format!("{charged}; say --mode direct, or upload more at once"))
            .detail("prize_atto", prize.to_string())
            .detail("least_prize_atto", least.to_string()),
        BatchRefused::PrizeTooLarge { prize, most } => failure(Code::Failure)
            .hint(format!("{charged}; say a smaller --batch-leaves, or --mode direct"))
            .detail("prize_atto", prize.to_string())
            .detail("most_prize_atto", most.to_string()),
        _ => failure(Code::Failure).hint(format!("{charged}; say --mode direct")),
    }
}

impl From<&SourceError> for Failure {
    fn from(error: &SourceError) -> Self {
        match error {
            SourceError::Disk(error) => Self::from(error),
            SourceError::Changed { .. } => Self::new(Code::Failure, chain_of(error))
                .hint("run it again when nothing writes to it; chunks that are paid stay paid"),
            SourceError::Special { .. } => {
                Self::usage(chain_of(error)).hint("name a file or a directory")
            }
            SourceError::ChunkSize { .. } => {
                Self::usage(chain_of(error)).hint("use `spillway upload` for anything else")
            }
            _ => Self::new(Code::Failure, chain_of(error)),
        }
    }
}

/// Some chunks are stored, some are not: all of it, by address.
fn partial(error: &UploadError, of: Of<'_>) -> Failure {
    let failure = Failure::new(Code::PartialUpload, chain_of(error));
    let UploadError::PartialUpload {
        session,
        payment_mode,
        stored,
        already_stored,
        failed,
        paid_unstored,
        total,
        spend,
        cause,
        ..
    } = error
    else {
        return failure;
    };
    let is_late = failed.iter().any(|(_, reason)| matches!(reason, ChunkFailure::WindowOver));
    let hint = match (is_late, lost(failed, cause.as_deref())) {
        (true, 0) => late(session, *payment_mode, of.is_stream),
        (true, lost) => {
            format!("{}; {}", upload_lost(lost), late(session, *payment_mode, of.is_stream))
        }
        (false, 0) => of.go_on(),
        (false, lost) => format!("{}; what is paid stays paid", upload_lost(lost)),
    };
    let failure = match cause.as_deref() {
        Some(UploadError::Interrupted) => Failure::interrupted().hint(hint),
        Some(cause) => failure.because(cause, hint),
        None => failure.hint(hint),
    };
    let failed: Vec<Value> = failed
        .iter()
        .map(|(address, reason)| {
            json!({"address": address.to_string(), "reason": reason.to_string()})
        })
        .collect();
    failure
        .detail("upload_id", session.clone())
        .detail("chunks_total", *total)
        .detail("stored", texts(stored))
        .detail("already_stored", texts(already_stored))
        .detail("failed", failed)
        .detail("paid_unstored", texts(paid_unstored))
        .spent(spend)
}

/// Chunks that only their source could give again, paid or not: going on by name cannot store them.
fn lost(failed: &[(ChunkAddress, ChunkFailure)], cause: Option<&UploadError>) -> u64 {
    let is_lost = |reason: &ChunkFailure| matches!(reason, ChunkFailure::LostBytes);
    let paid = failed.iter().filter(|(_, reason)| is_lost(reason)).count();
    let unpaid = match cause {
        Some(UploadError::LostChunks { lost, .. }) => lost.len(),
        _ => 0,
    };
    (paid + unpaid) as u64
}

fn upload_lost(lost: u64) -> String {
    format!(
        "run `{}` of {SAME_CONTENTS} for the {} that {} lost",
        advice::upload(),
        count(lost, "chunk"),
        if lost == 1 { "is" } else { "are" },
    )
}

impl Failure {
    /// With what is to be done about the cause first, for going on as it was would fail as it did.
    fn because(self, cause: &UploadError, go_on: String) -> Self {
        let alone = Self::from(cause);
        let first = match cause {
            UploadError::LostChunks { .. } => None,
            UploadError::Declined { .. } => Some("nothing more was paid".to_owned()),
            UploadError::TooFewQuotes { .. } => {
                Some("nothing more was paid; try again later".to_owned())
            }
            UploadError::NoBatch(refused) => no_batch(*refused, "nothing more was charged").hint,
            _ => alone.hint,
        };
        let mut failure = match first {
            Some(first) => self.hint(first).and(go_on),
            None => self.hint(go_on),
        };
        failure.details.extend(alone.details);
        failure.detail("cause_code", alone.code as u8)
    }
}

/// Nobody takes what was paid for and not stored in time.
fn late(session: &str, mode: Option<PaymentMode>, is_stream: bool) -> String {
    let wait = QUOTE_LIFETIME.as_secs() / 60;
    let comes_back = match mode {
        Some(PaymentMode::Batch | PaymentMode::Mixed) => {
            format!("what nobody claims of its batches comes back with `{}`", advice::refund(None))
        }
        _ => "a direct payment does not come back".to_owned(),
    };
    format!(
        "the upload window of some chunks is over: `{}`, {wait} minutes after its end, pays for these \
         anew; {comes_back}; `{}` says when",
        advice::resume(session, is_stream),
        advice::status(),
    )
}

/// Each as text.
pub(super) fn texts<T: ToString>(items: &[T]) -> Vec<Value> {
    items.iter().map(|item| item.to_string().into()).collect()
}

impl Failure {
    /// Everything is stored, but the data map could not be written where it should go.
    pub(crate) fn without_data_map(self, uploaded: &Uploaded, kept: Result<PathBuf, Self>) -> Self {
        let mut failure = self.detail("upload_id", uploaded.upload_id.clone());
        if let Some(address) = uploaded.public_address {
            failure = failure.detail("public_address", address.to_string());
        }
        let failure = match kept {
            Ok(path) => {
                let path = path.display().to_string();
                let hint = format!("everything is stored, and the data map is in {path}");
                failure.hint(hint).detail("data_map", path)
            }
            Err(_) => failure.hint(format!(
                "everything is stored: `{}` writes the data map",
                advice::data_map(&uploaded.upload_id)
            )),
        };
        failure.spent(&uploaded.spend)
    }

    /// Everything is stored, by a run that did not verify it.
    pub(crate) fn not_verified(uploaded: &Uploaded) -> Self {
        Self::new(Code::Failure, "everything is stored, and was not verified")
            .hint(format!("`{}` asks the network for each chunk of a data map", advice::verify()))
            .detail("upload_id", uploaded.upload_id.clone())
    }

    /// What was spent before it failed.
    fn spent(self, spend: &Spend) -> Self {
        let storage = spend.storage_cost.saturating_sub(spend.tips);
        self.detail("storage_cost_atto", storage.to_string())
            .detail("tip_atto", spend.tips.to_string())
            .detail("gas_used", spend.gas_used)
            .detail("gas_cost_wei", spend.gas_cost.to_string())
            .detail("tx_hashes", texts(&spend.tx_hashes))
    }
}
