// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ChunkVault} from "../../src/ChunkVault.sol";
import {PlainToken} from "../../src/PlainToken.sol";
import {FixedBeacon} from "./FixedBeacon.sol";
import {Vm} from "./Vm.sol";

/// @title What all tests of the vault share: a funded payer, the plain token, lists of entries
abstract contract TestBase {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    uint256 internal constant START = 1_800_000_000;
    uint40 internal constant MIN_WINDOW = 15 minutes;
    uint40 internal constant MAX_WINDOW = 14 days;
    uint40 internal constant DRAW_DELAY = 15 minutes;
    uint40 internal constant CLAIM_WINDOW = 30 days;
    uint256 internal constant EPOCH = 1 hours;
    /// Enough for the dearest list: 500 amounts of 2^96 - 1.
    uint256 internal constant SUPPLY = 1 << 120;

    address internal constant PAYER = address(0xA11CE);
    address internal constant STRANGER = address(0xBAD);

    PlainToken internal token;
    FixedBeacon internal beacon;
    ChunkVault internal vault;

    /// Called by a test's `setUp`, once; not public, or an invariant run would call it in between.
    function _prepare() internal {
        vm.warp(START);
        token = new PlainToken(SUPPLY);
        beacon = new FixedBeacon(EPOCH);
        vault = newVault(token);
        token.transfer(PAYER, SUPPLY);
        vm.prank(PAYER);
        token.approve(address(vault), type(uint256).max);
    }

    function newVault(IERC20 paidIn) internal returns (ChunkVault) {
        return new ChunkVault(paidIn, beacon, MIN_WINDOW, MAX_WINDOW, DRAW_DELAY, CLAIM_WINDOW);
    }

    function share(address to, uint96 amount) internal pure returns (bytes32) {
        return bytes32(uint256(uint160(to)) << 96 | amount);
    }

    function payee(uint256 index) internal pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("payee", index)))));
    }

    /// `count` pairs that pay `amount` each, to payees numbered from `first`.
    function list(uint256 first, uint256 count, uint96 amount)
        internal
        pure
        returns (bytes32[] memory entries)
    {
        entries = new bytes32[](2 * count);
        for (uint256 i; i < count; ++i) {
            entries[2 * i] = share(payee(first + i), amount);
            entries[2 * i + 1] = keccak256(abi.encode("leaf", (first + i) / 5));
        }
    }

    function uploadBy() internal view returns (uint40) {
        return uint40(block.timestamp + 1 days);
    }

    function pay(bytes32[] memory entries) internal returns (bytes32) {
        uint40 until = uploadBy();
        vm.prank(PAYER);
        return vault.payDirect(PAYER, entries, until, uint40(block.timestamp));
    }
}
