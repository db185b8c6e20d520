// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @title What all payments share: the token, records, credits, and the only moves of money
/// @dev Every move of tokens is measured on the vault's own balance, in both directions. So a token that takes a
/// fee, moves nothing, or swallows a call that it does not know creates neither record nor credit and burns none.
abstract contract VaultCore is ReentrancyGuardTransient {
    // ---- errors ----

    /// @notice There is no contract at the token's address.
    error NotAToken(address token);
    /// @notice The named payer is not `sender`, who pays in this call.
    error NotPayer(address payer, address sender);
    /// @notice The call's deadline has passed: `time` is the block's timestamp.
    error Expired(uint40 validUntil, uint256 time);
    /// @notice This very plan is paid already.
    error Exists(bytes32 id);
    /// @notice Nothing is to be paid: all amounts are zero.
    error ZeroTotal();
    /// @notice `uploadBy` is outside [earliest, latest] for this block.
    error BadUploadBy(uint40 uploadBy, uint256 earliest, uint256 latest);
    /// @notice The token answered a transfer with false.
    error TransferFailed();
    /// @notice The vault's balance changed by `moved` instead of `expected` (0 if it changed the other way).
    error WrongAmount(uint256 expected, uint256 moved);

    // ---- events ----

    /// @notice `amount` left the vault to `payee`.
    event Withdrawn(address indexed payee, uint256 amount);

    // ---- storage ----

    /// @notice The token that everything is paid in.
    IERC20 public immutable token;
    /// @notice Shortest time between a payment and its `uploadBy`, in seconds (15 minutes in production).
    uint40 public immutable minWindow;
    /// @notice Longest time between a payment and its `uploadBy`, in seconds (14 days in production).
    uint40 public immutable maxWindow;

    /// @notice What is known of a payment id: 0 if it was never paid, else the timestamp of the block that took
    /// the payment, in the low 40 bits. Above them a batch has one bit a draw, bit 40 + draw, set once the draw is
    /// settled or refunded; they are zero for a direct payment.
    mapping(bytes32 id => uint256) public records;
    /// @notice What the vault owes a payee. The last unit of it stays: see `withdraw`.
    mapping(address payee => uint256) public credit;

    constructor(IERC20 token_, uint40 minWindow_, uint40 maxWindow_) {
        if (address(token_).code.length == 0) revert NotAToken(address(token_));
        token = token_;
        minWindow = minWindow_;
        maxWindow = maxWindow_;
    }

    // ---- payees ----

    /// @notice Sends a payee what it has earned, all but one unit: the unit keeps the payee's slot in use, which
    /// makes the next payment to it cheaper for its payer by about 17,000 gas.
    /// @dev Anybody may call; the tokens go to the payee. Reverts with TransferFailed, WrongAmount or the token's
    /// own error, and then the credit stays.
    /// @param payee whose credit to pay out
    /// @return amount what was sent; 0, without an event, when the credit is at most one unit
    function withdraw(address payee) external nonReentrant returns (uint256 amount) {
        uint256 owed = credit[payee];
        if (owed <= 1) return 0;
        amount = owed - 1;
        credit[payee] = 1;
        emit Withdrawn(payee, amount);
        _push(payee, amount);
    }

    // ---- for the payments ----

    /// @dev The sender is the payer.
    function _checkSender(address payer) internal view {
        if (msg.sender != payer) revert NotPayer(payer, msg.sender);
    }

    /// @dev The deadline has not passed.
    function _checkDeadline(uint40 validUntil) internal view {
        if (block.timestamp > validUntil) revert Expired(validUntil, block.timestamp);
    }

    /// @dev Records `id` as paid now. A used id is told before a window that has closed, because a sender that
    /// repeats an old call must learn that it is paid.
    function _record(bytes32 id, uint40 uploadBy) internal {
        if (records[id] != 0) revert Exists(id);
        uint256 earliest = block.timestamp + minWindow;
        uint256 latest = block.timestamp + maxWindow;
        if (uploadBy < earliest || uploadBy > latest) revert BadUploadBy(uploadBy, earliest, latest);
        records[id] = uint40(block.timestamp);
    }

    /// @dev What the vault has of the token.
    function _held() internal view returns (uint256) {
        return token.balanceOf(address(this));
    }

    /// @dev Takes `amount` from `from` out of its allowance and makes sure that it came.
    function _pull(address from, uint256 amount) internal {
        uint256 before = _held();
        if (!token.transferFrom(from, address(this), amount)) revert TransferFailed();
        _checkMoved(amount, before, _held());
    }

    /// @dev Sends `amount` to `to` and makes sure that no more and no less left.
    function _push(address to, uint256 amount) internal {
        uint256 before = _held();
        if (!token.transfer(to, amount)) revert TransferFailed();
        _checkMoved(amount, _held(), before);
    }

    /// @dev Reverts unless `high` is exactly `amount` above `low`.
    function _checkMoved(uint256 amount, uint256 low, uint256 high) internal pure {
        uint256 moved = high > low ? high - low : 0;
        if (moved != amount) revert WrongAmount(amount, moved);
    }
}
