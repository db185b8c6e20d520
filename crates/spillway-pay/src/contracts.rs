//! The bindings of vault, beacon and token: what this crate calls and reads of them. A test compares
//! them with the artifacts that are deployed.

use alloy::{
    primitives::{
        Address, B256, U256,
        aliases::{U40, U96},
    },
    sol,
};
use spillway_types::{
    Atto, BatchTerms, DrawSet, EvmAddress, NodeHash, PaymentId, RewardAddress, UnixTime,
};

sol! {
    /// The vault. See `contracts/src/ChunkVault.sol`.
    #[allow(clippy::too_many_arguments, reason = "an event's constructor takes all its fields")]
    interface IVault {
        function payDirect(address payer, bytes32[] calldata entries, uint40 uploadBy, uint40 validUntil)
            external returns (bytes32 id);
        struct Batch { address payer; bytes32 root; uint96 total; uint96 tip; uint40 uploadBy; uint8 draws; }
        struct Win { uint8 draw; bytes32 chunk; bytes32[] shares; bytes32[] siblings; }

        function commit(Batch calldata batch, uint40 validUntil) external returns (bytes32 id);
        function commitMany(Batch[] calldata batches, uint40 validUntil) external;
        function commitWithPermit(Batch calldata batch, uint40 validUntil, uint8 v, bytes32 r, bytes32 s)
            external returns (bytes32 id);
        function commitWithAuthorization(Batch calldata batch, uint40 validUntil, uint8 v, bytes32 r, bytes32 s)
            external returns (bytes32 id);
        function commitManyWithAuthorization(Batch[] calldata batches, uint40 validUntil, uint8 v, bytes32 r, bytes32 s)
            external;
        function settle(Batch calldata batch, Win[] calldata wins, bytes calldata seedProof)
            external returns (uint256 settled);
        function refund(Batch calldata batch) external returns (uint256 amount);
        function batchId(Batch calldata batch) external view returns (bytes32);
        function beacon() external view returns (address);
        function drawDelay() external view returns (uint40);
        function claimWindow() external view returns (uint40);
        function seedFor(uint40 uploadBy) external view returns (bytes32);
        function directId(address payer, bytes32[] calldata entries, uint40 uploadBy)
            external view returns (bytes32);
        function leafHash(bytes32 chunk, bytes32[] calldata shares) external pure returns (bytes32);
        function records(bytes32 id) external view returns (uint256);
        function credit(address payee) external view returns (uint256);
        function token() external view returns (address);
        function minWindow() external view returns (uint40);
        function maxWindow() external view returns (uint40);
        function withdraw(address payee) external returns (uint256 amount);

        event PaidDirect(bytes32 indexed id, address indexed payer, uint256 total);
        event Committed(bytes32 indexed id, address indexed payer, bytes32 root, uint96 total,
            uint96 tip, uint40 uploadBy, uint8 draws);
        event Settled(bytes32 indexed id, uint256 indexed draw, bytes32 chunk, uint256 prize);
        event Refunded(bytes32 indexed id, uint256 amount);
        event Withdrawn(address indexed payee, uint256 amount);

        error BadWindows(uint40 minWindow, uint40 maxWindow, uint40 drawDelay, uint40 claimWindow);
        error NotAToken(address token);
        error NotABeacon(address beacon);
        error NotPayer(address payer, address sender);
        error Expired(uint40 validUntil, uint256 time);
        error Exists(bytes32 id);
        error BadEntryCount(uint256 words);
        error ZeroPayee(uint256 index);
        error ZeroTotal();
        error BadUploadBy(uint40 uploadBy, uint256 earliest, uint256 latest);
        error BadDraws(uint8 draws, uint256 most);
        error NoBatches();
        error Unknown(bytes32 id);
        error NoSeed(uint256 drawTime);
        error ClaimOver(uint256 claimEnd, uint256 time);
        error ClaimOpen(uint256 claimEnd, uint256 time);
        error NothingToRefund(bytes32 id);
        error BadDraw(uint256 index, uint8 draw);
        error BadProof(uint256 index);
        error NotWinner(uint256 index, uint256 point, uint256 from, uint256 to);
        error TransferFailed();
        error WrongAmount(uint256 expected, uint256 moved);
        error ReentrancyGuardReentrantCall();
    }

    /// The source of seeds, with the errors of all beacons that there are. See
    /// `contracts/src/IBeacon.sol`.
    interface IBeacon {
        function seedAfter(uint256 t) external view returns (bytes32);
        function epoch() external view returns (uint256);
        function latest() external view returns (uint256);
        function boundary(uint256 t) external view returns (uint256);
        function post(uint256 t, bytes calldata proof) external returns (bytes32 seed);

        event SeedPosted(uint256 indexed boundary, bytes32 seed);

        error TooEarly(uint256 boundary, uint256 time);
        error ZeroEpoch();
        error NotMinedYet(uint256 target, uint256 current);
        error ZeroPeriod();
        error BadLength(uint256 length);
        error BadSignature(uint256 round);
    }

    /// What only a beacon of drand has. See `contracts/src/DrandBeacon.sol`.
    interface IDrandBeacon {
        function roundOf(uint256 due) external view returns (uint256);
    }

    /// An ERC-20 token, with the errors of ERC-6093.
    interface IToken {
        function balanceOf(address account) external view returns (uint256);
        function allowance(address owner, address spender) external view returns (uint256);
        function approve(address spender, uint256 value) external returns (bool);
        function transfer(address to, uint256 value) external returns (bool);

        error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
        error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
        error ERC20InvalidApprover(address approver);
        error ERC20InvalidReceiver(address receiver);
        error ERC20InvalidSender(address sender);
        error ERC20InvalidSpender(address spender);
    }
}

