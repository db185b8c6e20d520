// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchPayments} from "../../src/BatchPayments.sol";
import {TestBase} from "./TestBase.sol";

/// @title What the tests of batches share: Merkle-sum trees, and the steps of a batch's life
abstract contract BatchBase is TestBase {
    uint96 internal constant TIP = 7;
    bytes32 internal constant SEED = keccak256("seed");

    struct Leaf {
        bytes32 chunk;
        bytes32[] shares;
        uint256 sum;
        uint256 offset;
    }

    /// Hashes and sums level by level, from the leaves up.
    struct Tree {
        Leaf[] leaves;
        bytes32[][] hashes;
        uint256[][] sums;
        bytes32 root;
        uint256 total;
    }

    // ---- trees ----

    function leafOf(bytes32 chunk, bytes32[] memory shares) internal pure returns (Leaf memory leaf) {
        (leaf.chunk, leaf.shares) = (chunk, shares);
        for (uint256 i; i < shares.length; ++i) {
            leaf.sum += uint96(uint256(shares[i]));
        }
    }

    /// A leaf with one share.
    function leafOf(uint256 number, uint96 amount) internal pure returns (Leaf memory) {
        bytes32[] memory shares = new bytes32[](1);
        shares[0] = share(payee(number), amount);
        return leafOf(keccak256(abi.encode("chunk", number)), shares);
    }

    /// Leaves with five shares each whose amounts are below `below`; payees are few and repeat.
    function leavesOf(uint256 count, uint96 below, bytes32 random)
        internal
        pure
        returns (Leaf[] memory leaves)
    {
        leaves = new Leaf[](count);
        for (uint256 i; i < count; ++i) {
            bytes32[] memory shares = new bytes32[](5);
            for (uint256 j; j < 5; ++j) {
                random = keccak256(abi.encode(random));
                uint96 amount = uint96(uint256(random) % below);
                shares[j] = share(payee((uint256(random) >> 200) % 8), j == 0 ? amount + 1 : amount);
            }
            leaves[i] = leafOf(random, shares);
        }
    }

    function hashOf(Leaf memory leaf) internal pure returns (bytes32) {
        return keccak256(abi.encode(bytes32("leaf"), leaf.chunk, keccak256(abi.encodePacked(leaf.shares))));
    }

    function treeOf(Leaf[] memory leaves) internal pure returns (Tree memory tree) {
        uint256 depth = 1;
        for (uint256 n = leaves.length; n > 1; n = (n + 1) / 2) {
            ++depth;
        }
        tree.leaves = leaves;
        (tree.hashes, tree.sums) = (new bytes32[][](depth), new uint256[][](depth));
        bytes32[] memory hashes = new bytes32[](leaves.length);
        uint256[] memory sums = new uint256[](leaves.length);
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i].offset = tree.total;
            (hashes[i], sums[i]) = (hashOf(leaves[i]), leaves[i].sum);
            tree.total += sums[i];
        }
        for (uint256 level; level < depth; ++level) {
            (tree.hashes[level], tree.sums[level]) = (hashes, sums);
            (hashes, sums) = _above(hashes, sums);
        }
        tree.root = tree.hashes[depth - 1][0];
    }

    function _above(bytes32[] memory hashes, uint256[] memory sums)
        private
        pure
        returns (bytes32[] memory up, uint256[] memory upSums)
    {
        uint256 count = (hashes.length + 1) / 2;
        (up, upSums) = (new bytes32[](count), new uint256[](count));
        for (uint256 i; i < count; ++i) {
            uint256 j = 2 * i;
            bool alone = j + 1 == hashes.length;
            up[i] = alone ? hashes[j] : keccak256(abi.encode(hashes[j], sums[j], hashes[j + 1], sums[j + 1]));
            upSums[i] = alone ? sums[j] : sums[j] + sums[j + 1];
        }
    }

    function siblingsOf(Tree memory tree, uint256 leaf) internal pure returns (bytes32[] memory words) {
        words = new bytes32[](2 * tree.hashes.length);
        uint256 used;
        for (uint256 level; level + 1 < tree.hashes.length; ++level) {
            uint256 other = (leaf >> level) ^ 1;
            if (other >= tree.hashes[level].length) continue;
            words[used] = tree.hashes[level][other];
            words[used + 1] = sumWord(tree.sums[level][other], other & 1 == 0);
            used += 2;
        }
        assembly ("memory-safe") {
            mstore(words, used)
        }
    }

    function sumWord(uint256 sum, bool left) internal pure returns (bytes32) {
        return bytes32(sum | (left ? 1 << 255 : 0));
    }

    function winOf(Tree memory tree, uint256 leaf, uint8 draw)
        internal
        pure
        returns (BatchPayments.Win memory)
    {
        return BatchPayments.Win(
            draw, tree.leaves[leaf].chunk, tree.leaves[leaf].shares, siblingsOf(tree, leaf)
        );
    }

    function leafAt(Tree memory tree, uint256 point) internal pure returns (uint256 leaf) {
        while (point >= tree.leaves[leaf].offset + tree.leaves[leaf].sum) ++leaf;
    }

    // ---- a batch's life ----

    function termsOf(Tree memory tree, uint8 draws) internal view returns (BatchPayments.Batch memory) {
        return BatchPayments.Batch(PAYER, tree.root, uint96(tree.total), TIP, uploadBy(), draws);
    }

    function escrowOf(BatchPayments.Batch memory batch) internal pure returns (uint256) {
        return batch.total + uint256(batch.tip) * batch.draws;
    }

    function commit(BatchPayments.Batch memory batch) internal returns (bytes32) {
        vm.prank(batch.payer);
        return vault.commit(batch, uint40(block.timestamp));
    }

    /// Goes to the first second at which the seed can be known, and makes it known.
    function seed(BatchPayments.Batch memory batch, bytes32 value) internal {
        uint256 time = vault.drawTime(batch.uploadBy);
        vm.warp(beacon.boundary(time));
        beacon.post(time, abi.encode(value));
    }

    function winnerOf(BatchPayments.Batch memory batch, Tree memory tree, uint8 draw)
        internal
        view
        returns (uint256)
    {
        bytes32 value = vault.seedFor(batch.uploadBy);
        bytes32 id = vault.batchId(batch);
        return leafAt(tree, vault.drawPoint(value, id, batch.total, batch.draws, draw));
    }

    /// The wins of the draws from `first` on.
    function winsOf(BatchPayments.Batch memory batch, Tree memory tree, uint8 first, uint8 count)
        internal
        view
        returns (BatchPayments.Win[] memory wins)
    {
        wins = new BatchPayments.Win[](count);
        for (uint8 i; i < count; ++i) {
            wins[i] = winOf(tree, winnerOf(batch, tree, first + i), first + i);
        }
    }

    function one(BatchPayments.Win memory win) internal pure returns (BatchPayments.Win[] memory wins) {
        wins = new BatchPayments.Win[](1);
        wins[0] = win;
    }

    function one(BatchPayments.Batch memory batch)
        internal
        pure
        returns (BatchPayments.Batch[] memory batches)
    {
        batches = new BatchPayments.Batch[](1);
        batches[0] = batch;
    }

    /// Credits of all payees that `leavesOf` and `leafOf` use.
    function creditOfAll() internal view returns (uint256 sum) {
        for (uint256 i; i < 300; ++i) {
            sum += vault.credit(payee(i));
        }
    }
}
