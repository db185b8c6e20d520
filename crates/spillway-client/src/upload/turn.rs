//! The place of an upload among all that the process does.

use spillway_pay::Permit;

use super::Job;
use crate::{UploadError, workers::Work};

/// The place of one upload, until it is dropped.
#[derive(Debug)]
pub(super) enum Turn {
    /// A session goes on with what an earlier run has planned: it waits for no upload that begins.
    GoesOn { _place: Permit },
    /// It has begun, and works unless its user is asked.
    Begun { _place: Permit, at_work: Option<Permit> },
}

impl Turn {
    /// Waits for the place of a session that goes on.
    pub(super) async fn go_on(job: &Job) -> Result<Self, UploadError> {
        Ok(Self::GoesOn { _place: job.enter(Work::Resume).await? })
    }

    /// Waits for the place of an upload that begins, and for it to work.
    pub(super) async fn begin(job: &Job) -> Result<Self, UploadError> {
        let place = job.enter(Work::Begun).await?;
        Ok(Self::Begun { _place: place, at_work: Some(job.enter(Work::Upload).await?) })
    }

    /// From here on it is an upload like those that begin. Until it has that place it keeps the other, so
    /// that there are never more that hold anything than both limits say.
    pub(super) async fn begin_rest(&mut self, job: &Job) -> Result<(), UploadError> {
        if let Self::GoesOn { .. } = self {
            *self = Self::begin(job).await?;
        }
        Ok(())
    }

    /// Lets another work until [`Turn::step_in`].
    pub(super) fn step_aside(&mut self) {
        if let Self::Begun { at_work, .. } = self {
            *at_work = None;
        }
    }

    /// Waits until it may work, if it does not.
    pub(super) async fn step_in(&mut self, job: &Job) -> Result<(), UploadError> {
        if let Self::Begun { at_work: at_work @ None, .. } = self {
            *at_work = Some(job.enter(Work::Upload).await?);
        }
        Ok(())
    }
}