/// An account of ours in alloy's type.
pub(crate) fn address(account: EvmAddress) -> Address {
    Address::new(account.0)
}

/// A payee in alloy's type.
pub(crate) fn payee_address(payee: RewardAddress) -> Address {
    Address::new(payee.0)
}

/// A payment id in alloy's type.
pub(crate) fn id_word(payment: PaymentId) -> B256 {
    B256::new(payment.0)
}

/// A token amount; more than 2^128 − 1 becomes that.
pub(crate) fn atto(amount: U256) -> Atto {
    Atto(amount.saturating_to())
}

/// The time that a record holds in its low 40 bits; `None` for an empty one.
pub(crate) fn recorded(word: U256) -> Option<UnixTime> {
    let seconds: U256 = word & U256::from((1_u64 << 40) - 1);
    (!word.is_zero()).then(|| UnixTime(seconds.to()))
}

/// The draws that a record names above its time.
pub(crate) fn settled(word: U256) -> DrawSet {
    DrawSet::from_be_bytes((word >> 40_u8).to_be_bytes())
}

/// A batch in the vault's words. Amounts over 96 bits are cut: callers check them first with
/// [`crate::verify::batch_is_sound`].
pub(crate) fn batch(terms: &BatchTerms) -> IVault::Batch {
    IVault::Batch {
        payer: address(terms.payer),
        root: B256::new(terms.root.0),
        total: U96::wrapping_from(terms.total.0),
        tip: U96::wrapping_from(terms.tip.0),
        uploadBy: U40::saturating_from(terms.upload_by.0),
        draws: terms.draws,
    }
}

/// The terms of a batch in the vault's words.
pub(crate) fn batch_terms(batch: &IVault::Batch) -> BatchTerms {
    BatchTerms {
        payer: EvmAddress(batch.payer.into_array()),
        root: NodeHash(batch.root.0),
        total: Atto(batch.total.to()),
        tip: Atto(batch.tip.to()),
        upload_by: UnixTime(batch.uploadBy.to()),
        draws: batch.draws,
    }
}
