// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchPayments} from "../src/BatchPayments.sol";
import {BatchBase} from "./support/BatchBase.sol";

/// @title Proofs: right ones of every shape are accepted, and nothing else
contract SettleProofsTest is BatchBase {
    /// A batch of 257 leaves whose one draw is won by `large`, for the fuzz runs.
    BatchPayments.Batch private largeBatch;
    bytes private large;

    function setUp() public {
        _prepare();
        Tree memory tree = treeOf(leavesOf(257, 1e18, "large"));
        largeBatch = termsOf(tree, 1);
        commit(largeBatch);
        bytes32 id = vault.batchId(largeBatch);
        uint256 winner = leafAt(tree, vault.drawPoint(SEED, id, largeBatch.total, 1, 0));
        large = abi.encode(winOf(tree, winner, 0));
        seed(largeBatch, SEED);
    }

    /// A committed batch with a seed under which `leaf` wins its one draw.
    function _wonBy(Tree memory tree, uint256 leaf) private returns (BatchPayments.Batch memory batch) {
        vm.warp(START);
        batch = termsOf(tree, 1);
        batch.uploadBy = uint40(START + 10 days);
        commit(batch);
        uint256 time = vault.drawTime(batch.uploadBy);
        bytes32 value = SEED;
        bytes32 id = vault.batchId(batch);
        while (leafAt(tree, vault.drawPoint(value, id, batch.total, 1, 0)) != leaf) {
            value = keccak256(abi.encode(value));
        }
        vm.warp(beacon.boundary(time));
        beacon.post(time, abi.encode(value));
    }

    /// A batch whose root nobody can explain, with a seed.
    function _rootOf(bytes32 root, uint256 total) private returns (BatchPayments.Batch memory batch) {
        vm.warp(START);
        batch = BatchPayments.Batch(PAYER, root, uint96(total), TIP, uint40(START + 10 days), 1);
        commit(batch);
        seed(batch, SEED);
    }

    function _expectBad(BatchPayments.Batch memory batch, BatchPayments.Win memory win) private {
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.BadProof.selector, 0));
        vault.settle(batch, one(win), "");
    }

    function _flip(bytes32[] memory words, uint256 bit) private pure {
        words[bit / 256] ^= bytes32(1 << (bit % 256));
    }

    // ---- shapes ----

    /// Every leaf of every tree from 1 to 20 leaves proves its own segment: it wins or is told where it lies. All
    /// ways in which a node without a neighbour moves up are among them.
    function test_everyLeafOfSmallTrees() public {
        for (uint256 count = 1; count <= 20; ++count) {
            Tree memory tree = treeOf(leavesOf(count, 1e9, bytes32(count)));
            BatchPayments.Batch memory batch = _rootOf(tree.root, tree.total);
            uint256 point = vault.drawPoint(SEED, vault.batchId(batch), batch.total, 1, 0);
            uint256 winner = leafAt(tree, point);
            for (uint256 leaf; leaf < count; ++leaf) {
                if (leaf == winner) continue;
                Leaf memory l = tree.leaves[leaf];
                vm.expectRevert(
                    abi.encodeWithSelector(
                        BatchPayments.NotWinner.selector, 0, point, l.offset, l.offset + l.sum
                    )
                );
                vault.settle(batch, one(winOf(tree, leaf, 0)), "");
            }
            vm.assertEq(vault.settle(batch, one(winOf(tree, winner, 0)), ""), 1, "the winner");
        }
    }

    /// The deepest proof that is taken, and the next one. The siblings weigh nothing.
    function test_depth() public {
        Leaf memory leaf = leafOf(0, 25);
        bytes32[] memory siblings = new bytes32[](66);
        bytes32[3] memory roots;
        bytes32 hash = hashOf(leaf);
        for (uint256 level; level < 33; ++level) {
            hash = keccak256(abi.encode(hash, 25, bytes32(level), 0));
            siblings[2 * level] = bytes32(level);
            if (level > 30) roots[level - 31] = hash;
        }
        _expectBad(_rootOf(roots[1], 25), BatchPayments.Win(0, leaf.chunk, leaf.shares, siblings));
        bytes32[] memory deepest = new bytes32[](64);
        for (uint256 i; i < 64; ++i) {
            deepest[i] = siblings[i];
        }
        BatchPayments.Batch memory batch = _rootOf(roots[0], 25);
        BatchPayments.Win memory win = BatchPayments.Win(0, leaf.chunk, leaf.shares, deepest);
        vm.assertEq(vault.settle(batch, one(win), ""), 1, "32 levels");
    }

    // ---- changed proofs ----

    /// Every single bit of a leaf with two siblings: chunk, shares, siblings' hashes, sums and sides.
    function test_everyBitFlipped() public {
        Tree memory tree = treeOf(leavesOf(3, 1e18, "leaves"));
        BatchPayments.Batch memory batch = _wonBy(tree, 0);
        BatchPayments.Win memory win = winOf(tree, 0, 0);
        vm.assertEq(win.siblings.length, 4, "two levels");
        for (uint256 bit; bit < 256; ++bit) {
            win.chunk ^= bytes32(1 << bit);
            _expectBad(batch, win);
            win.chunk ^= bytes32(1 << bit);
        }
        for (uint256 bit; bit < 5 * 256; ++bit) {
            _flip(win.shares, bit);
            _expectBad(batch, win);
            _flip(win.shares, bit);
        }
        for (uint256 bit; bit < 4 * 256; ++bit) {
            _flip(win.siblings, bit);
            _expectBad(batch, win);
            _flip(win.siblings, bit);
        }
        vm.assertEq(vault.settle(batch, one(win), ""), 1, "unchanged it settles");
    }

    function testFuzz_bitFlippedInALargeTree(uint256 bit) public {
        BatchPayments.Win memory win = abi.decode(large, (BatchPayments.Win));
        vm.assertTrue(win.siblings.length > 14, "many levels");
        uint256 words = 1 + win.shares.length + win.siblings.length;
        bit %= 256 * words;
        if (bit < 256) win.chunk ^= bytes32(1 << bit);
        else if (bit < 256 * (1 + win.shares.length)) _flip(win.shares, bit - 256);
        else _flip(win.siblings, bit - 256 * (1 + win.shares.length));
        _expectBad(largeBatch, win);
    }

    function testFuzz_anyProof(bytes32 chunk, bytes32[] memory shares, bytes32[] memory siblings) public {
        _expectBad(largeBatch, BatchPayments.Win(0, chunk, shares, siblings));
    }

    function test_largeTreeUnchanged() public {
        BatchPayments.Win memory win = abi.decode(large, (BatchPayments.Win));
        vm.assertEq(vault.settle(largeBatch, one(win), ""), 1, "settles");
    }

    /// One word too many or too few, one level too many or too few, at either end.
    function test_extraAndMissingSiblings() public {
        Tree memory tree = treeOf(leavesOf(7, 1e18, "leaves"));
        BatchPayments.Batch memory batch = _wonBy(tree, 3);
        BatchPayments.Win memory good = winOf(tree, 3, 0);
        uint256 n = good.siblings.length;
        for (uint256 length; length < n + 6; ++length) {
            if (length == n) continue;
            BatchPayments.Win memory win = winOf(tree, 3, 0);
            win.siblings = new bytes32[](length);
            for (uint256 i; i < length && i < n; ++i) {
                win.siblings[i] = good.siblings[i];
            }
            _expectBad(batch, win);
        }
        for (uint256 skip = 1; skip <= n; ++skip) {
            BatchPayments.Win memory win = winOf(tree, 3, 0);
            win.siblings = new bytes32[](n - skip);
            for (uint256 i; i < n - skip; ++i) {
                win.siblings[i] = good.siblings[i + skip];
            }
            _expectBad(batch, win);
        }
        vm.assertEq(vault.settle(batch, one(good), ""), 1, "unchanged it settles");
    }

    function test_sharesReorderedMergedOrMissing() public {
        Tree memory tree = treeOf(leavesOf(3, 1e18, "leaves"));
        BatchPayments.Batch memory batch = _wonBy(tree, 1);
        BatchPayments.Win memory win = winOf(tree, 1, 0);
        (win.shares[0], win.shares[4]) = (win.shares[4], win.shares[0]);
        _expectBad(batch, win);
        win.shares = new bytes32[](0);
        _expectBad(batch, win);
        win.shares = new bytes32[](1);
        win.shares[0] = share(payee(9), uint96(tree.leaves[1].sum));
        _expectBad(batch, win);
    }

    // ---- sums ----

    /// The payer's total is not the tree's: no leaf of it can ever be settled.
    function testFuzz_totalThatIsNotTheTrees(uint96 total) public {
        Tree memory tree = treeOf(leavesOf(5, 1e18, "leaves"));
        vm.assume(total != 0 && total != tree.total);
        BatchPayments.Batch memory batch = _rootOf(tree.root, total);
        for (uint256 leaf; leaf < 5; ++leaf) {
            _expectBad(batch, winOf(tree, leaf, 0));
        }
    }

    /// A root over sums that wrap around to the total: 5 + (2^255 - 1) * 2 + 7 = 10 modulo 2^256.
    function test_wrappingSums() public {
        Leaf memory leaf = leafOf(0, 5);
        uint256 huge = (1 << 255) - 1;
        bytes32[] memory siblings = new bytes32[](6);
        (siblings[0], siblings[1]) = ("a", sumWord(huge, true));
        (siblings[2], siblings[3]) = ("b", sumWord(huge, true));
        (siblings[4], siblings[5]) = ("c", sumWord(7, false));
        unchecked {
            bytes32 hash = keccak256(abi.encode(bytes32("a"), huge, hashOf(leaf), 5));
            hash = keccak256(abi.encode(bytes32("b"), huge, hash, huge + 5));
            hash = keccak256(abi.encode(hash, huge + huge + 5, bytes32("c"), 7));
            vm.assertEq(huge + huge + 5 + 7, 10, "the sum wraps");
            _expectBad(_rootOf(hash, 10), BatchPayments.Win(0, leaf.chunk, leaf.shares, siblings));
        }
    }

    /// One level that is above the total is refused, even if the next one could bring it back.
    function test_sumAboveTheTotal() public {
        Leaf memory leaf = leafOf(0, 11);
        _expectBad(_rootOf(hashOf(leaf), 10), BatchPayments.Win(0, leaf.chunk, leaf.shares, new bytes32[](0)));
        leaf = leafOf(0, 5);
        bytes32[] memory siblings = new bytes32[](2);
        (siblings[0], siblings[1]) = ("a", sumWord(6, false));
        bytes32 root = keccak256(abi.encode(hashOf(leaf), 5, bytes32("a"), 6));
        _expectBad(_rootOf(root, 10), BatchPayments.Win(0, leaf.chunk, leaf.shares, siblings));
    }

    /// A leaf that weighs nothing wins nothing, however well it is proven.
    function test_leavesOfNothing() public {
        Leaf memory nothing = leafOf(0, 0);
        Leaf memory other = leafOf(1, 10);
        bytes32 root = keccak256(abi.encode(hashOf(nothing), 0, hashOf(other), 10));
        bytes32[] memory siblings = new bytes32[](2);
        (siblings[0], siblings[1]) = (hashOf(other), sumWord(10, false));
        BatchPayments.Batch memory batch = _rootOf(root, 10);
        _expectBad(batch, BatchPayments.Win(0, nothing.chunk, nothing.shares, siblings));
        siblings[0] = keccak256(abi.encode(bytes32("leaf"), bytes32(0), keccak256("")));
        _expectBad(batch, BatchPayments.Win(0, 0, new bytes32[](0), siblings));
    }

    // ---- leaves and nodes ----

    /// An inner node given as a leaf, its words in every place where a leaf has some.
    function test_nodeAsLeaf() public {
        Tree memory tree = treeOf(leavesOf(2, 1e9, "leaves"));
        BatchPayments.Batch memory batch = _rootOf(tree.root, tree.total);
        bytes32[] memory words = new bytes32[](4);
        (words[0], words[1]) = (tree.hashes[0][0], bytes32(tree.sums[0][0]));
        (words[2], words[3]) = (tree.hashes[0][1], bytes32(tree.sums[0][1]));
        bytes32[] memory none = new bytes32[](0);
        _expectBad(batch, BatchPayments.Win(0, tree.root, words, none));
        bytes32[] memory three = new bytes32[](3);
        (three[0], three[1], three[2]) = (words[1], words[2], words[3]);
        _expectBad(batch, BatchPayments.Win(0, words[0], three, none));
        bytes32[] memory single = new bytes32[](1);
        single[0] = share(payee(0), uint96(tree.total));
        _expectBad(batch, BatchPayments.Win(0, tree.root, single, none));
    }

    /// A payer's root that is a leaf's hash, opened as if it were a node.
    function test_leafAsNode() public {
        Leaf memory leaf = leafOf(0, 10);
        BatchPayments.Batch memory batch = _rootOf(hashOf(leaf), 10);
        bytes32[] memory siblings = new bytes32[](2);
        (siblings[0], siblings[1]) = ("leaf", sumWord(0, true));
        _expectBad(batch, BatchPayments.Win(0, leaf.chunk, leaf.shares, siblings));
        BatchPayments.Win memory good = BatchPayments.Win(0, leaf.chunk, leaf.shares, new bytes32[](0));
        vm.assertEq(vault.settle(batch, one(good), ""), 1, "one leaf: the root is its hash");
    }
}
