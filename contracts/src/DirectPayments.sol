// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {SumProof} from "./SumProof.sol";
import {VaultCore} from "./VaultCore.sol";

/// @title Payments chunk by chunk: every payee is credited at once
abstract contract DirectPayments is VaultCore {
    /// @notice Not 1 to MAX_PAIRS whole pairs: `words` is the length of the list in words.
    error BadEntryCount(uint256 words);
    /// @notice The pair at `index` (counted in pairs) pays the zero address.
    error ZeroPayee(uint256 index);

    /// @notice A direct payment was recorded and its payees credited; `total` is their sum.
    event PaidDirect(bytes32 indexed id, address indexed payer, uint256 total);

    /// @notice Most pairs of one direct payment: 100 chunks at 5 payees.
    uint256 public constant MAX_PAIRS = 500;

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
        _checkSender(payer);
        _checkDeadline(validUntil);
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
        return SumProof.leafHash(chunk, shares);
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
}
