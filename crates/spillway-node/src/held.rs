use std::sync::Arc;

use spillway_disk::Clock;
use spillway_store::Reservation;
use spillway_types::UnixTime;

use crate::{
    promises::{Promised, Taken},
    service::Shared,
};

/// The space for a put that was paid for. When the put comes to nothing (its sender went away, its
/// body was wrong, the disk failed), it is set aside again until the upload window ends, so that the
/// payer can try again also on a node that is full since.
pub(crate) struct Held {
    service: Arc<Shared>,
    chunk: Promised,
    ends: UnixTime,
    reservation: Option<Reservation>,
}

impl Held {
    pub(crate) fn new(service: Arc<Shared>, taken: Taken) -> Self {
        let Taken { reservation, ends } = taken;
        let chunk = (reservation.address(), reservation.size_bytes());
        Self { service, chunk, ends, reservation: Some(reservation) }
    }

    /// Hands the space out. What is dropped after that is not set aside again: a write that began
    /// runs to its end.
    pub(crate) fn hand_out(&mut self) -> Option<Reservation> {
        self.reservation.take()
    }

    /// The write failed and gave the space up: takes it anew, if nobody was quicker and the disk
    /// still has it.
    pub(crate) fn restore(&mut self) {
        if self.ends >= self.service.clock.now() {
            let (address, size) = self.chunk;
            self.reservation = self.service.store.reserve(address, size).ok();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(reservation) = self.reservation.take() else {
            return;
        };
        // Its place is taken for good.
        if self.service.store.has(self.chunk.0) {
            return;
        }
        let taken = Taken { reservation, ends: self.ends };
        self.service.promises().give_back(taken, self.service.clock.now());
    }
}
