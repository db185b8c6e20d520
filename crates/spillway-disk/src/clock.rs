use std::time::Duration;

use async_trait::async_trait;
use spillway_types::UnixTime;

/// Wall time, monotonic time and waiting. Everything that asks what time it is asks a `Clock`, so a
/// simulation, a test network that follows its chain, and a test of jumps can all say.
#[async_trait]
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall time. It may jump either way.
    fn now(&self) -> UnixTime;

    /// Time since some fixed moment of this process. It never goes back.
    fn monotonic(&self) -> Duration;

    /// Returns when this much monotonic time has passed.
    ///
    /// # Cancel safety
    /// Dropping it stops the wait.
    async fn sleep(&self, duration: Duration);
}
