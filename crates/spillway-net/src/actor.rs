use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Swarm,
    core::upgrade::NegotiationError,
    identify,
    kad::{self, KBucketKey, QueryId},
    ping,
    request_response::{self, InboundRequestId, OutboundRequestId, ResponseChannel},
    swarm::{ConnectionId, SwarmEvent},
};
use spillway_types::{ChunkAddress, PeerKey};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    PeersError, RequestKind,
    behaviour::{Behaviour, BehaviourEvent, KAD_PROTOCOL, results},
    bootstrap::Bootstrap,
    command::{Ask, Command},
    exchange::{Exchange, Reply},
    gate::Gate,
    identity::{peer_id, peer_key},
    limits::{ADDRESSES_PER_PEER, BOOTSTRAP_INTERVAL},
    reach::Reach,
    view::View,
};

/// How long a shutdown waits for connections to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// How long answers that were written during a shutdown get to arrive. Neither transport tells when
/// they have, and closing a connection discards what is still on its way.
const LINGER: Duration = Duration::from_millis(500);

/// The swarm and everything that is under way in it. One task runs it: it waits for what is to be
/// done, then does it without waiting, so its state is never seen half-changed.
pub(crate) struct Actor {
    swarm: Swarm<Behaviour>,
    gate: Arc<Gate>,
    view: View,
    bootstrap: Bootstrap,
    commands: mpsc::Receiver<Command>,
    /// Requests of ours.
    asked: HashMap<OutboundRequestId, Asked>,
    /// Searches of ours.
    searches: HashMap<QueryId, Search>,
    /// Answers that are being made, bounded by the gate.
    answers: JoinSet<Answer>,
    /// Answers that are being written.
    unsent: HashSet<InboundRequestId>,
    /// Connections that do not leave this machine or its network.
    near: HashMap<ConnectionId, Reach>,
}

/// A request of ours that is under way.
struct Asked {
    peer: PeerKey,
    kind: RequestKind,
    answer: oneshot::Sender<Result<Reply, PeersError>>,
    /// Given back when the request has ended, whether or not anybody still waits for it.
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// A search of ours that is under way.
struct Search {
    address: ChunkAddress,
    count: usize,
    answer: oneshot::Sender<Vec<PeerKey>>,
    _place: OwnedSemaphorePermit,
}

/// An answer that was made.
struct Answer {
    request: InboundRequestId,
    channel: ResponseChannel<Reply>,
    reply: Reply,
}

/// What is to be done next.
enum Action {
    Event(Box<SwarmEvent<BehaviourEvent>>),
    Command(Command),
    Answered(Answer),
    Redial,
    Stop,
    Nothing,
}

impl Actor {
    pub(crate) fn new(
        swarm: Swarm<Behaviour>,
        gate: Arc<Gate>,
        view: View,
        bootstrap: Bootstrap,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            swarm,
            gate,
            view,
            bootstrap,
            commands,
            asked: HashMap::new(),
            searches: HashMap::new(),
            answers: JoinSet::new(),
            unsent: HashSet::new(),
            near: HashMap::new(),
        }
    }

