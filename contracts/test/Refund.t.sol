// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchPayments} from "../src/BatchPayments.sol";
import {BatchBase} from "./support/BatchBase.sol";
import {Vm} from "./support/Vm.sol";

/// @title Refunds: what nobody settled goes back to the payer, after the claim window and never before
contract RefundTest is BatchBase {
    function setUp() public {
        _prepare();
    }

    function _batch(uint8 draws) private returns (BatchPayments.Batch memory batch, Tree memory tree) {
        tree = treeOf(leavesOf(5, 1e18, "leaves"));
        batch = termsOf(tree, draws);
        commit(batch);
    }

    function _expectNothingLeft(BatchPayments.Batch memory batch) private {
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.NothingToRefund.selector, vault.batchId(batch)));
        vault.refund(batch);
    }

    function test_toTheSecond() public {
        (BatchPayments.Batch memory batch,) = _batch(3);
        uint256 end = vault.claimEnd(batch.uploadBy);
        uint256[3] memory early = [START, batch.uploadBy, end];
        for (uint256 i; i < 3; ++i) {
            vm.warp(early[i]);
            vm.expectRevert(abi.encodeWithSelector(BatchPayments.ClaimOpen.selector, end, early[i]));
            vault.refund(batch);
        }
        vm.warp(end + 1);
        vm.expectEmit(address(vault));
        emit BatchPayments.Refunded(vault.batchId(batch), escrowOf(batch));
        vm.prank(STRANGER);
        vm.assertEq(vault.refund(batch), escrowOf(batch), "all of it");
        vm.assertEq(token.balanceOf(PAYER), SUPPLY, "to the payer, whoever asks");
        vm.assertEq(token.balanceOf(STRANGER), 0, "not to the sender");
        vm.assertEq(token.balanceOf(address(vault)), 0, "vault");
        vm.assertEq(vault.records(vault.batchId(batch)), START | 7 << 40, "record: all draws are done");
        _expectNothingLeft(batch);
    }

    /// Who has lost every file finds in the event what a refund needs.
    function test_fromTheEventAlone() public {
        vm.recordLogs();
        (BatchPayments.Batch memory lost,) = _batch(3);
        Vm.Log memory log = vm.getRecordedLogs()[0];
        vm.assertEq(log.topics[0], BatchPayments.Committed.selector, "the event");
        BatchPayments.Batch memory found;
        found.payer = address(uint160(uint256(log.topics[2])));
        (found.root, found.total, found.tip, found.uploadBy, found.draws) =
            abi.decode(log.data, (bytes32, uint96, uint96, uint40, uint8));
        vm.assertEq(vault.batchId(found), log.topics[1], "its id");
        vm.warp(vault.claimEnd(found.uploadBy) + 1);
        vm.assertEq(vault.refund(found), escrowOf(lost), "all of it");
        vm.assertEq(token.balanceOf(PAYER), SUPPLY, "to the payer");
    }

    /// Whichever draws are settled: the payer gets prize and tip of exactly the others.
    function testFuzz_afterPartialSettle(uint256 which, uint8 draws, bytes32 value) public {
        draws = uint8(1 + draws % 9);
        vm.assume(value != 0);
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(draws);
        seed(batch, value);
        uint256 left;
        for (uint8 draw; draw < draws; ++draw) {
            if (which >> draw & 1 == 0) {
                left += vault.prize(batch, draw) + TIP;
            } else {
                BatchPayments.Win[] memory wins = winsOf(batch, tree, draw, 1);
                vm.prank(STRANGER);
                vault.settle(batch, wins, "");
            }
        }
        uint256 credited = creditOfAll();
        vm.assertEq(credited + left + token.balanceOf(STRANGER), escrowOf(batch), "nothing lost");
        vm.warp(vault.claimEnd(batch.uploadBy) + 1);
        if (left == 0) return _expectNothingLeft(batch);
        vm.assertEq(vault.refund(batch), left, "refund");
        vm.assertEq(token.balanceOf(address(vault)), credited, "the payees' part stays");
        _expectNothingLeft(batch);
    }

    function test_noSettleAfterIt() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(3);
        seed(batch, SEED);
        BatchPayments.Win[] memory wins = winsOf(batch, tree, 0, 3);
        uint256 end = vault.claimEnd(batch.uploadBy);
        vm.warp(end + 1);
        vault.refund(batch);
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.ClaimOver.selector, end, end + 1));
        vault.settle(batch, wins, "");
        // Even if a chain's clock went back: every draw is done.
        vm.warp(end);
        vm.assertEq(vault.settle(batch, wins, ""), 0, "all are skipped");
        vm.assertEq(creditOfAll(), 0, "no credit");
    }

    /// Nobody ever posted the seed: the payer is not stuck.
    function test_withoutASeed() public {
        (BatchPayments.Batch memory batch,) = _batch(200);
        vm.warp(vault.claimEnd(batch.uploadBy) + 365 days);
        vm.assertEq(vault.refund(batch), escrowOf(batch), "all of it");
    }

    function test_otherBatchesStay() public {
        (BatchPayments.Batch memory batch,) = _batch(3);
        BatchPayments.Batch memory other = batch;
        vm.warp(START + 1);
        other = BatchPayments.Batch(PAYER, batch.root, batch.total, batch.tip, uploadBy() + 7 days, 3);
        commit(other);
        vm.warp(vault.claimEnd(batch.uploadBy) + 1);
        vault.refund(batch);
        vm.assertEq(token.balanceOf(address(vault)), escrowOf(other), "the other's escrow");
    }
}
