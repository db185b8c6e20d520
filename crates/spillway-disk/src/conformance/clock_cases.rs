use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use spillway_types::UnixTime;

use crate::Clock;

/// Runs every case. `advance` lets this much monotonic time pass, however the clock does that.
///
/// # Panics
/// When the clock does something else than it should.
///
/// # Cancel safety
/// It may be dropped at any time.
pub async fn clock(clock: Arc<dyn Clock>, advance: impl AsyncFn(Duration)) {
    time_passes_forwards(clock.as_ref(), &advance).await;
    sleepers_wake_in_time(clock.as_ref(), &advance).await;
    no_time_at_all(clock.as_ref()).await;
}

async fn time_passes_forwards(clock: &dyn Clock, advance: &impl AsyncFn(Duration)) {
    assert!(clock.now() > UnixTime::YEAR_2020);
    let before = clock.monotonic();
    advance(Duration::from_millis(1500)).await;
    assert!(clock.monotonic() >= before + Duration::from_millis(1500));
}

async fn sleepers_wake_in_time(clock: &dyn Clock, advance: &impl AsyncFn(Duration)) {
    let mut long = pin!(clock.sleep(Duration::from_secs(20)));
    let mut short = pin!(clock.sleep(Duration::from_secs(10)));
    assert!(!is_ready(long.as_mut()).await);
    assert!(!is_ready(short.as_mut()).await);
    {
        // Dropped before its time: nobody is left to wake.
        let mut dropped = pin!(clock.sleep(Duration::from_secs(5)));
        assert!(!is_ready(dropped.as_mut()).await);
    }
    advance(Duration::from_secs(9)).await;
    assert!(!is_ready(short.as_mut()).await);
    advance(Duration::from_secs(2)).await;
    short.await;
    assert!(!is_ready(long.as_mut()).await);
    advance(Duration::from_secs(10)).await;
    long.await;
}

async fn no_time_at_all(clock: &dyn Clock) {
    clock.sleep(Duration::ZERO).await;
}

/// Whether it is ready when polled once.
async fn is_ready(mut future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}
