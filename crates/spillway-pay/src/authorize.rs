//! Paying for batches with signatures of the token instead of an allowance: EIP-2612 permits and
//! EIP-3009 transfers, as typed data (EIP-712) that a wallet or an external signer signs.
//!
//! Owns what is signed and the three calls of the vault that use it. Sends nothing, and
//! [`Payments`](crate::Payments) never uses it by itself: not every token has these functions.
//!
//! A signature is as good as the money that it names: whoever has an EIP-3009 signature can bring
//! the payment about, once, until the plan's `valid_until`; whoever has a permit can only give the
//! vault its allowance, and the vault takes from it for calls of the payer alone. Both fix the
//! amount; an EIP-3009 signature also fixes the batches, because its nonce is made of their ids.
//!
//! Unlike transactions, signatures are in no [`TxJournal`](crate::TxJournal): nothing here remembers
//! them. Whoever signs writes the plan and the signature down durably before the signature leaves
//! the process, and takes the plan for signed from then on: it may be paid, by anybody, until its
//! `valid_until`, so its chunks are planned anew only after
//! [`PlanStatus::Dropped`](crate::PlanStatus::Dropped). [`Payments::pay`](crate::Payments::pay) may
//! pay the same plan meanwhile: the vault takes an id once.
//!
//! A permit sets the allowance and adds nothing to it: one of a smaller amount lowers what other
//! sessions of the payer count on, whose payments then fail and raise it again.

mod error;

use alloy::{
    primitives::{B256, Bytes, U256, keccak256},
    sol,
    sol_types::{Eip712Domain, SolCall, SolStruct},
};
use serde_json::{Value, json};
use spillway_types::{Atto, BatchTerms, EvmAddress, limits::MAX_COMMITS};

use crate::{
    Call, Chain, ChainError, Plan, RpcChain, Wallet,
    calls::seconds,
    contracts::{IVault, address, batch},
    rpc_error::unexpected,
    verify,
};

pub use self::error::AuthorizeError;

sol! {
    #[derive(Debug, PartialEq, Eq)]
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }

    #[derive(Debug, PartialEq, Eq)]
    struct ReceiveWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }

    /// What a token that takes signatures says of itself.
    interface ISigned {
        function eip712Domain() external view returns (
            bytes1 fields,
            string name,
            string version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] extensions
        );
        function DOMAIN_SEPARATOR() external view returns (bytes32);
        function name() external view returns (string);
        function nonces(address owner) external view returns (uint256);
    }
}

/// The version in the EIP-712 domain of a token that does not say it.
const USUAL_VERSION: &str = "1";

/// Longest name or version of a token, in bytes: what a token answers is not to be trusted.
const MAX_NAME_BYTES: usize = 256;

/// The EIP-712 domain of a token: which signatures it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenDomain {
    chain_id: u64,
    domain: Eip712Domain,
}

impl TokenDomain {
    /// Asks the token: with `eip712Domain` (EIP-5267), or by its name, version "1", when it has no
    /// such function. What it says is compared with its `DOMAIN_SEPARATOR` (EIP-2612), when it has
    /// one: otherwise it would take no signature for this domain.
    ///
    /// # Errors
    /// When it cannot be asked, names another chain or contract than it is, or has another
    /// separator: then its version is another one, for [`TokenDomain::new`] to be told.
    pub async fn read(chain: &RpcChain, token: EvmAddress) -> Result<Self, AuthorizeError> {
        let chain_id = chain.chain_id().await?;
        let read = match view(chain, token, ISigned::eip712DomainCall {}).await {
            Ok(said) => Self::said(chain_id, token, said)?,
            Err(ChainError::Reverted { .. } | ChainError::Unexpected { .. }) => {
                let name = view(chain, token, ISigned::nameCall {}).await?;
                Self::new(&name, USUAL_VERSION, chain_id, token)?
            }
            Err(error) => return Err(error.into()),
        };
        match view(chain, token, ISigned::DOMAIN_SEPARATORCall {}).await {
            Ok(separator) if separator != read.domain.separator() => {
                Err(AuthorizeError::OtherSeparator { token })
            }
            Ok(_) | Err(ChainError::Reverted { .. } | ChainError::Unexpected { .. }) => Ok(read),
            Err(error) => Err(error.into()),
        }
    }

