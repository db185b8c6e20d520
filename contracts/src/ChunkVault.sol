// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {BatchPayments} from "./BatchPayments.sol";
import {DirectPayments} from "./DirectPayments.sol";
import {IBeacon} from "./IBeacon.sol";
import {VaultCore} from "./VaultCore.sol";

/// @title Takes the payments for stored chunks and holds what each payee has earned
/// @notice Immutable and ownerless; knows one ERC-20 token and one beacon. Amounts are in the token's smallest unit,
/// times in seconds since the Unix epoch.
///
/// A payment's id is a hash of the chain, this vault, the payer and every term but the deadline, and a used id
/// is refused. So one plan can be charged once, whatever is sent how often; and once a finalized block is later
/// than the plan's deadline and `records` has nothing at that block, it can never be charged. Every call that takes
/// money names the payer and refuses another sender, but for those that carry the payer's own signature.
///
/// @dev Invariant: the token balance of this contract is at least the sum of all credits and of the prizes and tips
/// of all draws that are neither settled nor refunded. It rests on a token that neither changes balances by itself
/// nor takes more from a sender than was transferred; every transfer is measured.
contract ChunkVault is DirectPayments, BatchPayments {
    /// @notice The constructor was given windows that no payment can meet, or a claim window that a seed can miss.
    error BadWindows(uint40 minWindow, uint40 maxWindow, uint40 drawDelay, uint40 claimWindow);

    /// @param token_ the ERC-20 token; it must answer transfers with a bool
    /// @param beacon_ where the seeds of the draws come from; trusted for ever
    /// @param minWindow_ shortest upload window in seconds
    /// @param maxWindow_ longest upload window in seconds, at least `minWindow_` and not zero
    /// @param drawDelay_ seconds between the end of an upload window and the earliest seed, not zero: nodes must have
    /// stopped accepting, whatever their clocks say, before anybody can know the seed
    /// @param claimWindow_ seconds in which draws can be settled, more than the beacon's epoch: a seed may take that
    /// long to come
    constructor(
        IERC20 token_,
        IBeacon beacon_,
        uint40 minWindow_,
        uint40 maxWindow_,
        uint40 drawDelay_,
        uint40 claimWindow_
    ) VaultCore(token_, minWindow_, maxWindow_) BatchPayments(beacon_, drawDelay_, claimWindow_) {
        if (maxWindow_ == 0 || minWindow_ > maxWindow_ || drawDelay_ == 0 || claimWindow_ <= beacon_.epoch())
        {
            revert BadWindows(minWindow_, maxWindow_, drawDelay_, claimWindow_);
        }
    }
}
