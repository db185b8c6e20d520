use std::{sync::Arc, time::Duration};

use spillway_disk::run;
use spillway_net::{Net, NetOptions, Serve};
use spillway_node::{
    Batches, BatchesOptions, ChainClock, Follower, Identity, NodeError, NodeOptions, NodeService,
    ServiceOptions, Terms,
};
use spillway_store::{ChunkStore, FsStore, FsStoreOptions};

/// How long what it has under way may take when it ends.
const DRAIN: Duration = Duration::from_secs(5);

/// A node with something in front of what it answers: the parts of a [`spillway_node::Node`], put
/// together so that there is a place for it.
#[derive(Debug)]
pub(crate) struct HostileNode {
    pub(crate) store: Arc<FsStore>,
    pub(crate) net: Net,
    service: NodeService,
    batches: Batches,
    follower: Follower,
}

impl HostileNode {
    /// Starts it; `wrap` is given its honest self.
    pub(crate) async fn start(
        options: NodeOptions,
        wrap: impl FnOnce(Arc<dyn Serve>) -> Arc<dyn Serve>,
    ) -> Result<Self, NodeError> {
        let store = FsStoreOptions {
            capacity_bytes: options.capacity_bytes,
            disk_margin_bytes: options.disk_margin_bytes,
        };
        let store = Arc::new(FsStore::open(Arc::clone(&options.disk), store).await?);
        let identity = run(&options.disk, |disk| Ok(Identity::load_or_create(disk))).await??;
        let secret = identity.secret();
        let net = Net::start(NetOptions {
            external: options.external,
            transports: options.transports,
            limits: options.net_limits,
            ..NetOptions::node(secret.clone(), options.listen, options.bootstrap)
        })
        .await?;
        let terms = Terms {
            reward: options.reward,
            price: options.price,
            confirmations: options.confirmations,
            max_window: options.max_window,
            token_rate: options.token_rate,
            max_prize: options.max_prize,
            min_draw_delay: options.min_draw_delay,
        };
        let clock = ChainClock::new(options.clock);
        let batches = Batches::open(BatchesOptions {
            disk: options.disk,
            chain: Arc::clone(&options.chain),
            domain: options.domain,
            terms,
            clock: clock.clone(),
        })
        .await?;
        let chunks = Arc::clone(&store) as Arc<dyn ChunkStore>;
        let service = NodeService::new(ServiceOptions {
            secret: secret.clone(),
            domain: options.domain,
            terms,
            store: Arc::clone(&chunks),
            chain: options.chain,
            batches: batches.clone(),
            clock: clock.clone(),
            peers: net.peers(),
        });
        net.serve(wrap(Arc::new(service.clone())));
        let follower = Follower::start(batches.clone(), chunks, clock, options.head_poll);
        Ok(Self { store, net, service, batches, follower })
    }

    /// Hears the chain's news now, and notes or drops the wins that follow from them.
    pub(crate) async fn refresh(&self) -> Result<(), NodeError> {
        self.batches.hear().await?;
        self.batches.walk(self.store.as_ref()).await;
        self.batches.tend(self.store.as_ref()).await;
        Ok(())
    }

    /// Ends it in order.
    pub(crate) async fn shutdown(self) {
        self.service.drain(DRAIN).await;
        self.net.shutdown().await;
        self.follower.shutdown().await;
    }
}