    /// The domain of a token that is known.
    ///
    /// # Errors
    /// [`AuthorizeError::UnknownDomain`] for a name or version over 256 bytes.
    pub fn new(
        name: &str,
        version: &str,
        chain_id: u64,
        token: EvmAddress,
    ) -> Result<Self, AuthorizeError> {
        if name.len().max(version.len()) > MAX_NAME_BYTES {
            return Err(AuthorizeError::UnknownDomain);
        }
        let domain = Eip712Domain {
            name: Some(name.to_owned().into()),
            version: Some(version.to_owned().into()),
            chain_id: Some(U256::from(chain_id)),
            verifying_contract: Some(address(token)),
            salt: None,
        };
        Ok(Self { chain_id, domain })
    }

    fn said(
        chain_id: u64,
        token: EvmAddress,
        said: ISigned::eip712DomainReturn,
    ) -> Result<Self, AuthorizeError> {
        // Name, version, chain and contract, as EIP-2612 and EIP-3009 have it; a salt or anything
        // else means something that is not known here.
        if said.fields.0 != [0x0f] || !said.extensions.is_empty() {
            return Err(AuthorizeError::UnknownDomain);
        }
        if said.chainId != U256::from(chain_id) || said.verifyingContract != address(token) {
            return Err(AuthorizeError::ForeignDomain {
                token,
                chain_id,
                found: EvmAddress(said.verifyingContract.into_array()),
                found_chain: said.chainId.saturating_to(),
            });
        }
        Self::new(&said.name, &said.version, chain_id, token)
    }
}

/// How many permits of an account the token has used: the nonce of the next.
///
/// # Errors
/// When the token cannot be asked or has no permits.
pub async fn permit_nonce(
    chain: &RpcChain,
    token: EvmAddress,
    owner: EvmAddress,
) -> Result<u64, ChainError> {
    let nonce = view(chain, token, ISigned::noncesCall { owner: address(owner) }).await?;
    nonce.try_into().map_err(|_| unexpected("eth_call", "a nonce over 64 bits"))
}

/// What a payer signs: typed data of EIP-712.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedData {
    payer: EvmAddress,
    domain: Eip712Domain,
    message: Message,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Message {
    Permit(Permit),
    Receive(ReceiveWithAuthorization),
}

impl TypedData {
    /// A permit (EIP-2612) for the vault to take what this batch costs, until its `valid_until`.
    /// `nonce` is that of [`permit_nonce`].
    ///
    /// # Errors
    /// When the plan is no sound batch of the token's chain.
    pub fn permit(token: &TokenDomain, plan: &Plan, nonce: u64) -> Result<Self, AuthorizeError> {
        let (_, amount) = checked(token, &[plan])?;
        let message = Message::Permit(Permit {
            owner: address(plan.payer),
            spender: address(plan.domain.vault),
            value: U256::from(amount.0),
            nonce: U256::from(nonce),
            deadline: U256::from(seconds(plan.valid_until)),
        });
        Ok(Self { payer: plan.payer, domain: token.domain.clone(), message })
    }

    /// A transfer (EIP-3009) to the vault of what this batch costs; its nonce is the batch's id.
    ///
    /// # Errors
    /// When the plan is no sound batch of the token's chain.
    pub fn receive(token: &TokenDomain, plan: &Plan) -> Result<Self, AuthorizeError> {
        let (_, amount) = checked(token, &[plan])?;
        Ok(Self::transfer(token, plan, amount, B256::new(plan.id().0)))
    }

    /// A transfer (EIP-3009) to the vault of what these batches cost together; its nonce is the
    /// hash of their ids, in their order.
    ///
    /// # Errors
    /// When they are not 1 to [`MAX_COMMITS`] sound batches of one payer, deadline and vault on the
    /// token's chain.
    pub fn receive_many(token: &TokenDomain, plans: &[&Plan]) -> Result<Self, AuthorizeError> {
        let (first, amount) = checked(token, plans)?;
        let ids: Vec<u8> = plans.iter().flat_map(|plan| plan.id().0).collect();
        Ok(Self::transfer(token, first, amount, keccak256(ids)))
    }

