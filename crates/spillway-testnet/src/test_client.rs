use std::{path::Path, sync::Arc};

use spillway_client::{Client, ClientParts, Workers};
use spillway_disk::{Disk, RealDisk};
use spillway_net::{Net, NetOptions};
use spillway_pay::{PayTiming, Payments, PaymentsOptions, WalletError};
use spillway_types::PeerSecret;
use tokio_util::sync::CancellationToken;

use crate::{TestnetError, test_node::Shared};

/// A client in this process that follows the test network's clock, over real sockets.
#[derive(Debug)]
#[must_use = "shut it down"]
pub struct TestClient {
    client: Client,
    payments: Arc<Payments>,
    stop: CancellationToken,
    net: Net,
}

impl TestClient {
    pub(crate) async fn start(
        shared: &Shared,
        data_dir: &Path,
        wallet_locks: &Path,
        bootstrap: Vec<spillway_net::Address>,
        timing: PayTiming,
    ) -> Result<Self, TestnetError> {
        let data: Arc<dyn Disk> = Arc::new(RealDisk::create(data_dir)?);
        let payments = Arc::new(Payments::new(PaymentsOptions {
            chain: Arc::clone(&shared.chain),
            domain: shared.domain,
            token: None,
            clock: Arc::new(shared.clock.clone()),
            wallet_locks: Arc::new(RealDisk::create(wallet_locks)?),
            timing,
        }));
        let secret = PeerSecret::generate().map_err(|_| WalletError::NoRandomness)?;
        let transports = shared.options.transports;
        let options = NetOptions::client(secret, bootstrap);
        let net = Net::start(NetOptions { transports, ..options }).await?;
        net.bootstrapped().await?;
        let stop = CancellationToken::new();
        let client = Client::new(ClientParts {
            data,
            clock: Arc::new(shared.clock.clone()),
            peers: net.peers(),
            payments: Arc::clone(&payments),
            domain: shared.domain,
            stop: stop.clone(),
            workers: Workers::default(),
        });
        Ok(Self { client, payments, stop, net })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The vault and its chain.
    pub fn payments(&self) -> &Arc<Payments> {
        &self.payments
    }

    /// Its network.
    pub fn net(&self) -> &Net {
        &self.net
    }

    /// Cancelled, it interrupts what the client does, as Ctrl-C would.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Leaves the network.
    pub async fn shutdown(self) {
        self.net.shutdown().await;
    }
}
