use spillway_client::{ForgetError, SessionError, Stakes};
use spillway_types::UnixTime;

use super::{Code, Failure, chain_of};
use crate::{
    advice,
    render::{amount, count, utc},
};

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self::from(&error)
    }
}

impl From<&SessionError> for Failure {
    fn from(error: &SessionError) -> Self {
        let failure = |code| Self::new(code, chain_of(error));
        match error {
            SessionError::Disk(error) => Self::from(error),
            SessionError::NotFound { .. } => {
                failure(Code::NotFound).hint(format!("`{}` lists the names", advice::status()))
            }
            SessionError::Ambiguous { .. } => failure(Code::Usage).hint("say more of the name"),
            SessionError::Busy { session } => failure(Code::Locked)
                .hint("wait until it has ended")
                .detail("upload_id", session.clone()),
            SessionError::Damaged { session, .. } => failure(Code::Failure)
                .hint("it is left as it is, for a look")
                .detail("upload_id", session.clone()),
            SessionError::OtherPayer { session, payer } => failure(Code::Failure)
                .hint(format!("go on with the key of {payer}"))
                .detail("upload_id", session.clone()),
            SessionError::OtherDomain { session } => failure(Code::Failure)
                .hint("say its --network, --rpc-url and --vault")
                .detail("upload_id", session.clone()),
            SessionError::BadArchive { .. } => failure(Code::Failure).hint(
                "nothing was taken over; check that it is the file of `spillway session export`",
            ),
            SessionError::AlreadyHere { session } => failure(Code::Failure)
                .hint(already_here(session, Some(false)))
                .detail("upload_id", session.clone()),
            SessionError::OlderThanHere { session } => failure(Code::Failure)
                .hint("nothing was taken over; import its last export")
                .detail("upload_id", session.clone()),
            _ => failure(Code::Failure),
        }
    }
}

/// An upload that is here and not finished pays for itself, whatever an archive has paid. `paid_stream`:
/// whether it is one of standard input, or `None` when nothing of it is paid.
fn already_here(session: &str, paid_stream: Option<bool>) -> String {
    match paid_stream {
        Some(is_stream) => format!(
            "nothing was taken over; `{}` goes on with what is paid here, and pays again for what only \
             the archive has paid",
            advice::resume(session, is_stream)
        ),
        None => format!(
            "nothing was taken over, and nothing would be lost here: `{}`, then import again; going on \
             here pays again for what the archive has paid",
            advice::forget(session)
        ),
    }
}

impl From<ForgetError> for Failure {
    fn from(error: ForgetError) -> Self {
        match error {
            ForgetError::AtStake { session, stakes } => Self::at_stake(session, &stakes, false),
            ForgetError::Session(error) => error.into(),
            other => Self::new(Code::Failure, chain_of(&other)),
        }
    }
}

impl Failure {
    /// What would be lost, and how not to lose it.
    pub(crate) fn at_stake(session: String, stakes: &Stakes, is_stream: bool) -> Self {
        let (mut lost, mut hints) = (Vec::new(), Vec::new());
        if stakes.unstored_chunks > 0 {
            let chunks = count(stakes.unstored_chunks, "chunk");
            let tokens = amount(stakes.unstored.get());
            lost.push(format!("{chunks}, paid for with {tokens} tokens, not stored yet"));
        }
        if stakes.undecided_payments > 0 {
            let payments = count(stakes.undecided_payments, "payment");
            let tokens = amount(stakes.undecided.get());
            lost.push(format!("{payments} of {tokens} tokens, signed and perhaps taken"));
        }
        if !lost.is_empty() {
            let until = stakes.store_until.map(|until| format!(" until {}", utc(until)));
            let resume = advice::resume(&session, is_stream);
            hints.push(format!("`{resume}` goes on{}", until.unwrap_or_default()));
        }
        if stakes.refundable_batches > 0 {
            let tokens = amount(stakes.refundable.get());
            lost.push(format!("up to {tokens} tokens that may come back"));
            let from = stakes.refundable_from.map(|from| format!(" from {} on", utc(from)));
            let from = from.unwrap_or_default();
            let refund = advice::refund(Some(&session));
            hints.push(format!("`{refund}` takes back what nobody claims{from}"));
        }
        hints.push("--even-paid gives all of it up".to_owned());
        let message =
            format!("session {session} is kept: with it would be lost {}", lost.join("; "));
        Self::new(Code::Failure, message)
            .hint(hints.join("; "))
            .detail("upload_id", session)
            .stakes(stakes)
    }

    /// [`SessionError::AlreadyHere`], of a session of which more is known: nothing is paid or may come
    /// back, or else whether it is a stream.
    pub(crate) fn already_here(self, session: &str, paid_stream: Option<bool>) -> Self {
        self.hint(already_here(session, paid_stream))
    }

    /// Why a session was not handed over. An export needs no key, so another one does not help.
    pub(crate) fn of_export(error: &SessionError) -> Self {
        let failure = Self::from(error);
        match error {
            SessionError::OtherPayer { .. } => failure
                .hint("it uses a payment of that wallet, which is not its own, so it stays here"),
            _ => failure,
        }
    }

    fn stakes(self, stakes: &Stakes) -> Self {
        self.detail("unstored_chunks", stakes.unstored_chunks)
            .detail("unstored_atto", stakes.unstored.to_string())
            .detail("store_until", stakes.store_until.map(UnixTime::as_secs))
            .detail("undecided_payments", stakes.undecided_payments)
            .detail("undecided_atto", stakes.undecided.to_string())
            .detail("refundable_batches", stakes.refundable_batches)
            .detail("refundable_atto", stakes.refundable.to_string())
            .detail("refundable_from", stakes.refundable_from.map(UnixTime::as_secs))
    }
}