    fn transfer(token: &TokenDomain, plan: &Plan, amount: Atto, nonce: B256) -> Self {
        let message = Message::Receive(ReceiveWithAuthorization {
            from: address(plan.payer),
            to: address(plan.domain.vault),
            value: U256::from(amount.0),
            validAfter: U256::ZERO,
            // The first second that is too late.
            validBefore: U256::from(seconds(plan.valid_until)) + U256::ONE,
            nonce,
        });
        Self { payer: plan.payer, domain: token.domain.clone(), message }
    }

    /// Who must sign it.
    pub fn payer(&self) -> EvmAddress {
        self.payer
    }

    /// What is signed in the end.
    pub fn digest(&self) -> [u8; 32] {
        match &self.message {
            Message::Permit(permit) => permit.eip712_signing_hash(&self.domain).0,
            Message::Receive(receive) => receive.eip712_signing_hash(&self.domain).0,
        }
    }

    /// As wallets take it (`eth_signTypedData_v4`).
    pub fn json(&self) -> Value {
        let field = |name: &str, kind: &str| json!({ "name": name, "type": kind });
        let (primary, fields, message) = match &self.message {
            Message::Permit(permit) => (
                "Permit",
                vec![
                    field("owner", "address"),
                    field("spender", "address"),
                    field("value", "uint256"),
                    field("nonce", "uint256"),
                    field("deadline", "uint256"),
                ],
                json!({
                    "owner": permit.owner.to_string(),
                    "spender": permit.spender.to_string(),
                    "value": permit.value.to_string(),
                    "nonce": permit.nonce.to_string(),
                    "deadline": permit.deadline.to_string(),
                }),
            ),
            Message::Receive(receive) => (
                "ReceiveWithAuthorization",
                vec![
                    field("from", "address"),
                    field("to", "address"),
                    field("value", "uint256"),
                    field("validAfter", "uint256"),
                    field("validBefore", "uint256"),
                    field("nonce", "bytes32"),
                ],
                json!({
                    "from": receive.from.to_string(),
                    "to": receive.to.to_string(),
                    "value": receive.value.to_string(),
                    "validAfter": receive.validAfter.to_string(),
                    "validBefore": receive.validBefore.to_string(),
                    "nonce": receive.nonce.to_string(),
                }),
            ),
        };
        let domain_fields = vec![
            field("name", "string"),
            field("version", "string"),
            field("chainId", "uint256"),
            field("verifyingContract", "address"),
        ];
        json!({
            "types": { "EIP712Domain": domain_fields, primary: fields },
            "primaryType": primary,
            "domain": {
                "name": self.domain.name,
                "version": self.domain.version,
                "chainId": self.domain.chain_id.map(|id| id.to_string()),
                "verifyingContract": self.domain.verifying_contract.map(|to| to.to_string()),
            },
            "message": message,
        })
    }

    /// Signs it. From the moment that the signature leaves the process the plan may be paid by
    /// anybody who has it: it is to be written down before that, with the plan; see the module.
    ///
    /// # Errors
    /// [`AuthorizeError::WrongWallet`] when another account must sign it.
    pub fn sign(&self, wallet: &Wallet) -> Result<TokenSignature, AuthorizeError> {
        if wallet.address() != self.payer {
            let (payer, wallet) = (self.payer, wallet.address());
            return Err(AuthorizeError::WrongWallet { payer, wallet });
        }
        Ok(wallet.sign_digest(self.digest()))
    }
}

/// A signature over typed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSignature {
    /// 27 or 28.
    pub v: u8,
    /// The first half.
    pub r: [u8; 32],
    /// The second half.
    pub s: [u8; 32],
}

