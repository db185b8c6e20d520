// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ChunkVault} from "../src/ChunkVault.sol";
import {VaultCore} from "../src/VaultCore.sol";
import {TestBase} from "./support/TestBase.sol";

/// @title Withdrawals: one unit stays, the payee gets the rest whoever asks
contract WithdrawTest is TestBase {
    function setUp() public {
        _prepare();
    }

    function test_leavesOneUnit() public {
        pay(list(0, 1, 100));
        vm.expectEmit(address(vault));
        emit VaultCore.Withdrawn(payee(0), 99);
        vm.assertEq(vault.withdraw(payee(0)), 99, "amount");
        vm.assertEq(vault.credit(payee(0)), 1, "credit");
        vm.assertEq(token.balanceOf(payee(0)), 99, "payee");
        vm.assertEq(token.balanceOf(address(vault)), 1, "vault");
        vm.assertEq(vault.withdraw(payee(0)), 0, "the second time");
        vm.assertEq(token.balanceOf(payee(0)), 99, "payee after the second time");
    }

    function test_theUnitCountsNextTime() public {
        pay(list(0, 1, 100));
        vault.withdraw(payee(0));
        pay(list(0, 1, 50));
        vm.assertEq(vault.withdraw(payee(0)), 50, "amount");
        vm.assertEq(vault.credit(payee(0)), 1, "credit");
        vm.assertEq(token.balanceOf(payee(0)), 149, "payee");
    }

    function test_nothingToTake() public {
        vm.assertEq(vault.withdraw(payee(0)), 0, "unknown payee");
        pay(list(0, 1, 1));
        vm.assertEq(vault.withdraw(payee(0)), 0, "one unit");
        vm.assertEq(vault.credit(payee(0)), 1, "credit");
    }

    function test_anybodyMayAsk() public {
        pay(list(0, 2, 100));
        vm.prank(STRANGER);
        vm.assertEq(vault.withdraw(payee(0)), 99, "amount");
        vm.assertEq(token.balanceOf(payee(0)), 99, "to the payee");
        vm.assertEq(token.balanceOf(STRANGER), 0, "not to the sender");
        vm.assertEq(vault.credit(payee(1)), 100, "the other payee");
    }

    function testFuzz_amounts(uint96 amount) public {
        vm.assume(amount != 0);
        pay(list(0, 1, amount));
        vm.assertEq(vault.withdraw(payee(0)), amount - 1, "amount");
        vm.assertEq(token.balanceOf(payee(0)), amount - 1, "payee");
        vm.assertEq(token.balanceOf(address(vault)), 1, "vault");
    }

    /// A payer may name the vault itself: what it pays there is lost to it, and to nobody else.
    function test_creditOfTheVaultItselfStays() public {
        bytes32[] memory entries = list(0, 2, 100);
        entries[2] = share(address(vault), 100);
        pay(entries);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.WrongAmount.selector, 99, 0));
        vault.withdraw(address(vault));
        vm.assertEq(vault.withdraw(payee(0)), 99, "the other payee");
        vm.assertEq(token.balanceOf(address(vault)), 101, "vault");
    }
}
