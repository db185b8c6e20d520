use spillway_client::DiskError;

use super::{Code, Failure, chain_of};

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        Self::from(&error)
    }
}

impl From<&DiskError> for Failure {
    fn from(error: &DiskError) -> Self {
        let (code, hint) = match error {
            DiskError::NotFound { .. } => (Code::NotFound, Some("check the path")),
            DiskError::Exists { .. } => {
                (Code::Failure, Some("choose another place with -o, or say --overwrite"))
            }
            DiskError::Locked { .. } => (Code::Locked, Some("wait until it has ended")),
            DiskError::Full { .. } => (Code::Failure, Some("make room and try again")),
            DiskError::Denied { .. } => (Code::Failure, Some("check owner and permissions")),
            _ => (Code::Failure, None),
        };
        let mut failure = Self::new(code, chain_of(error));
        failure.hint = hint.map(str::to_owned);
        failure
    }
}
