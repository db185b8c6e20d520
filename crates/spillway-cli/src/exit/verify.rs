use spillway_client::{NotRepaired, RepairFailure, Verified, VerifyError};

use super::{Code, Failure, chain_of, upload::SAME_CONTENTS};
use crate::{advice, render::count};

/// What to do when what is missing cannot be stored again from here. Where there are receipts, an upload
/// takes them at their word unless it verifies.
fn upload_again(found: &Verified) -> String {
    let first = if !found.unreadable.is_empty() {
        "sessions that cannot be read may have the proof, see to them first; "
    } else if found.not_repaired.iter().any(|left| matches!(left.why, RepairFailure::NoProof)) {
        "--repair on the machine and with the --data-dir of the upload costs nothing; else "
    } else {
        ""
    };
    format!(
        "{first}`{}` of {SAME_CONTENTS}, stores again what is missing, and pays anew only for what this \
         machine has no proof of that nodes take",
        advice::upload_verified()
    )
}

/// Whether nothing that is kept here stores it again, now or later.
fn is_beyond_repair(left: &NotRepaired) -> bool {
    matches!(left.why, RepairFailure::NoProof | RepairFailure::NoReceipts { .. })
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match &error {
            VerifyError::DataMap(error) => Self::from(error),
            VerifyError::Network(error) => Self::from(error),
            VerifyError::Disk(error) => Self::from(error),
            VerifyError::Interrupted => Self::interrupted()
                .hint("run the same command again; what was stored again stays so"),
            _ => Self::new(Code::Failure, chain_of(&error)),
        }
    }
}

impl Failure {
    /// Why what was found is not good, if it is not.
    pub(crate) fn of_verified(found: &Verified, repair: bool) -> Option<Self> {
        let total = count(found.chunks_total, "chunk");
        if !found.lost.is_empty() {
            let more = if found.left > 0 { " or more" } else { "" };
            let message = format!("{}{more} of {total} are gone", found.lost.len());
            return Some(Self::new(Code::NotFound, message).hint(upload_again(found)));
        }
        if found.is_sound() {
            return None;
        }
        let hint = match found.silent.len() as u64 {
            0 if !repair => "--repair stores again what a session here has the proof of".to_owned(),
            0 if found.not_repaired.iter().any(is_beyond_repair) => upload_again(found),
            0 => "verify again later".to_owned(),
            silent => format!("{} did not answer: verify again", count(silent, "peer")),
        };
        let message = format!("{} of {total} have fewer than 3 copies", found.short());
        Some(Self::new(Code::PartialUpload, message).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use spillway_client::UnreadableSession;
    use spillway_types::{ChunkAddress, PeerKey};

    use super::*;

    /// Without a verification a new upload takes receipts at their word, and the chunk stays gone.
    const UPLOAD_AGAIN: &str = "`spillway upload --wait-verified` of the same contents, with the same \
                                --public and --secret-file, stores again what is missing, and pays \
                                anew only for what this machine has no proof of that nodes take";

    fn found(copies: [u64; 6]) -> Verified {
        let chunks_total = copies.iter().sum();
        Verified { chunks_total, copies, copies_after: copies, ..Verified::default() }
    }

    fn failure(found: &Verified, repair: bool) -> (Code, String) {
        let failure = Failure::of_verified(found, repair).unwrap();
        (failure.code, failure.to_string())
    }

    #[test]
    fn a_quorum_is_good_and_the_worst_decides() {
        assert_eq!(Failure::of_verified(&found([0, 0, 0, 1, 1, 6]), false), None);
        let short = found([1, 0, 1, 1, 1, 6]);
        let says = "2 of 10 chunks have fewer than 3 copies; ".to_owned();
        let repair = says.clone() + "--repair stores again what a session here has the proof of";
        assert_eq!(failure(&short, false), (Code::PartialUpload, repair));
        assert_eq!(
            failure(&short, true),
            (Code::PartialUpload, says.clone() + "verify again later")
        );
        // Who is silent may have it.
        let silent = [PeerKey([7; 32])].into();
        let silent = Verified { silent, ..found([1, 0, 1, 1, 1, 6]) };
        let again = says.clone() + "1 peer did not answer: verify again";
        assert_eq!(failure(&silent, true), (Code::PartialUpload, again));
        let address = ChunkAddress([8; 32]);
        let why = RepairFailure::NoProof;
        let not_repaired = vec![NotRepaired { address, copies: 0, why }];
        let (code, said) = failure(&Verified { not_repaired, ..short }, true);
        let elsewhere =
            "--repair on the machine and with the --data-dir of the upload costs nothing; else ";
        assert_eq!((code, said), (Code::PartialUpload, says + elsewhere + UPLOAD_AGAIN));
        // Time does not bring receipts, and this machine has what there is.
        let why = RepairFailure::NoReceipts { found: 2 };
        let not_repaired = vec![NotRepaired { address, copies: 1, why }];
        let (code, said) = failure(&Verified { not_repaired, ..found([1, 0, 1, 1, 1, 6]) }, true);
        let few = "2 of 10 chunks have fewer than 3 copies; ".to_owned();
        assert_eq!((code, said), (Code::PartialUpload, few + UPLOAD_AGAIN));
        let mut lost = Verified { lost: vec![address], ..silent };
        let gone = format!("1 of 10 chunks are gone; {UPLOAD_AGAIN}");
        assert_eq!(failure(&lost, true), (Code::NotFound, gone));
        lost.unreadable = vec![UnreadableSession { session: "a1".into(), why: "torn".into() }];
        let first = "sessions that cannot be read may have the proof, see to them first; ";
        let gone = format!("1 of 10 chunks are gone; {first}{UPLOAD_AGAIN}");
        assert_eq!(failure(&lost, true), (Code::NotFound, gone));
    }

    #[test]
    fn what_was_repaired_is_good() {
        let repaired = Verified { copies_after: [0, 0, 0, 0, 0, 2], ..found([1, 0, 0, 0, 0, 1]) };
        assert_eq!(Failure::of_verified(&repaired, true), None);
    }
}
