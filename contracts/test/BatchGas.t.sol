// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchPayments} from "../src/BatchPayments.sol";
import {DrandBeacon} from "../src/DrandBeacon.sol";
import {BatchBase} from "./support/BatchBase.sol";

/// @title Ceilings on what batches cost, whole transactions with the plain token; `forge test -vv` prints the figures
/// @dev Isolation makes every call a transaction of its own: the base cost, call data and cold slots count.
/// forge-config: default.isolate = true
/// forge-config: default.evm_version = "prague"
contract BatchGasTest is BatchBase {
    uint256 private constant COMMIT = 75_000;
    uint256 private constant FURTHER_BATCH = 30_000;
    uint256 private constant PERMIT_COMMIT = 110_000;
    uint256 private constant AUTHORIZED_COMMIT = 105_000;
    /// A draw at 16 draws a transaction, 4,096 leaves, 5 payees that have been credited before.
    uint256 private constant DRAW = 60_000;
    uint256 private constant DRAW_FRESH = 142_000;
    uint256 private constant SINGLE_DRAW = 106_000;
    uint256 private constant REFUND = 62_000;
    uint256 private constant SEED_POST = 200_000;
    uint256 private constant KEY = 0xC0FFEE;
    uint256 private constant LEAVES = 4096;

    event Measured(string what, uint256 gas);

    function setUp() public {
        _prepare();
        // A finite allowance that is in use, and a vault that holds tokens: the dearest of the usual cases.
        vm.prank(PAYER);
        token.approve(address(vault), SUPPLY);
        pay(list(1_000_000, 1, 1e18));
    }

    function _measured(string memory what, uint256 ceiling) private returns (uint256 gas) {
        gas = vm.lastCallGas().gasTotalUsed;
        emit Measured(what, gas);
        vm.assertLe(gas, ceiling, what);
    }

    function _terms(address payer, uint256 number) private pure returns (BatchPayments.Batch memory) {
        uint40 until = uint40(START + 1 days);
        return BatchPayments.Batch(payer, keccak256(abi.encode(number)), 1e24, 1e15, until, 16);
    }

    function _many(address payer, uint256 count) private pure returns (BatchPayments.Batch[] memory batches) {
        batches = new BatchPayments.Batch[](count);
        for (uint256 i; i < count; ++i) {
            batches[i] = _terms(payer, 100 * count + i);
        }
    }

    // ---- paying ----

    function test_commit() public {
        vm.prank(PAYER);
        vault.commit(_terms(PAYER, 0), uint40(START));
        _measured("commit", COMMIT);
    }

    function test_furtherBatches() public {
        vm.prank(PAYER);
        vault.commitMany(_many(PAYER, 1), uint40(START));
        uint256 single = _measured("commitMany of 1", COMMIT);
        uint256[2] memory counts = [uint256(2), 16];
        for (uint256 i; i < 2; ++i) {
            vm.prank(PAYER);
            vault.commitMany(_many(PAYER, counts[i]), uint40(START));
            uint256 gas = _measured("commitMany", 16 * COMMIT);
            uint256 each = (gas - single) / (counts[i] - 1);
            emit Measured("each further batch", each);
            vm.assertLe(each, FURTHER_BATCH, "each further batch");
        }
    }

    function _sign(bytes32 structHash) private view returns (uint8, bytes32, bytes32) {
        return vm.sign(KEY, keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash)));
    }

    function test_signedCommits() public {
        address signer = vm.addr(KEY);
        vm.prank(PAYER);
        token.transfer(signer, 1e30);
        BatchPayments.Batch memory batch = _terms(signer, 1);
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256(
                    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
                ),
                signer,
                address(vault),
                escrowOf(batch),
                0,
                START
            )
        );
        (uint8 v, bytes32 r, bytes32 s) = _sign(structHash);
        vm.prank(signer);
        vault.commitWithPermit(batch, uint40(START), v, r, s);
        _measured("commitWithPermit, the signer's first", PERMIT_COMMIT);
        batch = _terms(signer, 2);
        (v, r, s) = _authorization(signer, escrowOf(batch), vault.batchId(batch));
        vm.prank(STRANGER);
        vault.commitWithAuthorization(batch, uint40(START), v, r, s);
        _measured("commitWithAuthorization", AUTHORIZED_COMMIT);
    }

    function _authorization(address signer, uint256 value, bytes32 nonce)
        private
        view
        returns (uint8, bytes32, bytes32)
    {
        bytes32 typeHash = keccak256(
            "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
        );
        return _sign(keccak256(abi.encode(typeHash, signer, address(vault), value, 0, START + 1, nonce)));
    }

    // ---- settling ----

    /// A tree of 4,096 leaves; every leaf has five payees of its own.
    function _tree() private pure returns (Tree memory) {
        Leaf[] memory leaves = new Leaf[](LEAVES);
        for (uint256 i; i < LEAVES; ++i) {
            bytes32[] memory shares = new bytes32[](5);
            for (uint256 j; j < 5; ++j) {
                shares[j] = share(payee(5 * i + j), uint96(1e18 + 1e15 * i + j));
            }
            leaves[i] = leafOf(keccak256(abi.encode("chunk", i)), shares);
        }
        return treeOf(leaves);
    }

    /// A batch of 16 draws with a known seed, and its wins; if `warm` all winners have been credited before.
    function _drawn(bool warm)
        private
        returns (BatchPayments.Batch memory batch, BatchPayments.Win[] memory wins)
    {
        Tree memory tree = _tree();
        batch = termsOf(tree, 16);
        commit(batch);
        seed(batch, SEED);
        wins = winsOf(batch, tree, 0, 16);
        vm.assertEq(wins[0].siblings.length, 24, "depth 12");
        // Whoever settles has settled before.
        vm.prank(PAYER);
        token.transfer(STRANGER, 1);
        if (!warm) return (batch, wins);
        for (uint256 i; i < 16; ++i) {
            bytes32[] memory entries = new bytes32[](10);
            for (uint256 j; j < 5; ++j) {
                entries[2 * j] = share(address(uint160(uint256(wins[i].shares[j]) >> 96)), 1);
            }
            entries[1] = bytes32(i);
            pay(entries);
        }
    }

    function _settle(BatchPayments.Batch memory batch, BatchPayments.Win[] memory wins) private {
        vm.prank(STRANGER);
        vm.assertEq(vault.settle(batch, wins, ""), wins.length, "settled");
    }

    function test_settleSixteen() public {
        (BatchPayments.Batch memory batch, BatchPayments.Win[] memory wins) = _drawn(true);
        _settle(batch, wins);
        uint256 gas = _measured("settle, 16 draws", 16 * DRAW);
        emit Measured("settle, each of 16 draws", gas / 16);
    }

    function test_settleSixteenFresh() public {
        (BatchPayments.Batch memory batch, BatchPayments.Win[] memory wins) = _drawn(false);
        _settle(batch, wins);
        uint256 gas = _measured("settle, 16 draws, fresh payees", 16 * DRAW_FRESH);
        emit Measured("settle, each of 16 draws, fresh payees", gas / 16);
    }

    function test_settleOneAndRefundTheRest() public {
        (BatchPayments.Batch memory batch, BatchPayments.Win[] memory wins) = _drawn(true);
        _settle(batch, one(wins[3]));
        _measured("settle, 1 draw", SINGLE_DRAW);
        vm.warp(vault.claimEnd(batch.uploadBy) + 1);
        vault.refund(batch);
        _measured("refund of 15 draws", REFUND);
    }

    // ---- the seed ----

    function test_drandSeed() public {
        string memory json = vm.readFile("vectors/drand.json");
        DrandBeacon drand = new DrandBeacon(1692803367, 3, 1692806364, vm.parseJsonBytes(json, ".negatedKey"));
        drand.post(0, vm.parseJsonBytes(json, ".rounds[2].proof"));
        _measured("post of a drand seed", SEED_POST);
    }
}
