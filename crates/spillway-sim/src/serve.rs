//! What stands before a node: it may die under a request, and some nodes lie.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use spillway_disk::{Clock, Fault, FaultPlan, Survival};
use spillway_net::{AdmittedPut, Serve};
use spillway_node::NodeService;
use spillway_types::{
    ChunkAddress, HasRequest, HasResponse, LeafHash, NetworkId, Nonce, OfferRequest, PaymentId,
    PeerKey, PeerSecret, PutRequest, PutResponse, QuoteAnswer, QuoteRequest, QuoteResponse,
    Receipt, ReceiptBody, Refusal, WinsRequest, WinsResponse,
};

use crate::{
    Sabotage, Strike,
    member::{Known, Member},
};

/// How long a node goes without hearing of the chain, as its followers would.
const HEARS_EVERY: Duration = Duration::from_secs(30);

/// How many times too high a price is.
const OVERPRICE: u128 = 1_000;

pub(crate) struct SimServe {
    member: Known,
    generation: u64,
    inner: Arc<NodeService>,
    /// When it heard of the chain, in seconds of its clock.
    heard: AtomicU64,
}

impl SimServe {
    pub(crate) fn new(member: Known, generation: u64, inner: Arc<NodeService>) -> Self {
        Self { member, generation, inner, heard: AtomicU64::new(0) }
    }

    /// The node, while it is the one that was asked. Of one that has died meanwhile nothing is heard.
    async fn member(&self) -> Arc<Member> {
        match self.member.upgrade() {
            Some(member) if member.alive().generation == self.generation => member,
            _ => pending().await,
        }
    }

    /// Whether a node that lies does so now.
    fn lies(member: &Member, strike: Strike) -> bool {
        let may = match strike {
            Strike::LieHollow | Strike::LieAlreadyStored | Strike::LieHas => member.lies.signs,
            Strike::LieOverpriced | Strike::LieForeignQuote | Strike::LieFewAnswers => {
                member.lies.prices
            }
            Strike::LieBusy | Strike::LieRefusal => member.lies.prices || member.lies.chunks,
            _ => member.lies.chunks,
        };
        may && member.fate().strikes(strike)
    }

    fn same(&self) -> Self {
        Self {
            member: self.member.clone(),
            generation: self.generation,
            inner: Arc::clone(&self.inner),
            heard: AtomicU64::new(0),
        }
    }

    async fn hear(&self, member: &Member) {
        let now = member.clock().monotonic().as_secs();
        if now.saturating_sub(self.heard.load(Ordering::Relaxed)) >= HEARS_EVERY.as_secs() {
            self.heard.store(now, Ordering::Relaxed);
            // What it does not hear now it hears at the next look.
            let _ = member.alive().batches.hear().await;
        }
    }
}

fn busy(member: &Member) -> Refusal {
    Refusal::Busy { after_ms: member.fate().draw(|random| random.u32(1..20_000)) }
}

/// Somebody that nobody knows.
fn stranger() -> PeerSecret {
    PeerSecret::from_seed(&[0xdd; 32])
}

/// Changes some prices as liars do.
fn lie_about_prices(member: &Member, nonce: Nonce, answers: &mut Vec<QuoteAnswer>) {
    for answer in answers.iter_mut() {
        let QuoteAnswer::Offered { quote, receipt } = answer else { continue };
        if SimServe::lies(member, Strike::LieOverpriced) {
            let mut terms = quote.terms;
            terms.price = terms.price.saturating_mul(OVERPRICE);
            *quote = terms.sign(&member.secret);
        }
        if SimServe::lies(member, Strike::LieForeignQuote) {
            let mut terms = quote.terms;
            *quote = if member.fate().draw(fastrand::Rng::bool) {
                terms.sign(&stranger())
            } else {
                terms.domain.network = NetworkId::named("another");
                terms.sign(&member.secret)
            };
        }
        if receipt.is_none() && SimServe::lies(member, Strike::LieAlreadyStored) {
            let terms = quote.terms;
            let body = ReceiptBody {
                domain: terms.domain,
                payment: PaymentId([0x5a; 32]),
                leaf: LeafHash([0xa5; 32]),
                address: terms.address,
                size: terms.size,
                time: terms.issued,
                nonce,
            };
            *receipt = Some(body.sign(&member.secret));
            member.claim(terms.address);
        }
    }
    if SimServe::lies(member, Strike::LieFewAnswers) {
        answers.pop();
    }
}

