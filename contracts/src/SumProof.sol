// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Proofs of Merkle-sum trees: where a leaf lies in [0, total)
/// @notice Every node of the tree is a hash and a sum. A leaf's hash covers the chunk and its shares, its sum is that
/// of the shares' amounts; a node's hash covers hash and sum of both children, its sum is theirs; an odd node moves
/// up unchanged. So the leaves, from left to right, are segments that fill [0, total) without gap or overlap.
///
/// A leaf's preimage has 96 bytes and a node's 128, so that neither passes for the other.
library SumProof {
    /// @dev The highest bit of a sibling's second word: set if the sibling is on the left.
    uint256 private constant LEFT = 1 << 255;

    /// @notice The hash that stands for one chunk and the shares paid for it.
    /// @param chunk the chunk's address
    /// @param shares words `payee << 96 | amount`, in the order of the chunk's quotes
    function leafHash(bytes32 chunk, bytes32[] calldata shares) internal pure returns (bytes32) {
        return keccak256(abi.encode(bytes32("leaf"), chunk, keccak256(abi.encodePacked(shares))));
    }

    /// @notice The sum of a leaf: that of its shares' amounts. Unchecked: each is below 2^96, and no call has 2^160.
    function leafSum(bytes32[] calldata shares) internal pure returns (uint256 sum) {
        unchecked {
            for (uint256 i; i < shares.length; ++i) {
                sum += uint96(uint256(shares[i]));
            }
        }
    }

    /// @notice Climbs from a leaf to the root.
    /// @dev `siblings` must be of even length. Sums are checked on every level, before they are added: no sum can
    /// wrap, and none on the way is above the total.
    /// @param hash the leaf's hash
    /// @param sum the leaf's sum
    /// @param siblings two words a level, from the leaf up: `[hash, side << 255 | sum]`, side 1 if the sibling is on
    /// the left
    /// @param root the tree's root hash
    /// @param total the tree's sum, below 2^255
    /// @return ok whether the path ends at exactly this root with exactly this total
    /// @return offset where the leaf's segment begins; it ends before `offset + sum`. Meaningless unless `ok`
    function locate(bytes32 hash, uint256 sum, bytes32[] calldata siblings, bytes32 root, uint256 total)
        internal
        pure
        returns (bool ok, uint256 offset)
    {
        if (sum > total) return (false, 0);
        // Unchecked: no sum here is above the total. It saves 2,160 gas at 12 levels (measured).
        unchecked {
            for (uint256 i; i < siblings.length; i += 2) {
                bytes32 other = siblings[i];
                uint256 word = uint256(siblings[i + 1]);
                uint256 otherSum = word & ~LEFT;
                if (otherSum > total - sum) return (false, 0);
                if (word & LEFT != 0) {
                    hash = _node(other, otherSum, hash, sum);
                    offset += otherSum;
                } else {
                    hash = _node(hash, sum, other, otherSum);
                }
                sum += otherSum;
            }
        }
        ok = hash == root && sum == total;
    }

    /// @dev keccak256 of the four words. In assembly, because `abi.encode` takes new memory on every level: it saves
    /// 2,140 gas at 12 levels, 4 % of a draw (measured).
    function _node(bytes32 left, uint256 leftSum, bytes32 right, uint256 rightSum)
        private
        pure
        returns (bytes32 hash)
    {
        assembly ("memory-safe") {
            let words := mload(0x40)
            mstore(words, left)
            mstore(add(words, 32), leftSum)
            mstore(add(words, 64), right)
            mstore(add(words, 96), rightSum)
            hash := keccak256(words, 128)
        }
    }
}