    /// Runs until `stop`, then lets what is under way finish.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        // The first tick is at once.
        let mut redial = interval(BOOTSTRAP_INTERVAL);
        redial.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.next(&stop, &mut redial).await {
                Action::Stop => break,
                action => self.apply(action),
            }
        }
        self.drain().await;
    }

    /// What is to be done next. Dropping the call loses nothing.
    async fn next(&mut self, stop: &CancellationToken, redial: &mut Interval) -> Action {
        tokio::select! {
            () = stop.cancelled() => Action::Stop,
            event = self.swarm.select_next_some() => Action::Event(Box::new(event)),
            Some(answer) = self.answers.join_next() => answered(answer),
            command = self.commands.recv() => command.map_or(Action::Stop, Action::Command),
            _ = redial.tick() => Action::Redial,
        }
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Event(event) => self.on_event(*event),
            Action::Command(Command::Ask(ask)) => self.ask(ask),
            Action::Command(Command::Closest { address, count, answer, place }) => {
                let key = address.as_bytes().to_vec();
                let id = self.swarm.behaviour_mut().kad.get_n_closest_peers(key, results(count));
                self.searches.insert(id, Search { address, count, answer, _place: place });
            }
            Action::Command(Command::KnownClosest { address, count, answer }) => {
                // Who asked may have gone.
                let _ = answer.send(self.known_closest(address, count));
            }
            Action::Answered(answer) => self.send(answer),
            Action::Redial => self.bootstrap.dial(&mut self.swarm),
            Action::Stop | Action::Nothing => {}
        }
    }

    fn ask(&mut self, ask: Ask) {
        let Ask { peer, kind, outgoing, answer, places } = ask;
        let request = Exchange::Outgoing(outgoing);
        let id = self.swarm.behaviour_mut().chunk.inner().send_request(&peer_id(peer), request);
        self.asked.insert(id, Asked { peer, kind, answer, _places: places });
    }

    fn send(&mut self, answer: Answer) {
        let Answer { request, channel, reply } = answer;
        // An error: the connection is gone, and the one who asked with it.
        if self.swarm.behaviour_mut().chunk.inner().send_response(channel, reply).is_ok() {
            self.unsent.insert(request);
        }
    }

    fn known_closest(&mut self, address: ChunkAddress, count: usize) -> Vec<PeerKey> {
        let target = KBucketKey::new(address.as_bytes().to_vec());
        let nearest = self.swarm.behaviour_mut().kad.get_closest_local_peers(&target);
        nearest.filter_map(|peer| peer_key(peer.preimage())).take(count).collect()
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Chunk(event)) => self.on_chunk(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.on_kad(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout),
                ..
            })) => {
                self.swarm.close_connection(connection);
            }
            SwarmEvent::ConnectionEstablished { connection_id, endpoint, .. } => {
                let reach = Reach::of(endpoint.get_remote_address());
                if let Some(reach @ (Reach::Machine | Reach::Site)) = reach {
                    self.near.insert(connection_id, reach);
                }
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => {
                self.near.remove(&connection_id);
            }
            SwarmEvent::NewListenAddr { .. } | SwarmEvent::ExpiredListenAddr { .. } => {
                self.view.set_listening(self.swarm.listeners());
            }
            // Kademlia forgets addresses that cannot be dialled.
            SwarmEvent::OutgoingConnectionError { peer_id, error, .. } => {
                tracing::debug!(?peer_id, %error, "cannot dial");
                let known = self.count_known();
                self.bootstrap.met(&mut self.swarm, known);
            }
            SwarmEvent::IncomingConnectionError { peer_id, error, .. } => {
                tracing::debug!(?peer_id, %error, "connection refused");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listener"),
            _ => {}
        }
    }

    fn on_chunk(&mut self, event: request_response::Event<Exchange, Reply>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request_id, request, channel } => {
                    if let Some(from) = peer_key(&peer) {
                        self.answer(from, request_id, request, channel);
                    }
                }
                request_response::Message::Response { request_id, response } => {
                    self.finish(request_id, |_| Ok(response));
                }
            },
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                let deadlines = self.gate.deadlines.clone();
                self.finish(request_id, |asked| {
                    Err(failed(asked.peer, deadlines.of(asked.kind), error))
                });
            }
            request_response::Event::InboundFailure { request_id, peer, error, .. } => {
                tracing::trace!(%peer, %error, "answer not sent");
                self.unsent.remove(&request_id);
            }
            request_response::Event::ResponseSent { request_id, .. } => {
                self.unsent.remove(&request_id);
            }
        }
    }

    /// Begins to answer a request. Each holds a place of the gate's, so their number is bounded.
    fn answer(
        &mut self,
        from: PeerKey,
        request: InboundRequestId,
        exchange: Exchange,
        channel: ResponseChannel<Reply>,
    ) {
        let gate = Arc::clone(&self.gate);
        match exchange {
            Exchange::Refused(response) => {
                self.send(Answer { request, channel, reply: Reply::bare(response) });
            }
            Exchange::Asked(asked) => {
                self.answers.spawn(async move {
                    let reply = gate.answer(from, *asked).await;
                    Answer { request, channel, reply }
                });
            }
            Exchange::Put(put) => {
                self.answers.spawn(async move {
                    let reply = gate.store(put).await;
                    Answer { request, channel, reply }
                });
            }
            // Only written, never read.
            Exchange::Outgoing(_) => {}
        }
    }

    fn finish(
        &mut self,
        request: OutboundRequestId,
        result: impl FnOnce(&Asked) -> Result<Reply, PeersError>,
    ) {
        if let Some(asked) = self.asked.remove(&request) {
            let result = result(&asked);
            // Who asked may have given up.
            let _ = asked.answer.send(result);
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed {
                id,
                result: kad::QueryResult::GetClosestPeers(result),
                ..
            } => {
                let Some(search) = self.searches.remove(&id) else { return };
                // What answered before the deadline is better than nothing.
                let (Ok(kad::GetClosestPeersOk { peers, .. })
                | Err(kad::GetClosestPeersError::Timeout { peers, .. })) = result;
                let local = *self.swarm.local_peer_id();
                let mut nearest: Vec<_> = peers
                    .iter()
                    .filter(|peer| peer.peer_id != local)
                    .filter_map(|peer| peer_key(&peer.peer_id))
                    .collect();
                nearest.sort_by_cached_key(|peer| peer.distance(&search.address));
                nearest.dedup();
                nearest.truncate(search.count);
                let _ = search.answer.send(nearest);
            }
            kad::Event::OutboundQueryProgressed {
                result: kad::QueryResult::Bootstrap(_), ..
            } => {
                // Nobody known: the search ends at once and says nothing.
                let known = self.count_known();
                self.view.set_bootstrapped(known > 0);
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => {
                let known = self.count_known();
                self.bootstrap.met(&mut self.swarm, known);
            }
            // Nothing is stored, and nothing else needs doing.
            _ => {}
        }
    }

    fn count_known(&mut self) -> usize {
        let known = self.swarm.behaviour_mut().kad.kbuckets().map(|b| b.num_entries()).sum();
        self.view.set_known(known);
        known
    }

    /// A node tells where it listens, so that Kademlia can pass it on.
    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { connection_id, peer_id, info } = event else { return };
        if peer_key(&peer_id).is_none() || !info.protocols.contains(&KAD_PROTOCOL) {
            return;
        }
        let over = self.near.get(&connection_id).copied().unwrap_or(Reach::World);
        for address in info.listen_addrs.into_iter().take(ADDRESSES_PER_PEER) {
            // Another machine's own loopback would be this machine.
            if over.believes(&address) {
                self.swarm.behaviour_mut().kad.add_address(&peer_id, address);
            }
        }
    }

    /// Lets what is under way finish, then says goodbye.
    async fn drain(mut self) {
        let deadline = Instant::now() + self.gate.deadlines.drain;
        self.gate.set(None);
        self.commands.close();
        let answering = !(self.answers.is_empty() && self.unsent.is_empty());
        while !(self.answers.is_empty() && self.unsent.is_empty() && self.asked.is_empty()) {
            if !self.drain_one(deadline).await {
                break;
            }
        }
        if answering {
            let lingered = deadline.min(Instant::now() + LINGER);
            while self.drain_one(lingered).await {}
        }
        self.answers.shutdown().await;
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error: it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let goodbye = Instant::now() + GOODBYE;
        while self.swarm.network_info().num_peers() > 0 {
            if timeout_at(goodbye, self.swarm.select_next_some()).await.is_err() {
                break;
            }
        }
    }

    /// Does one thing more, unless `deadline` comes first.
    async fn drain_one(&mut self, deadline: Instant) -> bool {
        let next = async {
            tokio::select! {
                event = self.swarm.select_next_some() => Action::Event(Box::new(event)),
                Some(answer) = self.answers.join_next() => answered(answer),
            }
        };
        let Ok(action) = timeout_at(deadline, next).await else { return false };
        self.apply(action);
        true
    }
}