#[async_trait]
impl Serve for SimServe {
    async fn quote(&self, from: PeerKey, request: QuoteRequest) -> QuoteResponse {
        let member = self.member().await;
        if Self::lies(&member, Strike::LieBusy) {
            return QuoteResponse { answers: Err(busy(&member)) };
        }
        self.hear(&member).await;
        let nonce = request.nonce;
        let mut response = self.inner.quote(from, request).await;
        if let Ok(answers) = &mut response.answers {
            lie_about_prices(&member, nonce, answers);
        }
        self.member().await;
        response
    }

    async fn admit(
        &self,
        from: PeerKey,
        request: PutRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        let member = self.member().await;
        if Self::lies(&member, Strike::LieBusy) {
            return Err(busy(&member));
        }
        if Self::lies(&member, Strike::LieRefusal) {
            return Err(Refusal::StorageFailed);
        }
        self.hear(&member).await;
        let (address, said) = (request.leaf.address, said_by(&member, &request, Kind::Put));
        let inner = self.inner.admit(from, request).await;
        let error = inner.as_ref().err();
        member.fate().note(format_args!("node {} put {address}: {error:?}", member.index));
        Ok(Box::new(SimPut { serve: self.same(), inner: inner?, address, said }))
    }

    async fn admit_offer(
        &self,
        from: PeerKey,
        request: OfferRequest,
    ) -> Result<Box<dyn AdmittedPut>, Refusal> {
        let member = self.member().await;
        if Self::lies(&member, Strike::LieBusy) {
            return Err(busy(&member));
        }
        self.hear(&member).await;
        let put = &request.put;
        let (address, said) = (put.leaf.address, said_by(&member, put, Kind::Offer));
        let inner = self.inner.admit_offer(from, request).await;
        let error = inner.as_ref().err();
        member.fate().note(format_args!("node {} offer {address}: {error:?}", member.index));
        Ok(Box::new(SimPut { serve: self.same(), inner: inner?, address, said }))
    }

    async fn get(&self, from: PeerKey, address: ChunkAddress) -> Result<Option<Bytes>, Refusal> {
        let member = self.member().await;
        if Self::lies(&member, Strike::LieNotHere) {
            return Ok(None);
        }
        let found = self.inner.get(from, address).await?;
        if let (Some(chunk), true) = (&found, Self::lies(&member, Strike::LieBytes)) {
            let at = member.fate().draw(|random| random.usize(..chunk.len().max(1)));
            let mut bytes = chunk.to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1;
            }
            return Ok(Some(bytes.into()));
        }
        Ok(found)
    }

    async fn has(&self, from: PeerKey, request: HasRequest) -> HasResponse {
        let member = self.member().await;
        let addresses = request.addresses.clone();
        let mut response = self.inner.has(from, request).await;
        if let Ok(present) = &mut response.present {
            for (here, address) in present.iter_mut().zip(addresses) {
                if member.sabotage() == Some(Sabotage::SaysItHas) {
                    *here = true;
                } else if !*here && Self::lies(&member, Strike::LieHas) {
                    member.claim(address);
                    *here = true;
                } else if *here && Self::lies(&member, Strike::LieHasNot) {
                    *here = false;
                }
            }
        }
        response
    }

    async fn wins(&self, from: PeerKey, request: WinsRequest) -> WinsResponse {
        self.member().await;
        self.inner.wins(from, request).await
    }
}

struct SimPut {
    serve: SimServe,
    inner: Box<dyn AdmittedPut>,
    address: ChunkAddress,
    /// What a receipt would say of a node that may keep nothing.
    said: Option<Said>,
}

