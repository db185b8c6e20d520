// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BatchPayments} from "../src/BatchPayments.sol";
import {ChunkVault} from "../src/ChunkVault.sol";
import {BatchBase} from "./support/BatchBase.sol";

/// @title vectors/batch.json, which the Rust tests read too: the vault gives every id, point, prize and credit in it
contract BatchVectorsTest is BatchBase {
    uint256 private constant TREES = 18;
    uint256 private constant REFUSED = 20;

    struct Proof {
        uint256 leaf;
        bytes32 hash;
        uint256 sum;
        uint256 offset;
        bytes32[] siblings;
    }

    struct Drawn {
        uint8 draw;
        uint256 point;
        uint256 leaf;
        uint256 prize;
        uint256[] paid;
    }

    struct Bad {
        bytes32 root;
        uint96 total;
        bytes32 chunk;
        bytes32[] shares;
        bytes32[] siblings;
    }

    struct Given {
        bytes32 chunk;
        bytes32[] shares;
    }

    string private json;
    ChunkVault private there;

    function setUp() public {
        _prepare();
        json = vm.readFile("vectors/batch.json");
        there = ChunkVault(vm.parseJsonAddress(json, ".domain.vault"));
        vm.chainId(vm.parseJsonUint(json, ".domain.chainId"));
        vm.etch(address(there), address(vault).code);
        vault = there;
    }

    function _read(string memory place, string memory description) private view returns (bytes memory) {
        return vm.parseJsonType(json, place, description);
    }

    function _list(string memory place, string memory description) private view returns (bytes memory) {
        return vm.parseJsonTypeArray(json, place, description);
    }

    function _at(uint256 index, string memory field) private pure returns (string memory) {
        return string.concat(".trees[", vm.toString(index), "]", field);
    }

    function _terms(uint256 index) private view returns (BatchPayments.Batch memory) {
        return abi.decode(
            _read(
                _at(index, ".terms"),
                "Terms(address payer,bytes32 root,uint96 total,uint96 tip,uint40 uploadBy,uint8 draws)"
            ),
            (BatchPayments.Batch)
        );
    }

    function _tree(uint256 index) private view returns (Tree memory) {
        Given[] memory given =
            abi.decode(_list(_at(index, ".leaves"), "Given(bytes32 chunk,bytes32[] shares)"), (Given[]));
        Leaf[] memory leaves = new Leaf[](given.length);
        for (uint256 i; i < given.length; ++i) {
            leaves[i] = leafOf(given[i].chunk, given[i].shares);
        }
        return treeOf(leaves);
    }

    function _proofs(uint256 index) private view returns (Proof[] memory) {
        return abi.decode(
            _list(
                _at(index, ".proofs"),
                "Proof(uint256 leaf,bytes32 hash,uint256 sum,uint256 offset,bytes32[] siblings)"
            ),
            (Proof[])
        );
    }

    function _drawn(uint256 index, uint256 number) private view returns (Drawn[] memory) {
        return abi.decode(
            _list(
                _at(index, string.concat(".seeds[", vm.toString(number), "].wins")),
                "Drawn(uint8 draw,uint256 point,uint256 leaf,uint256 prize,uint256[] paid)"
            ),
            (Drawn[])
        );
    }

    function test_counts() public view {
        vm.assertTrue(vm.keyExistsJson(json, _at(TREES - 1, "")), "trees");
        vm.assertTrue(!vm.keyExistsJson(json, _at(TREES, "")), "no more trees");
        vm.assertTrue(
            vm.keyExistsJson(json, string.concat(".refused[", vm.toString(REFUSED - 1), "]")), "refused"
        );
        vm.assertTrue(
            !vm.keyExistsJson(json, string.concat(".refused[", vm.toString(REFUSED), "]")), "no more"
        );
    }

    /// Ids, roots, leaf hashes, proofs: against the vault and against the tests' own trees.
    function test_treesAndProofs() public view {
        for (uint256 i; i < TREES; ++i) {
            BatchPayments.Batch memory terms = _terms(i);
            string memory name = _at(i, "");
            vm.assertEq(there.batchId(terms), vm.parseJsonBytes32(json, _at(i, ".id")), name);
            Tree memory tree = _tree(i);
            vm.assertEq(tree.root, terms.root, name);
            vm.assertEq(tree.total, terms.total, name);
            Proof[] memory proofs = _proofs(i);
            for (uint256 p; p < proofs.length; ++p) {
                Proof memory proof = proofs[p];
                Leaf memory leaf = tree.leaves[proof.leaf];
                vm.assertEq(there.leafHash(leaf.chunk, leaf.shares), proof.hash, name);
                vm.assertEq(leaf.sum, proof.sum, name);
                vm.assertEq(leaf.offset, proof.offset, name);
                vm.assertEq(
                    keccak256(abi.encode(siblingsOf(tree, proof.leaf))),
                    keccak256(abi.encode(proof.siblings)),
                    name
                );
            }
        }
    }

    function _siblings(Proof[] memory proofs, uint256 leaf) private pure returns (bytes32[] memory) {
        uint256 i;
        while (proofs[i].leaf != leaf) ++i;
        return proofs[i].siblings;
    }

    function _credits(Leaf memory leaf) private view returns (uint256[] memory credits) {
        credits = new uint256[](leaf.shares.length);
        for (uint256 i; i < credits.length; ++i) {
            credits[i] = there.credit(address(uint160(uint256(leaf.shares[i]) >> 96)));
        }
    }

    /// Each draw is settled by the vector's leaf with the vector's proof, and pays the vector's amounts.
    function _settleOne(
        BatchPayments.Batch memory terms,
        Leaf memory leaf,
        bytes32[] memory siblings,
        Drawn memory drawn
    ) private {
        uint256[] memory before = _credits(leaf);
        BatchPayments.Win[] memory wins =
            one(BatchPayments.Win(drawn.draw, leaf.chunk, leaf.shares, siblings));
        vm.assertEq(there.settle(terms, wins, ""), 1, "settled");
        vm.assertEq(there.prize(terms, drawn.draw), drawn.prize, "prize");
        uint256[] memory later = _credits(leaf);
        for (uint256 i; i < before.length; ++i) {
            // A payee may be in the leaf more than once.
            uint256 due;
            for (uint256 j; j < before.length; ++j) {
                if (uint256(leaf.shares[i]) >> 96 == uint256(leaf.shares[j]) >> 96) due += drawn.paid[j];
            }
            vm.assertEq(later[i] - before[i], due, "paid");
        }
    }

    function test_draws() public {
        for (uint256 i; i < TREES; ++i) {
            BatchPayments.Batch memory terms = _terms(i);
            Tree memory tree = _tree(i);
            Proof[] memory proofs = _proofs(i);
            for (uint256 number; number < 2; ++number) {
                bytes32 value = vm.parseJsonBytes32(
                    json, _at(i, string.concat(".seeds[", vm.toString(number), "].seed"))
                );
                Drawn[] memory drawn = _drawn(i, number);
                vm.assertEq(drawn.length, terms.draws, "every draw is there");
                for (uint256 d; d < drawn.length; ++d) {
                    bytes32 id = there.batchId(terms);
                    uint256 point = there.drawPoint(value, id, terms.total, terms.draws, uint8(d));
                    vm.assertEq(drawn[d].draw, d, "in order");
                    vm.assertEq(point, drawn[d].point, "point");
                    vm.assertEq(leafAt(tree, point), drawn[d].leaf, "winner");
                }
                // The first seed is settled for real.
                if (number == 0) _settleAll(terms, tree, proofs, drawn, value);
            }
        }
    }

    function _settleAll(
        BatchPayments.Batch memory terms,
        Tree memory tree,
        Proof[] memory proofs,
        Drawn[] memory drawn,
        bytes32 value
    ) private {
        vm.warp(terms.uploadBy - 1 hours);
        vm.prank(PAYER);
        token.transfer(terms.payer, escrowOf(terms));
        vm.prank(terms.payer);
        token.approve(address(there), escrowOf(terms));
        vm.prank(terms.payer);
        there.commit(terms, type(uint40).max);
        seed(terms, value);
        for (uint256 d; d < drawn.length; ++d) {
            uint256 leaf = drawn[d].leaf;
            _settleOne(terms, tree.leaves[leaf], _siblings(proofs, leaf), drawn[d]);
        }
    }

    function test_refused() public {
        for (uint256 i; i < REFUSED; ++i) {
            Bad memory bad = abi.decode(
                _read(
                    string.concat(".refused[", vm.toString(i), "]"),
                    "Bad(bytes32 root,uint96 total,bytes32 chunk,bytes32[] shares,bytes32[] siblings)"
                ),
                (Bad)
            );
            vm.warp(START);
            BatchPayments.Batch memory batch =
                BatchPayments.Batch(PAYER, bad.root, bad.total, uint96(i), uint40(START + 1 days), 1);
            vm.prank(PAYER);
            token.approve(address(there), type(uint256).max);
            commit(batch);
            seed(batch, SEED);
            vm.expectRevert(abi.encodeWithSelector(BatchPayments.BadProof.selector, 0));
            there.settle(batch, one(BatchPayments.Win(0, bad.chunk, bad.shares, bad.siblings)), "");
        }
    }
}
