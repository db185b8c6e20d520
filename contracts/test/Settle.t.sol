// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchPayments} from "../src/BatchPayments.sol";
import {BlockhashBeacon} from "../src/BlockhashBeacon.sol";
import {ChunkVault} from "../src/ChunkVault.sol";
import {BatchBase} from "./support/BatchBase.sol";
import {FixedBeacon} from "./support/FixedBeacon.sol";

/// @title Settling: who wins, what it pays, once, and in time
contract SettleTest is BatchBase {
    function setUp() public {
        _prepare();
    }

    /// A committed batch of `count` leaves.
    function _batch(uint256 count, uint8 draws)
        private
        returns (BatchPayments.Batch memory batch, Tree memory tree)
    {
        tree = treeOf(leavesOf(count, 1e18, keccak256(abi.encode(count))));
        batch = termsOf(tree, draws);
        commit(batch);
    }

    function _settle(BatchPayments.Batch memory batch, BatchPayments.Win[] memory wins)
        private
        returns (uint256)
    {
        vm.prank(STRANGER);
        return vault.settle(batch, wins, "");
    }

    // ---- who wins, and what ----

    /// Whatever the amounts, the seed and the draws: each draw has exactly one leaf that can settle it, and when all
    /// are settled all of the total is credited, to the unit.
    function testFuzz_oneWinnerADraw(bytes32 random, uint8 count, uint96 below, uint8 draws) public {
        count = uint8(1 + count % 12);
        Tree memory tree = treeOf(leavesOf(count, 1 + below % 1e26, random));
        draws = uint8(1 + draws % (tree.total < 6 ? tree.total : 6));
        BatchPayments.Batch memory batch = termsOf(tree, draws);
        commit(batch);
        seed(batch, random);
        for (uint8 draw; draw < draws; ++draw) {
            uint256 winners;
            for (uint256 leaf; leaf < count; ++leaf) {
                vm.prank(STRANGER);
                try vault.settle(batch, one(winOf(tree, leaf, draw)), "") returns (uint256 settled) {
                    // Once the draw is settled the others are skipped.
                    winners += settled;
                    if (settled == 1) {
                        vm.assertEq(leaf, winnerOf(batch, tree, draw), "the leaf of the point");
                    }
                } catch {
                    vm.assertTrue(leaf != winnerOf(batch, tree, draw), "only losers are refused");
                }
            }
            vm.assertEq(winners, 1, "exactly one winner");
        }
        vm.assertEq(creditOfAll(), tree.total, "the pot");
        vm.assertEq(token.balanceOf(address(vault)), tree.total, "vault");
        vm.assertEq(token.balanceOf(STRANGER), uint256(TIP) * draws, "tips");
    }

    function test_oneDrawInDetail() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(5, 3);
        seed(batch, SEED);
        bytes32 id = vault.batchId(batch);
        uint256 winner = winnerOf(batch, tree, 1);
        uint256 prize = vault.prize(batch, 1);
        vm.expectEmit(address(vault));
        emit BatchPayments.Settled(id, 1, tree.leaves[winner].chunk, prize);
        vm.assertEq(_settle(batch, one(winOf(tree, winner, 1))), 1, "settled");
        vm.assertEq(vault.records(id), START | 1 << 41, "record: the time and the draw's bit");
        vm.assertEq(creditOfAll(), prize, "credited");
        vm.assertEq(token.balanceOf(STRANGER), TIP, "tip to the sender");
        vm.assertEq(token.balanceOf(address(vault)), batch.total + 2 * uint256(TIP), "vault");
    }

    /// The loser's own segment and the point are told.
    function test_loserIsToldWhy() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(7, 2);
        seed(batch, SEED);
        bytes32 id = vault.batchId(batch);
        uint256 winner = winnerOf(batch, tree, 1);
        BatchPayments.Win[] memory wins = winsOf(batch, tree, 0, 2);
        for (uint256 leaf; leaf < 7; ++leaf) {
            if (leaf == winner) continue;
            Leaf memory l = tree.leaves[leaf];
            wins[1] = winOf(tree, leaf, 1);
            uint256 point = vault.drawPoint(SEED, id, batch.total, 2, 1);
            vm.expectRevert(
                abi.encodeWithSelector(BatchPayments.NotWinner.selector, 1, point, l.offset, l.offset + l.sum)
            );
            _settle(batch, wins);
        }
        vm.assertEq(vault.records(id), START, "nothing settled, not even the good one");
    }

    /// Every unit of the total, by its own tree: the segments' ends belong to the right leaf.
    function test_segmentsToTheUnit() public {
        Leaf[] memory leaves = new Leaf[](5);
        uint96[5] memory amounts = [uint96(1), 3, 1, 4, 2];
        for (uint256 i; i < 5; ++i) {
            leaves[i] = leafOf(i, amounts[i]);
        }
        Tree memory tree = treeOf(leaves);
        // As many draws as units: every point is drawn once, so that each leaf is paid exactly what it was sold for.
        BatchPayments.Batch memory batch = termsOf(tree, 11);
        commit(batch);
        seed(batch, SEED);
        vm.assertEq(_settle(batch, winsOf(batch, tree, 0, 11)), 11, "settled");
        for (uint256 i; i < 5; ++i) {
            vm.assertEq(vault.credit(payee(i)), amounts[i], "exactly its own amount");
        }
    }

    function testFuzz_drawPoint(bytes32 value, bytes32 id, uint96 total, uint8 draws, uint8 draw)
        public
        view
    {
        vm.assume(total != 0 && draws != 0);
        uint256 start = uint256(keccak256(bytes.concat(value, id))) % total;
        uint256 point = vault.drawPoint(value, id, total, draws, draw);
        vm.assertEq(point, (start + uint256(total) * draw / draws) % total, "point");
        vm.assertTrue(point < total, "inside");
    }

    /// A leaf of a draw's width, rounded up, is hit wherever it lies.
    function testFuzz_aDrawsWidthWins(bytes32 value, uint96 total, uint8 draws, uint96 from) public view {
        draws = uint8(1 + draws % 200);
        vm.assume(total >= draws);
        uint256 width = (uint256(total) + draws - 1) / draws;
        uint256 start = from % (total - width + 1);
        uint256 hits;
        for (uint8 draw; draw < draws; ++draw) {
            uint256 point = vault.drawPoint(value, 0, total, draws, draw);
            if (point >= start && point < start + width) ++hits;
        }
        vm.assertTrue(hits != 0, "hit");
    }

    /// Rounded down it is not: two draws of 3 units leave one unit out.
    function test_aDrawsWidthRoundedDownMayLose() public view {
        uint256 first = vault.drawPoint(SEED, 0, 3, 2, 0);
        uint256 second = vault.drawPoint(SEED, 0, 3, 2, 1);
        vm.assertEq(second, (first + 1) % 3, "next to each other");
    }

    /// Ids differ, so that batches under one seed do not share their points.
    function test_pointsOfBatchesDiffer() public view {
        uint256 a = vault.drawPoint(SEED, bytes32(uint256(1)), type(uint96).max, 1, 0);
        vm.assertTrue(a != vault.drawPoint(SEED, bytes32(uint256(2)), type(uint96).max, 1, 0), "points");
    }

    function test_twoHundredDraws() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(13, 200);
        seed(batch, SEED);
        vm.assertEq(_settle(batch, winsOf(batch, tree, 0, 100)), 100, "the first half");
        vm.assertEq(_settle(batch, winsOf(batch, tree, 100, 100)), 100, "the second half");
        uint256 all = ((1 << 200) - 1) << 40;
        vm.assertEq(vault.records(vault.batchId(batch)), START | all, "record: all draws");
        vm.assertEq(creditOfAll(), tree.total, "the pot");
        vm.assertEq(token.balanceOf(address(vault)), tree.total, "vault");
        vm.assertEq(token.balanceOf(STRANGER), 200 * uint256(TIP), "tips");
    }

    /// 10 in 3 draws: 4, 3, 3; each of them 1 : 1 : 5 in whole units, and the last share takes the rest.
    function test_roundingDust() public {
        bytes32[] memory shares = new bytes32[](3);
        (shares[0], shares[1], shares[2]) = (share(payee(0), 1), share(payee(1), 1), share(payee(2), 8));
        Leaf[] memory leaves = new Leaf[](1);
        leaves[0] = leafOf("chunk", shares);
        Tree memory tree = treeOf(leaves);
        BatchPayments.Batch memory batch = termsOf(tree, 3);
        commit(batch);
        seed(batch, SEED);
        uint256[3] memory prizes = [uint256(4), 3, 3];
        uint256 sum;
        for (uint8 draw; draw < 3; ++draw) {
            _settle(batch, one(winOf(tree, 0, draw)));
            sum += prizes[draw];
            vm.assertEq(vault.credit(payee(2)), sum, "4 * 1 / 10 = 0: all of it to the last");
        }
        vm.assertEq(vault.credit(payee(0)) + vault.credit(payee(1)), 0, "less than one unit each");
    }

    function testFuzz_rounding(uint96[5] memory amounts, uint8 draws) public {
        bytes32[] memory shares = new bytes32[](5);
        for (uint256 i; i < 5; ++i) {
            shares[i] = share(payee(i), amounts[i] / 5);
        }
        Leaf[] memory leaves = new Leaf[](1);
        leaves[0] = leafOf("chunk", shares);
        Tree memory tree = treeOf(leaves);
        draws = uint8(1 + draws % 200);
        vm.assume(tree.total >= draws);
        BatchPayments.Batch memory batch = termsOf(tree, draws);
        commit(batch);
        seed(batch, SEED);
        uint8 draw = draws - 1;
        _settle(batch, one(winOf(tree, 0, draw)));
        uint256 prize = vault.prize(batch, draw);
        uint256 left = prize;
        for (uint256 i; i < 4; ++i) {
            uint256 part = prize * (amounts[i] / 5) / tree.total;
            vm.assertEq(vault.credit(payee(i)), part, "pro rata, rounded down");
            left -= part;
        }
        vm.assertEq(vault.credit(payee(4)), left, "the rest");
    }

    // ---- once ----

    function test_doneDrawsAreSkippedUnseen() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(5, 3);
        seed(batch, SEED);
        BatchPayments.Win[] memory wins = winsOf(batch, tree, 0, 3);
        vm.assertEq(_settle(batch, one(wins[1])), 1, "the first time");
        // Nonsense for a done draw is not looked at.
        bytes32[] memory nonsense = new bytes32[](1);
        wins[1] = BatchPayments.Win(1, "nonsense", new bytes32[](0), nonsense);
        vm.assertEq(_settle(batch, wins), 2, "the others");
        vm.assertEq(_settle(batch, wins), 0, "none is left");
        vm.assertEq(token.balanceOf(STRANGER), 3 * uint256(TIP), "each tip once");
        vm.assertEq(creditOfAll(), tree.total, "each prize once");
    }

    function test_sameDrawTwiceInOneCall() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(5, 3);
        seed(batch, SEED);
        BatchPayments.Win[] memory wins = winsOf(batch, tree, 0, 2);
        wins[1] = wins[0];
        vm.assertEq(_settle(batch, wins), 1, "settled");
        vm.assertEq(token.balanceOf(STRANGER), TIP, "one tip");
        vm.assertEq(creditOfAll(), vault.prize(batch, 0), "one prize");
    }

    function test_noWins() public {
        (BatchPayments.Batch memory batch,) = _batch(5, 3);
        seed(batch, SEED);
        vm.assertEq(_settle(batch, new BatchPayments.Win[](0)), 0, "settled");
    }

    function test_withoutTips() public {
        Tree memory tree = treeOf(leavesOf(3, 1e18, "leaves"));
        BatchPayments.Batch memory batch = termsOf(tree, 2);
        batch.tip = 0;
        commit(batch);
        seed(batch, SEED);
        vm.assertEq(_settle(batch, winsOf(batch, tree, 0, 2)), 2, "settled");
        vm.assertEq(token.balanceOf(address(vault)), tree.total, "vault");
    }

    // ---- what it refuses ----

    function test_unknownBatch() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(5, 3);
        seed(batch, SEED);
        batch.tip += 1;
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.Unknown.selector, vault.batchId(batch)));
        _settle(batch, one(winOf(tree, 0, 0)));
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.Unknown.selector, vault.batchId(batch)));
        vault.refund(batch);
    }

    function test_drawsThatAreNone() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(5, 3);
        seed(batch, SEED);
        uint8[3] memory bad = [3, 200, 255];
        for (uint256 i; i < 3; ++i) {
            BatchPayments.Win[] memory wins = winsOf(batch, tree, 0, 2);
            wins[1].draw = bad[i];
            vm.expectRevert(abi.encodeWithSelector(BatchPayments.BadDraw.selector, 1, bad[i]));
            _settle(batch, wins);
        }
    }

    // ---- when ----

    function test_notBeforeTheSeed() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(3, 1);
        bytes memory noSeed =
            abi.encodeWithSelector(BatchPayments.NoSeed.selector, vault.drawTime(batch.uploadBy));
        uint256 boundary = beacon.boundary(vault.drawTime(batch.uploadBy));
        uint256[4] memory times = [START, batch.uploadBy, vault.drawTime(batch.uploadBy), boundary];
        for (uint256 i; i < 4; ++i) {
            vm.warp(times[i]);
            vm.expectRevert(noSeed);
            _settle(batch, one(winOf(tree, 0, 0)));
            vm.assertEq(vault.seedFor(batch.uploadBy), 0, "not known");
        }
        beacon.post(boundary - 1, abi.encode(SEED));
        vm.assertEq(vault.seedFor(batch.uploadBy), SEED, "known");
        vm.assertEq(_settle(batch, winsOf(batch, tree, 0, 1)), 1, "settled");
    }

    /// The seed of the boundary before is none.
    function test_earlierSeedDoesNotCount() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(3, 1);
        uint256 time = vault.drawTime(batch.uploadBy);
        vm.warp(time);
        beacon.post(time - EPOCH, abi.encode(SEED));
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.NoSeed.selector, time));
        _settle(batch, one(winOf(tree, 0, 0)));
    }

    function test_seedPostedInTheSameCall() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(3, 2);
        uint256 time = vault.drawTime(batch.uploadBy);
        vm.warp(beacon.boundary(time));
        bytes32 id = vault.batchId(batch);
        uint256 winner = leafAt(tree, vault.drawPoint(SEED, id, batch.total, 2, 0));
        vm.expectRevert(FixedBeacon.NoProof.selector);
        vault.settle(batch, one(winOf(tree, winner, 0)), "wrong");
        vm.assertEq(vault.settle(batch, one(winOf(tree, winner, 0)), abi.encode(SEED)), 1, "settled");
        vm.assertEq(vault.seedFor(batch.uploadBy), SEED, "known to all");
        // Known already: the proof is not looked at.
        vm.assertEq(vault.settle(batch, winsOf(batch, tree, 1, 1), "wrong"), 1, "settled");
    }

    /// A beacon that needs another call (it gives 0): there is no seed yet.
    function test_seedPostedButNotKnownYet() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(3, 2);
        uint256 time = vault.drawTime(batch.uploadBy);
        vm.warp(beacon.boundary(time));
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.NoSeed.selector, time));
        vault.settle(batch, one(winOf(tree, 0, 0)), abi.encode(0));
    }

    /// The first post of a beacon of two posts must be a call of its own: in a settlement it is undone.
    function test_armingIsUndoneWithTheSettlement() public {
        BlockhashBeacon blocks = new BlockhashBeacon(EPOCH);
        vault = new ChunkVault(token, blocks, MIN_WINDOW, MAX_WINDOW, DRAW_DELAY, CLAIM_WINDOW);
        vm.prank(PAYER);
        token.approve(address(vault), SUPPLY);
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(1, 1);
        uint256 time = vault.drawTime(batch.uploadBy);
        uint256 due = blocks.boundary(time);
        vm.warp(due);
        vm.roll(1000);
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.NoSeed.selector, time));
        vault.settle(batch, one(winOf(tree, 0, 0)), "any");
        vm.assertEq(blocks.target(due), 0, "not armed");
        blocks.post(time, "");
        vm.roll(1003);
        vm.assertEq(vault.settle(batch, one(winOf(tree, 0, 0)), "any"), 1, "the second post can be here");
    }

    function test_lastSecond() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(5, 2);
        seed(batch, SEED);
        uint256 end = vault.claimEnd(batch.uploadBy);
        vm.assertEq(end, uint256(batch.uploadBy) + DRAW_DELAY + CLAIM_WINDOW, "claimEnd");
        vm.warp(end);
        vm.assertEq(_settle(batch, winsOf(batch, tree, 0, 1)), 1, "in the last second");
        vm.warp(end + 1);
        BatchPayments.Win[] memory wins = winsOf(batch, tree, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.ClaimOver.selector, end, end + 1));
        _settle(batch, wins);
    }

    // ---- payees ----

    function test_payeesTakeOutWhatTheyWon() public {
        (BatchPayments.Batch memory batch, Tree memory tree) = _batch(5, 3);
        seed(batch, SEED);
        _settle(batch, winsOf(batch, tree, 0, 3));
        uint256 out;
        uint256 kept;
        for (uint256 i; i < 8; ++i) {
            out += vault.withdraw(payee(i));
            kept += vault.credit(payee(i));
        }
        vm.assertEq(out + kept, tree.total, "all of it");
        vm.assertEq(token.balanceOf(address(vault)), kept, "vault");
    }
}
