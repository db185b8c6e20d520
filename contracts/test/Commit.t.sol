// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {BatchPayments} from "../src/BatchPayments.sol";
import {VaultCore} from "../src/VaultCore.sol";
import {BatchBase} from "./support/BatchBase.sol";

/// @title Committing one batch: what it records, what it takes, what it refuses
contract CommitTest is BatchBase {
    function setUp() public {
        _prepare();
    }

    function _terms() private view returns (BatchPayments.Batch memory) {
        return BatchPayments.Batch(PAYER, keccak256("root"), 1000, TIP, uploadBy(), 3);
    }

    function _expectRefused(bytes memory reason, BatchPayments.Batch memory batch, uint40 validUntil)
        private
    {
        uint256 held = token.balanceOf(address(vault));
        vm.expectRevert(reason);
        vm.prank(PAYER);
        vault.commit(batch, validUntil);
        vm.assertEq(vault.records(vault.batchId(batch)), 0, "record");
        vm.assertEq(token.balanceOf(address(vault)), held, "vault's balance");
    }

    // ---- what it does ----

    function test_recordsAndTakesTheEscrow() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = vault.batchId(batch);
        vm.expectEmit(address(vault));
        emit BatchPayments.Committed(id, PAYER, keccak256("root"), 1000, TIP, uploadBy(), 3);
        vm.assertEq(commit(batch), id, "id");
        vm.assertEq(vault.records(id), START, "record: the time of the payment and no draw");
        vm.assertEq(token.balanceOf(address(vault)), 1000 + 3 * TIP, "total and tips");
        vm.assertEq(token.balanceOf(PAYER), SUPPLY - 1000 - 3 * TIP, "payer");
    }

    function testFuzz_anyTerms(bytes32 root, uint96 total, uint96 tip, uint40 window, uint8 draws) public {
        draws = uint8(1 + draws % 200);
        vm.assume(total >= draws);
        uint40 until = uint40(START + MIN_WINDOW + window % (MAX_WINDOW - MIN_WINDOW + 1));
        BatchPayments.Batch memory batch = BatchPayments.Batch(PAYER, root, total, tip, until, draws);
        bytes32 id = commit(batch);
        vm.assertEq(vault.records(id), START, "record");
        vm.assertEq(token.balanceOf(address(vault)), uint256(total) + uint256(tip) * draws, "escrow");
    }

    function testFuzz_prizesAreTheTotal(uint96 total, uint8 draws) public view {
        draws = uint8(1 + draws % 200);
        BatchPayments.Batch memory batch = _terms();
        (batch.total, batch.draws) = (total, draws);
        uint256 sum;
        for (uint8 draw; draw < draws; ++draw) {
            uint256 prize = vault.prize(batch, draw);
            vm.assertEq(prize, total / draws + (draw == 0 ? total % draws : 0), "prize");
            sum += prize;
        }
        vm.assertEq(sum, total, "all prizes");
        vm.assertEq(vault.prize(batch, draws), 0, "a draw that is none");
        batch.draws = 0;
        vm.assertEq(vault.prize(batch, 0), 0, "no draws");
    }

    // ---- once ----

    function test_sameBatchTwiceIsChargedOnce() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = commit(batch);
        // At once, with another deadline, after the window has closed: the answer stays the same.
        uint256[3] memory times = [START, START + 1, START + 100 days];
        for (uint256 i; i < 3; ++i) {
            vm.warp(times[i]);
            vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, id));
            vm.prank(PAYER);
            vault.commit(batch, type(uint40).max);
        }
        vm.assertEq(token.balanceOf(address(vault)), escrowOf(batch), "charged once");
    }

    /// Also when the batch is over and empty.
    function test_sameBatchAfterItsRefund() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = commit(batch);
        vm.warp(vault.claimEnd(batch.uploadBy) + 1);
        vault.refund(batch);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, id));
        vm.prank(PAYER);
        vault.commit(batch, type(uint40).max);
    }

    function test_everyTermIsInTheId() public {
        BatchPayments.Batch memory batch = _terms();
        bytes32 id = vault.batchId(batch);
        bytes32[9] memory others;
        BatchPayments.Batch memory b = _terms();
        b.payer = STRANGER;
        others[0] = vault.batchId(b);
        b = _terms();
        b.root = keccak256("other");
        others[1] = vault.batchId(b);
        b = _terms();
        b.total += 1;
        others[2] = vault.batchId(b);
        b = _terms();
        b.tip += 1;
        others[3] = vault.batchId(b);
        b = _terms();
        b.uploadBy += 1;
        others[4] = vault.batchId(b);
        b = _terms();
        b.draws += 1;
        others[5] = vault.batchId(b);
        others[6] = newVault(token).batchId(batch);
        vm.chainId(block.chainid + 1);
        others[7] = vault.batchId(batch);
        for (uint256 i; i < 8; ++i) {
            vm.assertTrue(others[i] != id, "another id");
            for (uint256 j; j < i; ++j) {
                vm.assertTrue(others[i] != others[j], "all different");
            }
        }
    }

    // ---- who ----

    function test_otherSenderChargesNobody() public {
        BatchPayments.Batch memory batch = _terms();
        vm.expectRevert(abi.encodeWithSelector(VaultCore.NotPayer.selector, PAYER, STRANGER));
        vm.prank(STRANGER);
        vault.commit(batch, uint40(START));
        vm.assertEq(vault.records(vault.batchId(batch)), 0, "record");
        vm.assertEq(token.balanceOf(PAYER), SUPPLY, "payer");
    }

    /// Nobody can occupy another's id: with its own name a stranger has another id, with the payer's it is refused.
    function test_squattedIds() public {
        BatchPayments.Batch memory batch = _terms();
        vm.prank(PAYER);
        token.transfer(STRANGER, 10_000);
        vm.prank(STRANGER);
        token.approve(address(vault), 10_000);
        BatchPayments.Batch memory squat = _terms();
        squat.payer = STRANGER;
        bytes32 squatted = commit(squat);
        vm.assertTrue(squatted != vault.batchId(batch), "another id");
        vm.expectRevert(abi.encodeWithSelector(VaultCore.NotPayer.selector, PAYER, STRANGER));
        vm.prank(STRANGER);
        vault.commit(batch, uint40(START));
        commit(batch);
        vm.assertEq(vault.records(vault.batchId(batch)), START, "the payer's own");
    }

    // ---- when ----

    function test_deadlineToTheSecond() public {
        BatchPayments.Batch memory batch = _terms();
        uint40 deadline = uint40(START + 60);
        vm.warp(START + 61);
        _expectRefused(
            abi.encodeWithSelector(VaultCore.Expired.selector, deadline, START + 61), batch, deadline
        );
        vm.warp(START + 60);
        vm.prank(PAYER);
        bytes32 id = vault.commit(batch, deadline);
        vm.assertEq(vault.records(id), START + 60, "record");
    }

    function test_windowToTheSecond() public {
        uint40 earliest = uint40(START) + MIN_WINDOW;
        uint40 latest = uint40(START) + MAX_WINDOW;
        uint40[4] memory outside = [earliest - 1, latest + 1, 0, type(uint40).max];
        BatchPayments.Batch memory batch = _terms();
        for (uint256 i; i < 4; ++i) {
            batch.uploadBy = outside[i];
            _expectRefused(
                abi.encodeWithSelector(
                    VaultCore.BadUploadBy.selector, outside[i], uint256(earliest), uint256(latest)
                ),
                batch,
                uint40(START)
            );
        }
        batch.uploadBy = earliest;
        commit(batch);
        batch.uploadBy = latest;
        commit(batch);
    }

    // ---- what ----

    function test_zeroTotal() public {
        BatchPayments.Batch memory batch = _terms();
        batch.total = 0;
        bytes memory reason = abi.encodeWithSelector(VaultCore.ZeroTotal.selector);
        _expectRefused(reason, batch, uint40(START));
        batch.draws = 0;
        _expectRefused(reason, batch, uint40(START));
    }

    function test_drawCounts() public {
        uint256[3][5] memory bad = [
            [uint256(1000), 0, 200],
            [uint256(1000), 201, 200],
            [uint256(1e18), 255, 200],
            [uint256(2), 3, 2],
            [uint256(199), 200, 199]
        ];
        BatchPayments.Batch memory batch = _terms();
        for (uint256 i; i < bad.length; ++i) {
            (batch.total, batch.draws) = (uint96(bad[i][0]), uint8(bad[i][1]));
            _expectRefused(
                abi.encodeWithSelector(BatchPayments.BadDraws.selector, batch.draws, bad[i][2]),
                batch,
                uint40(START)
            );
        }
        (batch.total, batch.draws) = (200, 200);
        commit(batch);
        (batch.total, batch.draws) = (1, 1);
        commit(batch);
    }

    /// A term with bits beyond its type is no term: the call is refused before anything else is looked at.
    function testFuzz_dirtyTerms(uint256 field, uint256 bit) public {
        uint256[4] memory words = [uint256(2), 3, 4, 5];
        uint256[4] memory bits = [uint256(96), 96, 40, 8];
        field %= 4;
        bytes memory data = abi.encodeCall(vault.commit, (_terms(), uint40(START)));
        uint256 place = 4 + 32 * (1 + words[field]);
        bit = bits[field] + bit % (256 - bits[field]);
        assembly ("memory-safe") {
            let p := add(data, place)
            mstore(p, or(mload(p), shl(bit, 1)))
        }
        vm.prank(PAYER);
        (bool ok, bytes memory answer) = address(vault).call(data);
        vm.assertTrue(!ok, "refused");
        vm.assertEq(answer.length, 0, "by the decoder");
        vm.assertEq(token.balanceOf(address(vault)), 0, "nothing taken");
    }

    // ---- with what ----

    function test_allowanceOneShort() public {
        BatchPayments.Batch memory batch = _terms();
        uint256 need = escrowOf(batch);
        vm.prank(PAYER);
        token.approve(address(vault), need - 1);
        _expectRefused(
            abi.encodeWithSelector(
                IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), need - 1, need
            ),
            batch,
            uint40(START)
        );
        vm.prank(PAYER);
        token.approve(address(vault), need);
        commit(batch);
        vm.assertEq(token.allowance(PAYER, address(vault)), 0, "used up");
    }

    function test_balanceOneShort() public {
        BatchPayments.Batch memory batch = _terms();
        uint256 need = escrowOf(batch);
        vm.prank(PAYER);
        token.transfer(STRANGER, SUPPLY - need + 1);
        _expectRefused(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, PAYER, need - 1, need),
            batch,
            uint40(START)
        );
    }

    /// The largest escrow does not wrap.
    function test_largestTerms() public {
        uint96 most = type(uint96).max;
        BatchPayments.Batch memory batch = BatchPayments.Batch(PAYER, 0, most, most, uploadBy(), 200);
        commit(batch);
        vm.assertEq(token.balanceOf(address(vault)), 201 * uint256(most), "escrow");
        vm.warp(vault.claimEnd(batch.uploadBy) + 1);
        vm.assertEq(vault.refund(batch), 201 * uint256(most), "all of it comes back");
    }
}