/// What a node says of a chunk that it throws away.
struct Said {
    body: ReceiptBody,
    /// Whoever judges knows that it lies.
    is_known: bool,
}

/// How a chunk comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Offer,
}

/// The receipt of a node that may throw away what it signs for; `None` of all others.
fn said_by(member: &Member, request: &PutRequest, kind: Kind) -> Option<Said> {
    let hollow = match member.sabotage() {
        Some(Sabotage::HollowNodes) => true,
        Some(Sabotage::HollowOffers) => kind == Kind::Offer,
        _ => false,
    };
    let says = hollow || SimServe::lies(member, Strike::LieHollow);
    says.then(|| {
        let body = ReceiptBody {
            domain: member.domain(),
            payment: request.proof.id(&member.domain()),
            leaf: request.leaf.hash(),
            address: request.leaf.address,
            size: request.size,
            time: member.clock().now(),
            nonce: request.nonce,
        };
        Said { body, is_known: !hollow }
    })
}

/// When a node dies that dies at a put.
#[derive(Clone, Copy, Debug)]
enum Dies {
    Before,
    /// At the Nth change of its disk.
    Within(u64),
    After,
}

impl SimPut {
    /// The node dies under this put.
    async fn die(self: Box<Self>, member: &Arc<Member>, body: Bytes) -> PutResponse {
        let (dies, survival) = member.fate().draw(|random| {
            let dies = match random.u8(..4) {
                0 => Dies::Before,
                1 => Dies::After,
                _ => Dies::Within(random.u64(1..=12)),
            };
            let survival = match random.u8(..3) {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                _ => Survival::Seeded(random.u64(..)),
            };
            (dies, survival)
        });
        if let Dies::Within(at) = dies {
            member.fail_disk(FaultPlan::onwards(at, Fault::Io));
        }
        if !matches!(dies, Dies::Before) {
            let _ = self.inner.store(body).await;
        }
        member.restart(survival).await;
        pending().await
    }

    /// What a liar makes of an honest receipt.
    fn falsified(member: &Member, receipt: &Receipt) -> Receipt {
        let mut body = receipt.body;
        if SimServe::lies(member, Strike::LieReceiptNonce) {
            body.nonce = Nonce([5; 16]);
            return body.sign(&member.secret);
        }
        if SimServe::lies(member, Strike::LieReceiptPayment) {
            body.payment = PaymentId([5; 32]);
            return body.sign(&member.secret);
        }
        if SimServe::lies(member, Strike::LieReceiptKey) {
            return body.sign(&stranger());
        }
        *receipt
    }
}

#[async_trait]
impl AdmittedPut for SimPut {
    async fn store(self: Box<Self>, body: Bytes) -> PutResponse {
        let member = self.serve.member().await;
        let fate = member.fate().clone();
        if fate.strikes(Strike::NodeCrash) {
            return self.die(&member, body).await;
        }
        if fate.strikes(Strike::NodeDiskFull) {
            member.fail_disk(FaultPlan::once(fate.draw(|random| random.u64(1..=6)), Fault::Full));
        } else if fate.strikes(Strike::NodeDiskError) {
            member.fail_disk(FaultPlan::once(fate.draw(|random| random.u64(1..=6)), Fault::Io));
        }
        let address = self.address;
        if let Some(said) = self.said {
            if said.is_known {
                member.claim(address);
            }
            return PutResponse { receipts: Ok(vec![said.body.sign(&member.secret)]) };
        }
        let (serve, had) = (self.serve, member.has(address));
        let mut response = self.inner.store(body).await;
        member.fate().note(format_args!(
            "node {} stored {address}: {:?}",
            member.index,
            response.receipts.as_ref().err()
        ));
        if let (true, Ok(receipts)) = (member.lies.chunks, &mut response.receipts) {
            for receipt in receipts {
                *receipt = Self::falsified(&member, receipt);
            }
        }
        serve.member().await;
        // What it had before somebody may have counted.
        if response.receipts.is_ok() && !had && member.loses() {
            member.lose(&[address]).await;
        }
        response
    }
}
