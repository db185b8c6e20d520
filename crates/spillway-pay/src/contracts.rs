//! The bindings of vault and token: what this crate calls of them. A test compares them with the
//! artifacts that are deployed.

use alloy::{
    primitives::{Address, B256, U256},
    sol,
};
use spillway_types::{Atto, EvmAddress, PaymentId, RewardAddress, UnixTime};

sol! {
    /// The vault. See `contracts/src/ChunkVault.sol`.
    interface IVault {
        function payDirect(address payer, bytes32[] calldata entries, uint40 uploadBy, uint40 validUntil)
            external returns (bytes32 id);
        function directId(address payer, bytes32[] calldata entries, uint40 uploadBy)
            external view returns (bytes32);
        function leafHash(bytes32 chunk, bytes32[] calldata shares) external pure returns (bytes32);
        function records(bytes32 id) external view returns (uint256);
        function credit(address payee) external view returns (uint256);
        function token() external view returns (address);
        function minWindow() external view returns (uint40);
        function maxWindow() external view returns (uint40);
        function withdraw(address payee) external returns (uint256 amount);

        error BadWindows(uint40 minWindow, uint40 maxWindow);
        error NotAToken(address token);
        error NotPayer(address payer, address sender);
        error Expired(uint40 validUntil, uint256 time);
        error Exists(bytes32 id);
        error BadEntryCount(uint256 words);
        error ZeroPayee(uint256 index);
        error ZeroTotal();
        error BadUploadBy(uint40 uploadBy, uint256 earliest, uint256 latest);
        error TransferFailed();
        error WrongAmount(uint256 expected, uint256 moved);
        error ReentrancyGuardReentrantCall();
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
