use std::{borrow::Cow, fmt, sync::LazyLock, time::Duration};

use alloy::{
    network::Ethereum,
    primitives::{B256, Bytes, U64, U256, aliases::U40, keccak256},
    providers::{Provider, RootProvider},
    rpc::{
        client::RpcClient,
        json_rpc::{RpcRecv, RpcSend},
    },
    sol_types::SolCall,
    transports::http::reqwest::{Client, Url, redirect::Policy},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spillway_types::{
    Atto, DrawSet, EvmAddress, PaymentId, RewardAddress, Seed, TxHash, UnixTime, Wei,
};

use crate::{
    At, BeaconState, Block, Call, Chain, ChainError, Fees, Gate, Gauge, RecordAt, TxReceipt,
    Windows,
    contracts::{
        IBeacon, IDrandBeacon, IToken, IVault, address, atto, id_word, payee_address, recorded,
        settled,
    },
    events::RpcLog,
    rpc_error::{Said, read_error, unexpected},
    rpc_transport::RpcTransport,
};

/// Questions to RPC servers of one process that are on their way at once. Public servers answer tens a
/// second; an answer is at most 8 MiB and usually some hundred bytes.
pub const MAX_RPC_CALLS: u32 = 32;

/// How long is waited before a question is asked again: enough for a connection that broke, and for most
/// limits, which are by the second. Who is refused for longer decides himself.
const READ_DELAYS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

static CALLS: LazyLock<Gate> = LazyLock::new(|| Gate::new(MAX_RPC_CALLS));

/// How many questions to RPC servers this process has on their way, over all its chains.
pub fn rpc_calls() -> Gauge {
    CALLS.gauge()
}

/// How an RPC server is asked.
#[derive(Clone)]
pub struct RpcOptions {
    /// Its URL, `http` or `https`; it may hold credentials, which are never shown.
    pub url: String,
    /// How long one answer may take.
    pub timeout: Duration,
}

impl RpcOptions {
    /// How long one answer may take if nothing else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(20);

    /// This URL, the usual timeout.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), timeout: Self::TIMEOUT }
    }
}

impl fmt::Debug for RpcOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcOptions").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// A chain behind a JSON-RPC server. Every question goes to the server: nothing is cached, nonces
/// least of all.
pub struct RpcChain {
    provider: RootProvider<Ethereum>,
    endpoint: String,
    timeout: Duration,
}

/// What is read of a block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RpcBlock {
    number: U64,
    hash: B256,
    timestamp: U64,
    base_fee_per_gas: Option<U256>,
}

/// What is read of a receipt.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RpcReceipt {
    status: Option<U64>,
    block_number: Option<U64>,
    gas_used: U256,
    effective_gas_price: Option<U256>,
    /// What a rollup takes for publishing the transaction, on top of gas.
    l1_fee: Option<U256>,
    #[serde(default)]
    logs: Vec<RpcLog>,
}

impl RpcBlock {
    fn place(&self) -> Block {
        Block { number: self.number.to(), time: UnixTime(self.timestamp.to()) }
    }
}

