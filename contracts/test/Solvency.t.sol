// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchHandler} from "./support/BatchHandler.sol";
import {Vm} from "./support/Vm.sol";

/// @title Whatever is called in whatever order: the vault owes exactly what it was paid and has not paid out
contract SolvencyTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    BatchHandler private handler;
    address[] private targets;

    function setUp() public {
        handler = new BatchHandler();
        targets.push(address(handler));
    }

    function targetContracts() public view returns (address[] memory) {
        return targets;
    }

    function invariant_balanceIsCreditsEscrowAndGifts() public view {
        vm.assertEq(
            handler.held(),
            handler.credits() + handler.escrow() + handler.gifts(),
            "balance == credits + escrow + gifts"
        );
    }

    function invariant_everyUnitPaidIsSomewhere() public view {
        vm.assertEq(
            handler.committed(),
            handler.escrow() + handler.prizes() + handler.tips() + handler.refunded(),
            "committed == escrow + prizes + tips + refunded"
        );
    }

    function invariant_creditsAreWhatWasPaidLessWhatLeft() public view {
        vm.assertEq(
            handler.credits(),
            handler.paid() + handler.prizes() - handler.withdrawn(),
            "credits == paid + prizes - withdrawn"
        );
    }

    function invariant_recordsNeverChange() public view {
        for (uint256 i; i < handler.planCount(); ++i) {
            (bytes32 id, uint256 record) = handler.recordOf(i);
            vm.assertEq(handler.recordNow(id), record, "record");
        }
    }

    function invariant_batchesRecordTheirDraws() public view {
        for (uint256 i; i < handler.batchCount(); ++i) {
            (bytes32 id, uint256 record) = handler.batchRecordOf(i);
            vm.assertEq(handler.recordNow(id), record, "record");
        }
    }

    /// A run that never settles or refunds would show nothing.
    function test_movesReachEverything() public {
        handler.commitOne(0, 3, 2, 5, 0);
        handler.commitOne(1, 4, 2, 5, 1);
        handler.commitOne(2, 5, 1, 0, 2);
        handler.commitTwo(3, 6, 3, 5, false);
        handler.commitTwo(4, 2, 3, 5, true);
        vm.assertEq(handler.batchCount(), 7, "batches");
        handler.settle(0, 3);
        vm.warp(1_800_000_000 + 20 days);
        handler.seedOf(0, "seed");
        handler.settle(0, 1);
        handler.settle(0, 1);
        vm.assertTrue(handler.prizes() > 0 && handler.tips() == 5, "settled");
        handler.refund(0);
        vm.warp(1_800_000_000 + 60 days);
        handler.settle(1, 1);
        for (uint256 i; i < 7; ++i) {
            handler.refund(i);
        }
        handler.refund(0);
        handler.commitAgain(0);
        vm.assertEq(handler.escrow(), 0, "all refunded");
        vm.assertTrue(handler.refunded() > 0, "refunded");
        invariant_balanceIsCreditsEscrowAndGifts();
        invariant_everyUnitPaidIsSomewhere();
        invariant_batchesRecordTheirDraws();
    }
}
