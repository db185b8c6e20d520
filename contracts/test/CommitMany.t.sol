// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {BatchPayments} from "../src/BatchPayments.sol";
import {VaultCore} from "../src/VaultCore.sol";
import {BatchBase} from "./support/BatchBase.sol";
import {Vm} from "./support/Vm.sol";

/// @title Committing several batches at once: all of one payer, all or none, one transfer
contract CommitManyTest is BatchBase {
    function setUp() public {
        _prepare();
    }

    function _batches(uint256 count) private pure returns (BatchPayments.Batch[] memory batches) {
        batches = new BatchPayments.Batch[](count);
        for (uint256 i; i < count; ++i) {
            uint40 until = uint40(START + 1 days + i + 100 * count);
            batches[i] =
                BatchPayments.Batch(PAYER, bytes32(i), uint96(1000 * (i + 1)), TIP, until, uint8(1 + i));
        }
    }

    function _expectRefused(bytes memory reason, BatchPayments.Batch[] memory batches) private {
        vm.expectRevert(reason);
        vm.prank(PAYER);
        vault.commitMany(batches, uint40(START));
        for (uint256 i; i < batches.length; ++i) {
            vm.assertEq(vault.records(vault.batchId(batches[i])), 0, "no record");
        }
        vm.assertEq(token.balanceOf(address(vault)), 0, "nothing taken");
    }

    function test_allInOneTransfer() public {
        uint256[3] memory counts = [uint256(1), 2, 17];
        for (uint256 c; c < 3; ++c) {
            BatchPayments.Batch[] memory batches = _batches(counts[c]);
            uint256 sum;
            for (uint256 i; i < batches.length; ++i) {
                sum += escrowOf(batches[i]);
            }
            uint256 held = token.balanceOf(address(vault));
            vm.recordLogs();
            vm.prank(PAYER);
            vault.commitMany(batches, uint40(START));
            Vm.Log[] memory logs = vm.getRecordedLogs();
            vm.assertEq(logs.length, counts[c] + 1, "an event for each batch, and one transfer");
            for (uint256 i; i < batches.length; ++i) {
                bytes32 id = vault.batchId(batches[i]);
                vm.assertEq(vault.records(id), START, "record");
                vm.assertEq(logs[i].topics[0], BatchPayments.Committed.selector, "event");
                vm.assertEq(logs[i].topics[1], id, "its id");
            }
            vm.assertEq(logs[counts[c]].topics[0], IERC20.Transfer.selector, "the transfer");
            vm.assertEq(token.balanceOf(address(vault)), held + sum, "exactly the sum");
        }
    }

    function test_empty() public {
        _expectRefused(abi.encodeWithSelector(BatchPayments.NoBatches.selector), new BatchPayments.Batch[](0));
    }

    function test_twoPayers() public {
        for (uint256 i; i < 3; ++i) {
            BatchPayments.Batch[] memory batches = _batches(3);
            batches[i].payer = STRANGER;
            _expectRefused(abi.encodeWithSelector(VaultCore.NotPayer.selector, STRANGER, PAYER), batches);
        }
    }

    function test_otherSender() public {
        vm.expectRevert(abi.encodeWithSelector(VaultCore.NotPayer.selector, PAYER, STRANGER));
        vm.prank(STRANGER);
        vault.commitMany(_batches(2), uint40(START));
        vm.assertEq(token.balanceOf(PAYER), SUPPLY, "payer");
    }

    function test_oneBatchTwice() public {
        BatchPayments.Batch[] memory batches = _batches(3);
        batches[2] = batches[0];
        _expectRefused(abi.encodeWithSelector(VaultCore.Exists.selector, vault.batchId(batches[0])), batches);
    }

    /// One batch that is paid already: nothing of the rest is paid.
    function test_onePaidBefore() public {
        BatchPayments.Batch[] memory batches = _batches(3);
        bytes32 paid = commit(batches[1]);
        uint256 held = token.balanceOf(address(vault));
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, paid));
        vm.prank(PAYER);
        vault.commitMany(batches, uint40(START));
        vm.assertEq(vault.records(vault.batchId(batches[0])), 0, "first");
        vm.assertEq(vault.records(vault.batchId(batches[2])), 0, "last");
        vm.assertEq(token.balanceOf(address(vault)), held, "nothing taken");
    }

    function test_oneBadBatch() public {
        BatchPayments.Batch[] memory batches = _batches(3);
        batches[2].total = 0;
        _expectRefused(abi.encodeWithSelector(VaultCore.ZeroTotal.selector), batches);
        batches = _batches(3);
        batches[1].draws = 201;
        _expectRefused(abi.encodeWithSelector(BatchPayments.BadDraws.selector, 201, 200), batches);
        batches = _batches(3);
        batches[1].uploadBy = uint40(START);
        _expectRefused(
            abi.encodeWithSelector(
                VaultCore.BadUploadBy.selector, START, START + MIN_WINDOW, START + MAX_WINDOW
            ),
            batches
        );
    }

    function test_deadline() public {
        vm.warp(START + 1);
        BatchPayments.Batch[] memory batches = _batches(2);
        _expectRefused(abi.encodeWithSelector(VaultCore.Expired.selector, uint40(START), START + 1), batches);
    }
}
