// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @title Takes the payments for stored chunks and holds what each payee has earned
/// @notice Immutable and ownerless; knows one ERC-20 token. Amounts are in the token's smallest unit, times in
/// seconds since the Unix epoch.
///
/// A payment's id is a hash of the chain, this vault, the payer and every term but the deadline, and a used id
/// is refused. So one plan can be charged once, whatever is sent how often; and once a finalized block is later
/// than the plan's deadline and `records` has nothing at that block, it can never be charged.
///
/// @dev Invariant: the token balance of this contract is at least the sum of all credits. It rests on a token
/// that neither changes balances by itself nor takes more from a sender than was transferred; both directions
/// of every transfer are measured, so a token that takes a fee or moves nothing creates no credit and burns none.
contract ChunkVault is ReentrancyGuardTransient {
    // ---- errors ----

    /// @notice The constructor was given windows that no payment can meet.
    error BadWindows(uint40 minWindow, uint40 maxWindow);
    /// @notice There is no contract at the token's address.
    error NotAToken(address token);
    /// @notice The sender is not the payer that the call names.
    error NotPayer(address payer, address sender);
    /// @notice The call's deadline has passed: `time` is the block's timestamp.
    error Expired(uint40 validUntil, uint256 time);
    /// @notice This very plan is paid already.
    error Exists(bytes32 id);
    /// @notice Not 1 to MAX_PAIRS whole pairs: `words` is the length of the list in words.
    error BadEntryCount(uint256 words);
    /// @notice The pair at `index` (counted in pairs) pays the zero address.
    error ZeroPayee(uint256 index);
    /// @notice All amounts are zero.
    error ZeroTotal();
    /// @notice `uploadBy` is outside [earliest, latest] for this block.
    error BadUploadBy(uint40 uploadBy, uint256 earliest, uint256 latest);
    /// @notice The token answered a transfer with false.
    error TransferFailed();
    /// @notice The vault's balance changed by `moved` instead of `expected` (0 if it changed the other way).
    error WrongAmount(uint256 expected, uint256 moved);

    // ---- events ----

    /// @notice A direct payment was recorded and its payees credited; `total` is their sum.
    event PaidDirect(bytes32 indexed id, address indexed payer, uint256 total);
    /// @notice `amount` left the vault to `payee`.
    event Withdrawn(address indexed payee, uint256 amount);

    // ---- constants ----

    /// @notice Most pairs of one direct payment: 100 chunks at 5 payees.
    uint256 public constant MAX_PAIRS = 500;

    // ---- storage ----

    /// @notice The token that everything is paid in.
    IERC20 public immutable token;
    /// @notice Shortest time between a payment and its `uploadBy`, in seconds (15 minutes in production).
    uint40 public immutable minWindow;
    /// @notice Longest time between a payment and its `uploadBy`, in seconds (14 days in production).
    uint40 public immutable maxWindow;

    /// @notice What is known of a payment id: 0 if it was never paid, else the timestamp of the block that took
    /// the payment, in the low 40 bits. The bits above are zero for a direct payment.
    mapping(bytes32 id => uint256) public records;
    /// @notice What the vault owes a payee. The last unit of it stays: see `withdraw`.
    mapping(address payee => uint256) public credit;

    /// @param token_ the ERC-20 token; it must answer transfers with a bool
    /// @param minWindow_ shortest upload window in seconds
    /// @param maxWindow_ longest upload window in seconds, at least `minWindow_` and not zero
    constructor(IERC20 token_, uint40 minWindow_, uint40 maxWindow_) {
        if (maxWindow_ == 0 || minWindow_ > maxWindow_) revert BadWindows(minWindow_, maxWindow_);
        if (address(token_).code.length == 0) revert NotAToken(address(token_));
        token = token_;
        minWindow = minWindow_;
        maxWindow = maxWindow_;
    }

    // ---- direct payments ----

    /// @notice Pays for chunks one by one: takes the sum of all amounts from `payer` in one transfer and credits
    /// every payee.
    /// @dev Only `payer` itself may call, after an allowance of at least the sum. Reverts, and then charges
    /// nothing, with NotPayer, Expired, BadEntryCount, Exists, BadUploadBy, ZeroPayee, ZeroTotal, TransferFailed,
    /// WrongAmount, or with the token's own error. An amount of zero is allowed beside others; a payee may occur
    /// in any number of pairs.
    /// @param payer who pays; must be the sender, so that the same call from another account cannot pay
    /// @param entries 1 to MAX_PAIRS pairs of words `[payee << 96 | amount, leafHash]`, amount as uint96
    /// @param uploadBy until when nodes accept the chunks; `minWindow` to `maxWindow` from this block, both
    /// inclusive
    /// @param validUntil last block timestamp at which the call may succeed; not part of the id
    /// @return id the payment's id, equal to `directId(payer, entries, uploadBy)`
    function payDirect(address payer, bytes32[] calldata entries, uint40 uploadBy, uint40 validUntil)
        external
        nonReentrant
        returns (bytes32 id)
    {
        _checkCall(payer, validUntil);
        if (entries.length == 0 || entries.length % 2 != 0 || entries.length > 2 * MAX_PAIRS) {
            revert BadEntryCount(entries.length);
        }
        id = directId(payer, entries, uploadBy);
        _record(id, uploadBy);
        uint256 total = _creditAll(entries);
        emit PaidDirect(id, payer, total);
        _pull(payer, total);
    }

    /// @notice The id of a direct payment; the deadline is no part of it.
    /// @param payer who pays
    /// @param entries the words as given to `payDirect`; not checked here
    /// @param uploadBy as given to `payDirect`
    function directId(address payer, bytes32[] calldata entries, uint40 uploadBy)
        public
        view
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                bytes32("direct"),
                block.chainid,
                address(this),
                payer,
                uint256(uploadBy),
                keccak256(abi.encodePacked(entries))
            )
        );
    }

    /// @notice The hash that stands for one chunk and the shares paid for it.
    /// @param chunk the chunk's address
    /// @param shares words `payee << 96 | amount`, in the order of the chunk's quotes
    function leafHash(bytes32 chunk, bytes32[] calldata shares) public pure returns (bytes32) {
        return keccak256(abi.encode(bytes32("leaf"), chunk, keccak256(abi.encodePacked(shares))));
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

    // ---- shared by all payments ----

    /// @dev The sender is the payer and the deadline has not passed.
    function _checkCall(address payer, uint40 validUntil) private view {
        if (msg.sender != payer) revert NotPayer(payer, msg.sender);
        if (block.timestamp > validUntil) revert Expired(validUntil, block.timestamp);
    }

    /// @dev Records `id` as paid now. A used id is told before a window that has closed, because a sender that
    /// repeats an old call must learn that it is paid.
    function _record(bytes32 id, uint40 uploadBy) private {
        if (records[id] != 0) revert Exists(id);
        uint256 earliest = block.timestamp + minWindow;
        uint256 latest = block.timestamp + maxWindow;
        if (uploadBy < earliest || uploadBy > latest) revert BadUploadBy(uploadBy, earliest, latest);
        records[id] = uint40(block.timestamp);
    }

    /// @dev Adds every pair's amount to its payee. Unchecked: the total is below 2^105, and a credit is at most
    /// the vault's balance once the payment has passed `_pull`. Written out in assembly the loop saves 20 of
    /// 6,180 gas a payee (measured, 100 chunks, used slots): not worth its place.
    function _creditAll(bytes32[] calldata entries) private returns (uint256 total) {
        unchecked {
            for (uint256 i; i < entries.length; i += 2) {
                uint256 share = uint256(entries[i]);
                address payee = address(uint160(share >> 96));
                if (payee == address(0)) revert ZeroPayee(i / 2);
                uint256 amount = uint96(share);
                credit[payee] += amount;
                total += amount;
            }
        }
        if (total == 0) revert ZeroTotal();
    }

    /// @dev Takes `amount` from `from` and makes sure that it came.
    function _pull(address from, uint256 amount) private {
        uint256 before = token.balanceOf(address(this));
        if (!token.transferFrom(from, address(this), amount)) revert TransferFailed();
        _checkMoved(amount, before, token.balanceOf(address(this)));
    }

    /// @dev Sends `amount` to `to` and makes sure that no more and no less left.
    function _push(address to, uint256 amount) private {
        uint256 before = token.balanceOf(address(this));
        if (!token.transfer(to, amount)) revert TransferFailed();
        _checkMoved(amount, token.balanceOf(address(this)), before);
    }

    /// @dev Reverts unless `high` is exactly `amount` above `low`.
    function _checkMoved(uint256 amount, uint256 low, uint256 high) private pure {
        uint256 moved = high > low ? high - low : 0;
        if (moved != amount) revert WrongAmount(amount, moved);
    }
}
