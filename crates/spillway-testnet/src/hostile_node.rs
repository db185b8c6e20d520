use std::{sync::Arc, time::Duration};

use spillway_disk::run;
use spillway_net::{Net, NetOptions, Serve};
use spillway_node::{
    ChainClock, Identity, NodeError, NodeOptions, NodeService, ServiceOptions, Terms,
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
        let service = NodeService::new(ServiceOptions {
            secret: secret.clone(),
            domain: options.domain,
            terms: Terms {
                price: options.price,
                confirmations: options.confirmations,
                max_window: options.max_window,
                ..Terms::new(options.reward)
            },
            store: Arc::clone(&store) as Arc<dyn ChunkStore>,
            chain: options.chain,
            clock: ChainClock::new(options.clock),
            peers: net.peers(),
        });
        net.serve(wrap(Arc::new(service.clone())));
        Ok(Self { store, net, service })
    }

    /// Ends it in order.
    pub(crate) async fn shutdown(self) {
        self.service.drain(DRAIN).await;
        self.net.shutdown().await;
    }
}