/// The call that pays a batch with a permit; only the payer may send it. When somebody else has
/// sent the permit to the token before, the allowance is there and it works all the same.
///
/// # Errors
/// When the plan is no sound batch.
pub fn commit_with_permit(plan: &Plan, signature: TokenSignature) -> Result<Call, AuthorizeError> {
    let call = IVault::commitWithPermitCall {
        batch: batch(&terms(plan)?),
        validUntil: seconds(plan.valid_until),
        v: signature.v,
        r: B256::new(signature.r),
        s: B256::new(signature.s),
    };
    Ok(Call { from: plan.payer, to: plan.domain.vault, data: call.abi_encode() })
}

/// The call that pays a batch with a signed transfer; anybody may send it, and pays the gas.
///
/// # Errors
/// When the plan is no sound batch.
pub fn commit_with_authorization(
    plan: &Plan,
    sender: EvmAddress,
    signature: TokenSignature,
) -> Result<Call, AuthorizeError> {
    let call = IVault::commitWithAuthorizationCall {
        batch: batch(&terms(plan)?),
        validUntil: seconds(plan.valid_until),
        v: signature.v,
        r: B256::new(signature.r),
        s: B256::new(signature.s),
    };
    Ok(Call { from: sender, to: plan.domain.vault, data: call.abi_encode() })
}

/// The call that pays several batches with one signed transfer; anybody may send it, and pays the
/// gas.
///
/// # Errors
/// When they are not 1 to [`MAX_COMMITS`] sound batches of one payer, deadline and vault.
pub fn commit_many_with_authorization(
    plans: &[&Plan],
    sender: EvmAddress,
    signature: TokenSignature,
) -> Result<Call, AuthorizeError> {
    let first = together(plans)?;
    let batches = plans.iter().map(|plan| Ok(batch(&terms(plan)?)));
    let call = IVault::commitManyWithAuthorizationCall {
        batches: batches.collect::<Result<_, AuthorizeError>>()?,
        validUntil: seconds(first.valid_until),
        v: signature.v,
        r: B256::new(signature.r),
        s: B256::new(signature.s),
    };
    Ok(Call { from: sender, to: first.domain.vault, data: call.abi_encode() })
}

/// The first of the plans and what all of them cost.
fn checked<'p>(
    token: &TokenDomain,
    plans: &[&'p Plan],
) -> Result<(&'p Plan, Atto), AuthorizeError> {
    let first = together(plans)?;
    let (expected, found) = (token.chain_id, first.domain.chain_id);
    if expected != found {
        let payment = first.id();
        return Err(AuthorizeError::ForeignPlan { payment, expected, found });
    }
    for plan in plans {
        terms(plan)?;
    }
    Ok((first, plans.iter().map(|plan| plan.total()).sum()))
}

/// The first of plans that one call can pay for.
fn together<'p>(plans: &[&'p Plan]) -> Result<&'p Plan, AuthorizeError> {
    let found = plans.len();
    let first = match plans.first() {
        Some(&first) if found <= MAX_COMMITS => first,
        _ => return Err(AuthorizeError::PlanCount { found }),
    };
    let own = |plan: &Plan| (plan.domain, plan.payer, plan.valid_until);
    match plans.iter().find(|plan| own(plan) != own(first)) {
        Some(plan) => Err(AuthorizeError::Mixed { payment: plan.id() }),
        None => Ok(first),
    }
}

/// The terms of a sound batch.
fn terms(plan: &Plan) -> Result<BatchTerms, AuthorizeError> {
    let payment = plan.id();
    verify::plan_is_sound(plan).map_err(|source| AuthorizeError::BadPlan { payment, source })?;
    plan.batch_terms().ok_or(AuthorizeError::NotABatch { payment })
}

/// A view function's answer.
async fn view<C: SolCall>(
    chain: &RpcChain,
    to: EvmAddress,
    call: C,
) -> Result<C::Return, ChainError> {
    const METHOD: &str = "eth_call";
    let request = json!({ "to": address(to), "input": Bytes::from(call.abi_encode()) });
    let answer: Bytes = chain.read(METHOD, json!([request, "latest"])).await?;
    C::abi_decode_returns(&answer)
        .map_err(|_| unexpected(METHOD, &format!("no answer to {}", C::SIGNATURE)))
}
