use spillway_client::{Verified, VerifyError};

use super::{Code, Failure, chain_of};
use crate::render::count;

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
        let (none, total) = (found.copies_after[0], count(found.chunks_total, "chunk"));
        if none > 0 {
            let hint = if repair {
                "upload the same contents again, and what is missing is stored and paid anew"
            } else {
                "--repair stores again what this machine has the bytes and the proof of; else upload \
                 the same contents again"
            };
            let message = format!("{none} of {total} have no copy");
            return Some(Self::new(Code::NotFound, message).hint(hint));
        }
        if found.is_sound() {
            return None;
        }
        let hint = if repair { "verify again later" } else { "--repair stores them again" };
        let message = format!("{} of {total} have fewer than 3 copies", found.short());
        Some(Self::new(Code::PartialUpload, message).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(copies: [u64; 6]) -> Verified {
        let chunks_total = copies.iter().sum();
        Verified { chunks_total, copies, copies_after: copies, ..Verified::default() }
    }

    #[test]
    fn a_quorum_is_good_and_the_worst_decides() {
        let code = |copies| Failure::of_verified(&found(copies), false).map(|it| it.code);
        assert_eq!(code([0, 0, 0, 1, 1, 6]), None);
        assert_eq!(code([0, 0, 1, 1, 1, 6]), Some(Code::PartialUpload));
        assert_eq!(code([1, 0, 1, 1, 1, 6]), Some(Code::NotFound));
    }

    #[test]
    fn what_was_repaired_is_good() {
        let repaired = Verified { copies_after: [0, 0, 0, 0, 0, 2], ..found([1, 0, 0, 0, 0, 1]) };
        assert_eq!(Failure::of_verified(&repaired, true), None);
        let failure = Failure::of_verified(&found([0, 1, 0, 0, 0, 1]), false).unwrap();
        assert_eq!(
            failure.to_string(),
            "1 of 2 chunks have fewer than 3 copies; --repair stores them again"
        );
    }
}