impl RpcChain {
    /// A chain behind this server. Nothing is asked yet.
    ///
    /// # Errors
    /// [`ChainError::BadUrl`].
    pub fn new(options: RpcOptions) -> Result<Self, ChainError> {
        let bad = |reason| ChainError::BadUrl { reason };
        let url = Url::parse(options.url.trim()).map_err(|_| bad("it is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("it must start with http:// or https://"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(bad("it names no host"))?;
        let endpoint = match url.port() {
            Some(port) => format!("{}://{host}:{port}", url.scheme()),
            None => format!("{}://{host}", url.scheme()),
        };
        let local = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        let mut builder =
            Client::builder().connect_timeout(options.timeout).redirect(Policy::none());
        if local {
            // A proxy for the world is none for this machine.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|_| bad("no connection can be set up for it"))?;
        let client = RpcClient::new(RpcTransport::new(client, url), local);
        Ok(Self { provider: RootProvider::new(client), endpoint, timeout: options.timeout })
    }

    /// The server, without credentials: scheme, host and port.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// One question, one answer, within the deadline.
    async fn ask<P, R>(&self, method: &'static str, params: P) -> Result<R, Said>
    where
        P: RpcSend,
        R: RpcRecv,
    {
        // What waits here has asked nothing yet: its time has not begun.
        let _place = CALLS.enter(1).await;
        let call = self.provider.raw_request::<P, R>(Cow::Borrowed(method), params);
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(read_error(method, &self.endpoint, &error)),
            Err(_) => Err(Said::Error(ChainError::Timeout {
                endpoint: self.endpoint.clone(),
                after: self.timeout,
            })),
        }
    }

    /// [`RpcChain::ask`] for a question that may be asked again: where "already known" makes no sense.
    /// A connection that breaks or a server that asks for patience is asked twice more.
    pub(crate) async fn read<P, R>(&self, method: &'static str, params: P) -> Result<R, ChainError>
    where
        P: RpcSend,
        R: RpcRecv,
    {
        let mut delays = READ_DELAYS.into_iter();
        loop {
            let error = match self.ask(method, params.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(Said::Error(error)) => error,
                Err(Said::AlreadyKnown) => return Err(unexpected(method, "already known")),
            };
            let again = matches!(error, ChainError::Unreachable { .. } | ChainError::RateLimited);
            let Some(delay) = delays.next().filter(|_| again) else { return Err(error) };
            tracing::debug!(method, %error, "asking again");
            tokio::time::sleep(delay).await;
        }
    }

    async fn raw_block(&self, tag: Value) -> Result<RpcBlock, ChainError> {
        self.read::<_, Option<RpcBlock>>("eth_getBlockByNumber", (tag, false))
            .await?
            .ok_or(ChainError::Behind)
    }

    /// The time that a block mined now would have, as the server says.
    pub(crate) async fn pending_time(&self) -> Result<UnixTime, ChainError> {
        Ok(self.raw_block("pending".into()).await?.place().time)
    }

    /// The beacon's seed for the time `after`; `None` while it is not known.
    pub(crate) async fn seed_after(
        &self,
        beacon: EvmAddress,
        after: UnixTime,
    ) -> Result<Option<Seed>, ChainError> {
        let seed = self.latest(beacon, IBeacon::seedAfterCall { t: U256::from(after.0) }).await?;
        Ok((!seed.is_zero()).then_some(Seed(seed.0)))
    }

    async fn block_at(&self, at: At) -> Result<RpcBlock, ChainError> {
        match at {
            At::Finalized => self.raw_block("finalized".into()).await,
            At::Depth(0) => self.raw_block("latest".into()).await,
            At::Depth(depth) => {
                let newest: u64 = self.read::<_, U64>("eth_blockNumber", ()).await?.to();
                let number = newest.saturating_sub(depth.into());
                self.raw_block(format!("{number:#x}").into()).await
            }
        }
    }

    /// A view function's answer, at a block that the server understands.
    async fn view<C: SolCall>(
        &self,
        to: EvmAddress,
        call: C,
        block: impl Serialize,
    ) -> Result<C::Return, ChainError> {
        const METHOD: &str = "eth_call";
        let request = json!({ "to": address(to), "input": Bytes::from(call.abi_encode()) });
        let answer: Bytes = self.read(METHOD, json!([request, block])).await?;
        C::abi_decode_returns(&answer)
            .map_err(|_| unexpected(METHOD, &format!("{answer} to {}", C::SIGNATURE)))
    }

    /// The vault's beacon, and the time after which its seed draws the batches of this `upload_by`.
    async fn draw_of(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<(EvmAddress, U256), ChainError> {
        let (beacon, delay) = futures::try_join!(
            self.latest(vault, IVault::beaconCall {}),
            self.latest(vault, IVault::drawDelayCall {}),
        )?;
        let after = U256::from(upload_by.0).saturating_add(U256::from(delay));
        Ok((EvmAddress(beacon.into_array()), after))
    }

    async fn latest<C: SolCall>(&self, to: EvmAddress, call: C) -> Result<C::Return, ChainError> {
        self.view(to, call, "latest").await
    }
}

#[async_trait]
impl Chain for RpcChain {
    async fn chain_id(&self) -> Result<u64, ChainError> {
        Ok(self.read::<_, U64>("eth_chainId", ()).await?.to())
    }

    async fn has_code(&self, account: EvmAddress) -> Result<bool, ChainError> {
        let code: Bytes = self.read("eth_getCode", (address(account), "latest")).await?;
        Ok(!code.is_empty())
    }

    async fn block(&self, at: At) -> Result<Block, ChainError> {
        Ok(self.block_at(at).await?.place())
    }

    async fn fees(&self) -> Result<Fees, ChainError> {
        let block = self.block_at(At::Depth(0)).await?;
        let base = block
            .base_fee_per_gas
            .ok_or_else(|| unexpected("eth_getBlockByNumber", "no base fee: not EIP-1559"))?;
        let priority: U256 = self.read("eth_maxPriorityFeePerGas", ()).await?;
        Ok(Fees { base: Wei(base.saturating_to()), priority: Wei(priority.saturating_to()) })
    }

    async fn estimate_gas(&self, call: &Call) -> Result<u64, ChainError> {
        let request = json!({
            "from": address(call.from),
            "to": address(call.to),
            "input": Bytes::from(call.data.clone()),
        });
        Ok(self.read::<_, U256>("eth_estimateGas", (request,)).await?.saturating_to())
    }

    async fn pending_nonce(&self, account: EvmAddress) -> Result<u64, ChainError> {
        let params = (address(account), "pending");
        Ok(self.read::<_, U64>("eth_getTransactionCount", params).await?.to())
    }

    async fn coins(&self, account: EvmAddress) -> Result<Wei, ChainError> {
        let coins: U256 = self.read("eth_getBalance", (address(account), "latest")).await?;
        Ok(Wei(coins.saturating_to()))
    }

    async fn token(&self, vault: EvmAddress) -> Result<EvmAddress, ChainError> {
        Ok(EvmAddress(self.latest(vault, IVault::tokenCall {}).await?.into_array()))
    }

    async fn windows(&self, vault: EvmAddress) -> Result<Windows, ChainError> {
        let (min, max, draw_delay, claim) = futures::try_join!(
            self.latest(vault, IVault::minWindowCall {}),
            self.latest(vault, IVault::maxWindowCall {}),
            self.latest(vault, IVault::drawDelayCall {}),
            self.latest(vault, IVault::claimWindowCall {}),
        )?;
        let seconds = |window: U40| Duration::from_secs(window.to());
        Ok(Windows {
            min: seconds(min),
            max: seconds(max),
            draw_delay: seconds(draw_delay),
            claim: seconds(claim),
        })
    }

    async fn beacon(&self, vault: EvmAddress) -> Result<BeaconState, ChainError> {
        let beacon = EvmAddress(self.latest(vault, IVault::beaconCall {}).await?.into_array());
        let (epoch, latest) = futures::try_join!(
            self.latest(beacon, IBeacon::epochCall {}),
            self.latest(beacon, IBeacon::latestCall {}),
        )?;
        Ok(BeaconState {
            beacon,
            epoch: Duration::from_secs(epoch.saturating_to()),
            latest: UnixTime(latest.saturating_to()),
        })
    }

    async fn seed(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<Option<Seed>, ChainError> {
        let call = IVault::seedForCall { uploadBy: U40::saturating_from(upload_by.0) };
        let seed = self.latest(vault, call).await?;
        Ok((!seed.is_zero()).then_some(Seed(seed.0)))
    }

    async fn seed_of_proof(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
        proof: &[u8],
    ) -> Result<Option<Seed>, ChainError> {
        let (beacon, t) = self.draw_of(vault, upload_by).await?;
        let call = IBeacon::postCall { t, proof: Bytes::copy_from_slice(proof) };
        match self.latest(beacon, call).await {
            Ok(seed) => Ok((!seed.is_zero()).then_some(Seed(seed.0))),
            Err(ChainError::Reverted { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn drand_round(
        &self,
        vault: EvmAddress,
        upload_by: UnixTime,
    ) -> Result<Option<u64>, ChainError> {
        let (beacon, t) = self.draw_of(vault, upload_by).await?;
        let due = self.latest(beacon, IBeacon::boundaryCall { t }).await?;
        match self.latest(beacon, IDrandBeacon::roundOfCall { due }).await {
            Ok(round) => Ok(Some(round.saturating_to())),
            // A contract without this function.
            Err(ChainError::Reverted { .. } | ChainError::Unexpected { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn tokens(&self, token: EvmAddress, account: EvmAddress) -> Result<Atto, ChainError> {
        let call = IToken::balanceOfCall { account: address(account) };
        Ok(atto(self.latest(token, call).await?))
    }

    async fn allowance(
        &self,
        token: EvmAddress,
        owner: EvmAddress,
        spender: EvmAddress,
    ) -> Result<Atto, ChainError> {
        let call = IToken::allowanceCall { owner: address(owner), spender: address(spender) };
        Ok(atto(self.latest(token, call).await?))
    }

    async fn credit(&self, vault: EvmAddress, payee: RewardAddress) -> Result<Atto, ChainError> {
        let call = IVault::creditCall { payee: payee_address(payee) };
        Ok(atto(self.latest(vault, call).await?))
    }

    async fn record(
        &self,
        vault: EvmAddress,
        payment: PaymentId,
        at: At,
    ) -> Result<RecordAt, ChainError> {
        let block = self.block_at(at).await?;
        let call = IVault::recordsCall { id: id_word(payment) };
        // By hash (EIP-1898): the block that was named, whatever has happened since.
        match self.view(vault, call, json!({ "blockHash": block.hash })).await {
            Ok(word) => Ok(RecordAt {
                recorded: recorded(word),
                settled: settled(word),
                block: block.place(),
            }),
            Err(error) if at == At::Depth(0) => Err(error),
            Err(error @ ChainError::Unexpected { .. }) => {
                // An old block may be from before the vault.
                let params = (address(vault), json!({ "blockHash": block.hash }));
                let code: Bytes = self.read("eth_getCode", params).await?;
                let block = block.place();
                if code.is_empty() {
                    Ok(RecordAt { recorded: None, settled: DrawSet::default(), block })
                } else {
                    Err(error)
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn send_raw(&self, raw: &[u8]) -> Result<TxHash, ChainError> {
        let hash = TxHash(keccak256(raw).0);
        let params = (Bytes::copy_from_slice(raw),);
        match self.ask::<_, B256>("eth_sendRawTransaction", params).await {
            Ok(_) | Err(Said::AlreadyKnown) => Ok(hash),
            Err(Said::Error(error)) => Err(error),
        }
    }

    async fn receipt(&self, hash: TxHash) -> Result<Option<TxReceipt>, ChainError> {
        const METHOD: &str = "eth_getTransactionReceipt";
        let receipt: Option<RpcReceipt> = self.read(METHOD, (B256::new(hash.0),)).await?;
        let Some(receipt) = receipt else { return Ok(None) };
        // Some servers name transactions that still wait.
        let Some(block) = receipt.block_number else { return Ok(None) };
        let status = receipt.status.ok_or_else(|| unexpected(METHOD, "no status"))?;
        let price = receipt.effective_gas_price.unwrap_or_default();
        let cost = receipt
            .gas_used
            .saturating_mul(price)
            .saturating_add(receipt.l1_fee.unwrap_or_default());
        Ok(Some(TxReceipt {
            hash,
            success: !status.is_zero(),
            block: block.to(),
            gas_used: receipt.gas_used.saturating_to(),
            gas_cost: Wei(cost.saturating_to()),
            events: receipt.logs.iter().filter_map(RpcLog::event).collect(),
        }))
    }
}

impl fmt::Debug for RpcChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RpcChain({})", self.endpoint)
    }
}

/// Reads a result as everything that is asked for.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_any(result: &str) {
    let _ = serde_json::from_str::<U64>(result);
    let _ = serde_json::from_str::<U256>(result);
    let _ = serde_json::from_str::<B256>(result);
    let _ = serde_json::from_str::<Bytes>(result);
    let _ = serde_json::from_str::<RpcReceipt>(result);
    if let Ok(block) = serde_json::from_str::<RpcBlock>(result) {
        let _ = block.place();
    }
}
