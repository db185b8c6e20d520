use std::sync::Arc;

use bytes::Bytes;
use spillway_types::ChunkAddress;

use crate::{MAX_EVIDENCE_BYTES, Reservation, StoreError, capacity::Space};

/// What was asked to be put, found right.
pub(crate) struct Checked {
    pub(crate) reservation: Reservation,
    pub(crate) chunk: Bytes,
    pub(crate) evidence: Bytes,
}

/// Checks a put against its reservation, the cheap checks first.
pub(crate) fn check_put(
    space: &Arc<Space>,
    reservation: Reservation,
    chunk: Bytes,
    evidence: Bytes,
) -> Result<Checked, StoreError> {
    let expected = reservation.address();
    if !reservation.belongs_to(space) {
        return Err(StoreError::ForeignReservation { address: expected });
    }
    if chunk.len() as u64 != u64::from(reservation.size_bytes()) {
        return Err(StoreError::WrongSize {
            reserved_bytes: reservation.size_bytes(),
            found_bytes: chunk.len() as u64,
        });
    }
    if evidence.len() as u64 > u64::from(MAX_EVIDENCE_BYTES) {
        return Err(StoreError::EvidenceTooLong {
            limit_bytes: MAX_EVIDENCE_BYTES,
            found_bytes: evidence.len() as u64,
        });
    }
    let found = ChunkAddress::of(&chunk);
    if found != expected {
        return Err(StoreError::WrongHash { expected, found });
    }
    Ok(Checked { reservation, chunk, evidence })
}
