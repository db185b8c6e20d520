// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {BatchPayments} from "../src/BatchPayments.sol";
import {VaultCore} from "../src/VaultCore.sol";
import {BatchBase} from "./support/BatchBase.sol";
import {HostileToken} from "./support/HostileToken.sol";
import {SwallowingToken} from "./support/SwallowingToken.sol";

/// @title Batches with a token that misbehaves: no record, no credit, nothing lost
contract HostileBatchesTest is BatchBase {
    uint256 private constant PATHS = 5;
    bytes private constant REENTERED =
        abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);

    HostileToken private hostile;

    function setUp() public {
        _prepare();
        hostile = new HostileToken(SUPPLY);
        vault = newVault(hostile);
        hostile.transfer(PAYER, SUPPLY / 2);
        hostile.transfer(address(hostile), 1_000_000);
    }

    function _terms() private pure returns (BatchPayments.Batch memory) {
        return BatchPayments.Batch(PAYER, keccak256("root"), 1000, TIP, uint40(START + 1 days), 3);
    }

    /// The call data of each of the five ways to pay for `batch`.
    function _call(uint256 path, BatchPayments.Batch memory batch) private view returns (bytes memory) {
        uint40 until = uint40(START);
        if (path == 0) return abi.encodeCall(vault.commit, (batch, until));
        if (path == 1) return abi.encodeCall(vault.commitMany, (one(batch), until));
        if (path == 2) return abi.encodeCall(vault.commitWithPermit, (batch, until, 27, 0, 0));
        if (path == 3) return abi.encodeCall(vault.commitWithAuthorization, (batch, until, 27, 0, 0));
        return abi.encodeCall(vault.commitManyWithAuthorization, (one(batch), until, 27, 0, 0));
    }

    function _expectRefused(uint256 path, HostileToken.Mode mode, bytes memory reason) private {
        hostile.set(mode);
        BatchPayments.Batch memory batch = _terms();
        uint256 held = hostile.balanceOf(address(vault));
        uint256 before = hostile.balanceOf(PAYER);
        vm.prank(PAYER);
        (bool ok, bytes memory answer) = address(vault).call(_call(path, batch));
        vm.assertTrue(!ok, "refused");
        vm.assertEq(keccak256(answer), keccak256(reason), "reason");
        vm.assertEq(vault.records(vault.batchId(batch)), 0, "record");
        vm.assertEq(hostile.balanceOf(address(vault)), held, "vault");
        vm.assertEq(hostile.balanceOf(PAYER), before, "payer");
    }

    function _wrong(uint256 expected, uint256 moved) private pure returns (bytes memory) {
        return abi.encodeWithSelector(VaultCore.WrongAmount.selector, expected, moved);
    }

    // ---- paying ----

    function test_pay_wrongAmounts() public {
        uint256 need = escrowOf(_terms());
        hostile.transfer(address(vault), 10);
        for (uint256 path; path < PATHS; ++path) {
            _expectRefused(path, HostileToken.Mode.Fee, _wrong(need, need - 1));
            _expectRefused(path, HostileToken.Mode.Bonus, _wrong(need, need + 1));
            _expectRefused(path, HostileToken.Mode.Silent, _wrong(need, 0));
            _expectRefused(path, HostileToken.Mode.Steal, _wrong(need, 0));
        }
    }

    function test_pay_reverting() public {
        for (uint256 path; path < PATHS; ++path) {
            _expectRefused(
                path, HostileToken.Mode.Revert, abi.encodeWithSelector(HostileToken.Refused.selector)
            );
        }
    }

    /// The signed paths have no answer that could be false: what counts is the balance.
    function test_pay_badAnswers() public {
        bytes memory failed = abi.encodeWithSelector(VaultCore.TransferFailed.selector);
        for (uint256 path; path < 3; ++path) {
            _expectRefused(path, HostileToken.Mode.ReturnFalse, failed);
            _expectRefused(path, HostileToken.Mode.MoveAndReturnFalse, failed);
            _expectRefused(path, HostileToken.Mode.NoData, "");
        }
        for (uint256 path = 3; path < PATHS; ++path) {
            _expectRefused(path, HostileToken.Mode.ReturnFalse, _wrong(escrowOf(_terms()), 0));
        }
    }

    /// All five ways are good ones: with an honest token they pay.
    function test_pay_honest() public {
        for (uint256 path; path < PATHS; ++path) {
            BatchPayments.Batch memory batch = _terms();
            batch.root = bytes32(path);
            uint256 held = hostile.balanceOf(address(vault));
            vm.prank(PAYER);
            (bool ok,) = address(vault).call(_call(path, batch));
            vm.assertTrue(ok, "paid");
            vm.assertEq(vault.records(vault.batchId(batch)), START, "record");
            vm.assertEq(hostile.balanceOf(address(vault)), held + escrowOf(batch), "vault");
        }
    }

    /// A token without EIP-3009 and EIP-2612 whose fallback accepts everything.
    function test_pay_swallowed() public {
        SwallowingToken swallowing = new SwallowingToken(SUPPLY);
        swallowing.transfer(PAYER, SUPPLY);
        vault = newVault(swallowing);
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = vault.batchId(batch);
        uint256 need = escrowOf(batch);
        vm.expectRevert(_wrong(need, 0));
        vault.commitWithAuthorization(batch, uint40(START), 27, 0, 0);
        vm.expectRevert(_wrong(need, 0));
        vault.commitManyWithAuthorization(one(batch), uint40(START), 27, 0, 0);
        // The permit gives no allowance, and the payment needs one.
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), 0, need)
        );
        vm.prank(PAYER);
        vault.commitWithPermit(batch, uint40(START), 27, 0, 0);
        vm.assertEq(vault.records(id), 0, "record");
        vm.assertEq(swallowing.balanceOf(PAYER), SUPPLY, "payer");
    }

    // ---- settling and refunding ----

    /// A paid batch whose draws are known.
    function _settleable() private returns (BatchPayments.Batch memory batch, Tree memory tree) {
        tree = treeOf(leavesOf(3, 1e18, "leaves"));
        batch = termsOf(tree, 2);
        hostile.set(HostileToken.Mode.Honest);
        commit(batch);
        seed(batch, SEED);
    }

    function _modes() private pure returns (HostileToken.Mode[5] memory) {
        return [
            HostileToken.Mode.Fee,
            HostileToken.Mode.Double,
            HostileToken.Mode.Silent,
            HostileToken.Mode.ReturnFalse,
            HostileToken.Mode.Revert
        ];
    }

    function _reason(HostileToken.Mode mode, uint256 amount) private pure returns (bytes memory) {
        if (mode == HostileToken.Mode.Fee) return _wrong(amount, amount - 1);
        if (mode == HostileToken.Mode.Double) return _wrong(amount, 2 * amount);
        if (mode == HostileToken.Mode.Silent) return _wrong(amount, 0);
        if (mode == HostileToken.Mode.ReturnFalse) {
            return abi.encodeWithSelector(VaultCore.TransferFailed.selector);
        }
        return abi.encodeWithSelector(HostileToken.Refused.selector);
    }

    function test_settle() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _settleable();
        BatchPayments.Win[] memory wins = winsOf(batch, tree, 0, 2);
        uint256 held = hostile.balanceOf(address(vault));
        for (uint256 i; i < 5; ++i) {
            HostileToken.Mode mode = _modes()[i];
            hostile.set(mode);
            vm.expectRevert(_reason(mode, 2 * TIP));
            vm.prank(STRANGER);
            vault.settle(batch, wins, "");
            vm.assertEq(vault.records(vault.batchId(batch)), START, "no draw is done");
            vm.assertEq(creditOfAll(), 0, "no credit");
            vm.assertEq(hostile.balanceOf(address(vault)), held, "vault");
        }
        hostile.set(HostileToken.Mode.Honest);
        vm.assertEq(vault.settle(batch, wins, ""), 2, "once the token is honest again");
    }

    function test_refund() public {
        (BatchPayments.Batch memory batch,) = _settleable();
        vm.warp(vault.claimEnd(batch.uploadBy) + 1);
        uint256 held = hostile.balanceOf(address(vault));
        for (uint256 i; i < 5; ++i) {
            HostileToken.Mode mode = _modes()[i];
            hostile.set(mode);
            // A token that takes twice has enough to take.
            if (mode == HostileToken.Mode.Double) hostile.transfer(address(vault), held);
            vm.expectRevert(_reason(mode, escrowOf(batch)));
            vault.refund(batch);
            vm.assertEq(vault.records(vault.batchId(batch)), START, "no draw is done");
        }
        hostile.set(HostileToken.Mode.Honest);
        vm.assertEq(vault.refund(batch), escrowOf(batch), "once the token is honest again");
    }

    // ---- re-entrance: the token itself is payer and sender of the inner call ----

    /// Good calls by themselves, every function that moves money: a batch of the token's own for each way to pay,
    /// a settlement, a withdrawal.
    function _inner(BatchPayments.Batch memory batch, Tree memory tree)
        private
        view
        returns (bytes[7] memory inner)
    {
        for (uint256 path; path < PATHS; ++path) {
            BatchPayments.Batch memory own = _terms();
            own.payer = address(hostile);
            own.root = bytes32(path);
            own.uploadBy = uint40(block.timestamp + 1 days);
            inner[path] = _call(path, own);
        }
        inner[5] = abi.encodeCall(vault.settle, (batch, winsOf(batch, tree, 1, 1), ""));
        inner[6] = abi.encodeCall(vault.withdraw, (payee(0)));
    }

    function test_reenter_fromPayments() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _settleable();
        bytes[7] memory inner = _inner(batch, tree);
        vm.warp(START);
        for (uint256 i; i < 7; ++i) {
            hostile.setReenter(HostileToken.Mode.Reenter, address(vault), inner[i]);
            for (uint256 path; path < PATHS; ++path) {
                _expectRefused(path, HostileToken.Mode.Reenter, REENTERED);
            }
        }
    }

    function test_reenter_fromSettleAndRefund() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _settleable();
        BatchPayments.Win[] memory wins = winsOf(batch, tree, 0, 2);
        bytes[7] memory inner = _inner(batch, tree);
        for (uint256 i; i < 7; ++i) {
            hostile.setReenter(HostileToken.Mode.Reenter, address(vault), inner[i]);
            vm.expectRevert(REENTERED);
            vault.settle(batch, wins, "");
        }
        vm.warp(vault.claimEnd(batch.uploadBy) + 1);
        bytes[2] memory late = [abi.encodeCall(vault.refund, (batch)), inner[6]];
        for (uint256 i; i < 2; ++i) {
            hostile.setReenter(HostileToken.Mode.Reenter, address(vault), late[i]);
            vm.expectRevert(REENTERED);
            vault.refund(batch);
        }
    }

    /// The refund inside a refund, hidden by the token: it did nothing.
    function test_reenter_quietly() public {
        (BatchPayments.Batch memory batch,) = _settleable();
        vm.warp(vault.claimEnd(batch.uploadBy) + 1);
        bytes memory inner = abi.encodeCall(vault.refund, (batch));
        hostile.setReenter(HostileToken.Mode.ReenterQuietly, address(vault), inner);
        uint256 before = hostile.balanceOf(PAYER);
        vm.assertEq(vault.refund(batch), escrowOf(batch), "refund");
        vm.assertTrue(hostile.reentered(), "the inner call was made");
        vm.assertEq(keccak256(hostile.answer()), keccak256(REENTERED), "and refused");
        vm.assertEq(hostile.balanceOf(PAYER), before + escrowOf(batch), "paid once");
    }

    /// A permit that re-enters: whatever it does, the payment is taken by the allowance alone, and once.
    function test_reenter_fromPermit() public {
        BatchPayments.Batch memory batch = _terms();
        bytes memory inner = _call(0, batch);
        hostile.setReenter(HostileToken.Mode.ReenterQuietly, address(vault), inner);
        vm.prank(PAYER);
        vault.commitWithPermit(batch, uint40(START), 27, 0, 0);
        vm.assertEq(keccak256(hostile.answer()), keccak256(REENTERED), "refused");
        vm.assertEq(hostile.balanceOf(address(vault)), escrowOf(batch), "taken once");
    }
}