fn answered(answer: Result<Answer, tokio::task::JoinError>) -> Action {
    match answer {
        Ok(answer) => Action::Answered(answer),
        Err(error) => {
            // The peer sees its request reset; the others are answered as before.
            tracing::error!(%error, "an answer could not be made");
            Action::Nothing
        }
    }
}

fn is_negotiation(error: &std::io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<NegotiationError>())
}

/// Why a request of ours failed.
fn failed(
    peer: PeerKey,
    deadline: Duration,
    error: request_response::OutboundFailure,
) -> PeersError {
    use request_response::OutboundFailure as Failure;
    tracing::debug!(%peer, %error, "request failed");
    match error {
        Failure::DialFailure => PeersError::Unreachable { peer },
        Failure::Timeout => PeersError::Timeout { peer, after: deadline },
        Failure::ConnectionClosed => PeersError::Broken { peer },
        Failure::UnsupportedProtocols => PeersError::Protocol { peer },
        // With lazy negotiation the peer's "no" to the protocol comes when its answer is read.
        Failure::Io(error) if is_negotiation(&error) => PeersError::Protocol { peer },
        Failure::Io(error) => match error.kind() {
            std::io::ErrorKind::TimedOut => PeersError::Timeout { peer, after: deadline },
            std::io::ErrorKind::InvalidData => PeersError::Protocol { peer },
            _ => PeersError::Broken { peer },
        },
    }
}
