// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ChunkVault} from "../src/ChunkVault.sol";
import {TestBase} from "./support/TestBase.sol";

/// @title vectors/direct.json, which the Rust tests read too: the vault gives every hash in it
contract VectorsTest is TestBase {
    string private json;

    function setUp() public {
        _prepare();
        json = vm.readFile("vectors/direct.json");
    }

    function _item(string memory array, uint256 index) private pure returns (string memory) {
        return string.concat(".", array, "[", vm.toString(index), "]");
    }

    function _count(string memory array) private view returns (uint256 n) {
        while (vm.keyExistsJson(json, _item(array, n))) ++n;
    }

    function _shareWord(string memory item) private view returns (bytes32) {
        uint256 amount = vm.parseJsonUint(json, string.concat(item, ".amount"));
        vm.assertLe(amount, type(uint96).max, "an amount of 96 bits");
        return share(vm.parseJsonAddress(json, string.concat(item, ".payee")), uint96(amount));
    }

    function test_shareWords() public view {
        uint256 n = _count("shareWords");
        vm.assertEq(n, 8, "vectors");
        for (uint256 i; i < n; ++i) {
            string memory item = _item("shareWords", i);
            vm.assertEq(_shareWord(item), vm.parseJsonBytes32(json, string.concat(item, ".word")), item);
        }
    }

    /// The vault reads a share word as its vector says.
    function test_shareWordsCreditTheirPayees() public {
        uint256 n = _count("shareWords");
        bytes32[] memory entries = new bytes32[](2 * n);
        for (uint256 i; i < n; ++i) {
            entries[2 * i] = vm.parseJsonBytes32(json, string.concat(_item("shareWords", i), ".word"));
        }
        pay(entries);
        for (uint256 i; i < n; ++i) {
            address who = vm.parseJsonAddress(json, string.concat(_item("shareWords", i), ".payee"));
            uint256 owed;
            for (uint256 j; j < n; ++j) {
                string memory item = _item("shareWords", j);
                if (vm.parseJsonAddress(json, string.concat(item, ".payee")) != who) continue;
                owed += vm.parseJsonUint(json, string.concat(item, ".amount"));
            }
            vm.assertEq(vault.credit(who), owed, "credit");
        }
    }

    function test_leaves() public view {
        uint256 n = _count("leaves");
        vm.assertEq(n, 8, "vectors");
        for (uint256 i; i < n; ++i) {
            string memory item = _item("leaves", i);
            bytes32[] memory words = vm.parseJsonBytes32Array(json, string.concat(item, ".words"));
            vm.assertEq(words.length, _count(string.concat("leaves[", vm.toString(i), "].shares")), item);
            for (uint256 j; j < words.length; ++j) {
                vm.assertEq(_shareWord(string.concat(item, ".shares[", vm.toString(j), "]")), words[j], item);
            }
            bytes32 chunk = vm.parseJsonBytes32(json, string.concat(item, ".chunk"));
            bytes32 expected = vm.parseJsonBytes32(json, string.concat(item, ".leafHash"));
            vm.assertEq(vault.leafHash(chunk, words), expected, item);
        }
    }

    function test_directIds() public {
        uint256 n = _count("directIds");
        vm.assertEq(n, 11, "vectors");
        for (uint256 i; i < n; ++i) {
            string memory item = _item("directIds", i);
            address where = vm.parseJsonAddress(json, string.concat(item, ".vault"));
            vm.etch(where, address(vault).code);
            vm.chainId(vm.parseJsonUint(json, string.concat(item, ".chainId")));
            bytes32 id = ChunkVault(where)
                .directId(
                    vm.parseJsonAddress(json, string.concat(item, ".payer")),
                    vm.parseJsonBytes32Array(json, string.concat(item, ".entries")),
                    uint40(vm.parseJsonUint(json, string.concat(item, ".uploadBy")))
                );
            vm.assertEq(id, vm.parseJsonBytes32(json, string.concat(item, ".id")), item);
        }
    }
}
