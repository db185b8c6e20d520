use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use spillway_disk::Clock;
use spillway_net::Peers;
use spillway_types::{ChunkAddress, PeerKey, PutRequest, Refusal, limits::NEIGHBOURHOOD};

use crate::{
    checks,
    limits::{
        ALL_PEERS_FACTOR, MAX_RATED_PEERS, MAX_SEARCHES, SEARCHES_BURST, SEARCHES_PER_SECOND,
    },
    peer_rates::{PeerRates, Rate},
    slots::{busy, busy_for},
};

/// Whether quoted peers are near a chunk, by what the node knows of the network.
///
/// First by the peers that it knows already. A node that has just started, or stands at the edge of
/// its own view, may not know peers that are there, and a payer must not lose a chunk over that: so
/// before it refuses, it asks the network once. Searches are limited for each peer and at once.
#[derive(Debug)]
pub(crate) struct Neighbourhood {
    peers: Arc<dyn Peers>,
    clock: Arc<dyn Clock>,
    rates: Mutex<PeerRates>,
    searching: AtomicUsize,
}

/// One search under way.
struct Searching<'a>(&'a AtomicUsize);

impl Drop for Searching<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Neighbourhood {
    pub(crate) fn new(peers: Arc<dyn Peers>, clock: Arc<dyn Clock>) -> Self {
        let rate = Rate { per_second: SEARCHES_PER_SECOND, burst: SEARCHES_BURST };
        let all = rate.times(ALL_PEERS_FACTOR);
        let rates = PeerRates::new(rate, all, MAX_RATED_PEERS, clock.monotonic());
        Self { peers, clock, rates: Mutex::new(rates), searching: AtomicUsize::new(0) }
    }

    /// Checks that enough of a put's quoted peers are near its chunk, and returns the nearest others
    /// that are known now, in any order.
    ///
    /// # Errors
    /// [`Refusal::NotClosest`]; [`Refusal::Busy`] when it cannot be said now.
    ///
    /// # Cancel safety
    /// It may be dropped at any time.
    pub(crate) async fn check(
        &self,
        from: PeerKey,
        put: &PutRequest,
        me: PeerKey,
    ) -> Result<Vec<PeerKey>, Refusal> {
        let address = put.leaf.address;
        let mut known =
            self.peers.known_closest(address, NEIGHBOURHOOD).await.map_err(|error| {
                tracing::warn!(%error, "the nearest peers are not known");
                busy()
            })?;
        if checks::near(put, me, &known).is_ok() {
            return Ok(known);
        }
        known.extend(self.search(from, address).await?);
        checks::near(put, me, &known)?;
        Ok(known)
    }

    async fn search(&self, from: PeerKey, address: ChunkAddress) -> Result<Vec<PeerKey>, Refusal> {
        let slot = self.begin(from)?;
        let found = self.peers.closest(address, NEIGHBOURHOOD).await;
        drop(slot);
        found.map_err(|error| {
            tracing::warn!(%error, "the nearest peers cannot be searched for");
            busy()
        })
    }

    fn begin(&self, from: PeerKey) -> Result<Searching<'_>, Refusal> {
        let searching = self.searching.fetch_add(1, Ordering::Relaxed);
        // Counts itself out again, also when it is one too many.
        let slot = Searching(&self.searching);
        if searching >= MAX_SEARCHES {
            return Err(busy());
        }
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(from, 1, self.clock.monotonic()).map_err(busy_for)?;
        Ok(slot)
    }
}
