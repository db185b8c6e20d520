// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {ChunkVault} from "../src/ChunkVault.sol";
import {DirectPayments} from "../src/DirectPayments.sol";
import {VaultCore} from "../src/VaultCore.sol";
import {TestBase} from "./support/TestBase.sol";

/// @title Direct payments: what they record, whom they credit, what they refuse
contract PayDirectTest is TestBase {
    function setUp() public {
        _prepare();
    }

    function _assertUntouched(bytes32 id) private view {
        vm.assertEq(vault.records(id), 0, "record");
        vm.assertEq(token.balanceOf(PAYER), SUPPLY, "payer's balance");
        vm.assertEq(token.balanceOf(address(vault)), 0, "vault's balance");
        vm.assertEq(vault.credit(payee(0)), 0, "credit");
    }

    function _expectRefused(bytes memory reason, address payer, bytes32[] memory entries, uint40 until)
        private
    {
        bytes32 id = vault.directId(payer, entries, until);
        vm.expectRevert(reason);
        vm.prank(PAYER);
        vault.payDirect(payer, entries, until, uint40(block.timestamp));
        _assertUntouched(id);
    }

    // ---- what a payment does ----

    function test_recordsCreditsAndTakesTheSum() public {
        bytes32[] memory entries = list(0, 5, 7);
        uint40 until = uploadBy();
        bytes32 id = vault.directId(PAYER, entries, until);
        vm.expectEmit(address(vault));
        emit DirectPayments.PaidDirect(id, PAYER, 35);
        vm.prank(PAYER);
        bytes32 got = vault.payDirect(PAYER, entries, until, uint40(START));
        vm.assertEq(got, id, "id");
        vm.assertEq(vault.records(id), START, "record: the time of the payment");
        for (uint256 i; i < 5; ++i) {
            vm.assertEq(vault.credit(payee(i)), 7, "credit");
        }
        vm.assertEq(token.balanceOf(address(vault)), 35, "vault");
        vm.assertEq(token.balanceOf(PAYER), SUPPLY - 35, "payer");
    }

    function test_recordNeverChanges() public {
        bytes32 id = pay(list(0, 1, 7));
        vm.warp(START + 1 hours);
        pay(list(0, 1, 8));
        vault.withdraw(payee(0));
        vm.assertEq(vault.records(id), START, "record");
    }

    function testFuzz_creditsAnyList(uint96[9] memory amounts, uint8[9] memory payees) public {
        bytes32[] memory entries = new bytes32[](18);
        uint256[4] memory expected;
        uint256 total;
        for (uint256 i; i < 9; ++i) {
            uint256 who = payees[i] % 4;
            entries[2 * i] = share(payee(who), amounts[i]);
            entries[2 * i + 1] = bytes32(i);
            expected[who] += amounts[i];
            total += amounts[i];
        }
        vm.assume(total != 0);
        pay(entries);
        for (uint256 i; i < 4; ++i) {
            vm.assertEq(vault.credit(payee(i)), expected[i], "credit");
        }
        vm.assertEq(token.balanceOf(address(vault)), total, "vault");
    }

    function test_onePayeeWithManyLeaves() public {
        bytes32[] memory entries = list(0, 500, 3);
        for (uint256 i; i < 500; ++i) {
            entries[2 * i] = share(payee(0), 3);
        }
        pay(entries);
        vm.assertEq(vault.credit(payee(0)), 1500, "credit");
    }

    function test_samePairTwiceCountsTwice() public {
        bytes32[] memory entries = new bytes32[](4);
        (entries[0], entries[1]) = (share(payee(0), 3), bytes32("leaf"));
        (entries[2], entries[3]) = (entries[0], entries[1]);
        pay(entries);
        vm.assertEq(vault.credit(payee(0)), 6, "credit");
    }

    function test_largestAmounts() public {
        pay(list(0, 500, type(uint96).max));
        for (uint256 i; i < 500; ++i) {
            vm.assertEq(vault.credit(payee(i)), type(uint96).max, "credit");
        }
        vm.assertEq(token.balanceOf(address(vault)), 500 * uint256(type(uint96).max), "vault");
    }

    function test_largestAmountsToOnePayeeDoNotWrapAt96Bits() public {
        bytes32[] memory entries = list(0, 500, 0);
        for (uint256 i; i < 500; ++i) {
            entries[2 * i] = share(address(type(uint160).max), type(uint96).max);
        }
        pay(entries);
        vm.assertEq(vault.credit(address(type(uint160).max)), 500 * uint256(type(uint96).max), "credit");
    }

    function test_zeroAmountBesideOthers() public {
        bytes32[] memory entries = list(0, 2, 0);
        entries[2] = share(payee(1), 1);
        pay(entries);
        vm.assertEq(vault.credit(payee(0)), 0, "nothing");
        vm.assertEq(vault.credit(payee(1)), 1, "one");
    }

    // ---- once ----

    function test_samePlanTwiceIsChargedOnce() public {
        bytes32[] memory entries = list(0, 5, 7);
        uint40 until = uploadBy();
        bytes32 id = pay(entries);
        bytes memory exists = abi.encodeWithSelector(VaultCore.Exists.selector, id);
        // At once, with another deadline, and after the window has closed: the answer stays the same.
        uint256[3] memory times = [START, START + 1, START + 30 days];
        for (uint256 i; i < 3; ++i) {
            vm.warp(times[i]);
            vm.expectRevert(exists);
            vm.prank(PAYER);
            vault.payDirect(PAYER, entries, until, type(uint40).max);
        }
        vm.assertEq(token.balanceOf(address(vault)), 35, "charged once");
        vm.assertEq(vault.credit(payee(0)), 7, "credited once");
        vm.assertEq(vault.records(id), START, "record");
    }

    function testFuzz_idIgnoresTheDeadline(uint40 late) public {
        bytes32[] memory entries = list(0, 1, 7);
        uint40 until = uploadBy();
        vm.assume(late >= START);
        bytes32 id = vault.directId(PAYER, entries, until);
        vm.prank(PAYER);
        vm.assertEq(vault.payDirect(PAYER, entries, until, late), id, "id");
    }

    function test_everyOtherTermChangesTheId() public {
        bytes32[] memory entries = list(0, 2, 7);
        uint40 until = uploadBy();
        bytes32 id = vault.directId(PAYER, entries, until);
        vm.assertTrue(id != vault.directId(STRANGER, entries, until), "payer");
        vm.assertTrue(id != vault.directId(PAYER, entries, until + 1), "uploadBy");
        ChunkVault other = newVault(token);
        vm.assertTrue(id != other.directId(PAYER, entries, until), "vault");
        for (uint256 i; i < 4; ++i) {
            bytes32 word = entries[i];
            entries[i] = bytes32(uint256(word) ^ 1);
            vm.assertTrue(id != vault.directId(PAYER, entries, until), "entry");
            entries[i] = word;
        }
        vm.chainId(block.chainid + 1);
        vm.assertTrue(id != vault.directId(PAYER, entries, until), "chain");
    }

    function test_laterPaymentForTheSameChunksIsAnotherOne() public {
        bytes32[] memory entries = list(0, 5, 7);
        bytes32 first = pay(entries);
        vm.warp(START + 1);
        vm.assertTrue(first != pay(entries), "id");
        vm.assertEq(vault.credit(payee(0)), 14, "credit");
    }

    // ---- who ----

    function test_otherSenderChargesNobody() public {
        bytes32[] memory entries = list(0, 5, 7);
        uint40 until = uploadBy();
        bytes32 id = vault.directId(PAYER, entries, until);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.NotPayer.selector, PAYER, STRANGER));
        vm.prank(STRANGER);
        vault.payDirect(PAYER, entries, until, uint40(START));
        _assertUntouched(id);
    }

    function test_fundedSenderCannotPayForAnother() public {
        _expectRefused(
            abi.encodeWithSelector(VaultCore.NotPayer.selector, STRANGER, PAYER),
            STRANGER,
            list(0, 5, 7),
            uploadBy()
        );
    }

    // ---- when ----

    function test_deadlineToTheSecond() public {
        bytes32[] memory entries = list(0, 1, 7);
        uint40 until = uploadBy();
        uint40 deadline = uint40(START + 60);
        vm.warp(START + 61);
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Expired.selector, deadline, START + 61));
        vm.prank(PAYER);
        vault.payDirect(PAYER, entries, until, deadline);
        _assertUntouched(vault.directId(PAYER, entries, until));
        vm.warp(START + 60);
        vm.prank(PAYER);
        bytes32 id = vault.payDirect(PAYER, entries, until, deadline);
        vm.assertEq(vault.records(id), START + 60, "record");
    }

    function test_windowToTheSecond() public {
        uint40 earliest = uint40(START) + MIN_WINDOW;
        uint40 latest = uint40(START) + MAX_WINDOW;
        bytes32[] memory entries = list(0, 1, 7);
        uint40[4] memory outside = [earliest - 1, latest + 1, 0, type(uint40).max];
        for (uint256 i; i < 4; ++i) {
            bytes memory reason = abi.encodeWithSelector(
                VaultCore.BadUploadBy.selector, outside[i], uint256(earliest), uint256(latest)
            );
            _expectRefused(reason, PAYER, entries, outside[i]);
        }
        vm.prank(PAYER);
        vault.payDirect(PAYER, entries, earliest, uint40(START));
        vm.prank(PAYER);
        vault.payDirect(PAYER, entries, latest, uint40(START));
        vm.assertEq(vault.credit(payee(0)), 14, "both bounds are inside");
    }

    // ---- what ----

    function test_entryCounts() public {
        uint256[5] memory words = [uint256(0), 1, 3, 999, 1002];
        for (uint256 i; i < 5; ++i) {
            bytes32[] memory entries = new bytes32[](words[i]);
            for (uint256 j; j < words[i]; ++j) {
                entries[j] = share(payee(0), 1);
            }
            _expectRefused(
                abi.encodeWithSelector(DirectPayments.BadEntryCount.selector, words[i]),
                PAYER,
                entries,
                uploadBy()
            );
        }
        pay(list(0, 500, 1));
        vm.assertEq(token.balanceOf(address(vault)), 500, "the largest list");
    }

    function test_zeroPayeeAnywhere() public {
        uint256[3] memory places = [uint256(0), 3, 9];
        for (uint256 i; i < 3; ++i) {
            bytes32[] memory entries = list(0, 10, 7);
            entries[2 * places[i]] = share(address(0), 7);
            _expectRefused(
                abi.encodeWithSelector(DirectPayments.ZeroPayee.selector, places[i]),
                PAYER,
                entries,
                uploadBy()
            );
        }
    }

    function test_zeroTotal() public {
        _expectRefused(abi.encodeWithSelector(VaultCore.ZeroTotal.selector), PAYER, list(0, 5, 0), uploadBy());
    }

    // ---- with what ----

    function test_allowanceOneShort() public {
        vm.prank(PAYER);
        token.approve(address(vault), 34);
        _expectRefused(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(vault), 34, 35),
            PAYER,
            list(0, 5, 7),
            uploadBy()
        );
    }

    function test_exactAllowanceIsUsedUp() public {
        vm.prank(PAYER);
        token.approve(address(vault), 35);
        pay(list(0, 5, 7));
        vm.assertEq(token.allowance(PAYER, address(vault)), 0, "allowance");
    }

    function test_balanceOneShort() public {
        bytes32[] memory entries = list(0, 5, 7);
        uint40 until = uploadBy();
        vm.prank(PAYER);
        token.transfer(STRANGER, SUPPLY - 34);
        vm.expectRevert(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientBalance.selector, PAYER, 34, 35));
        vm.prank(PAYER);
        vault.payDirect(PAYER, entries, until, uint40(START));
        vm.assertEq(vault.records(vault.directId(PAYER, entries, until)), 0, "record");
        vm.assertEq(vault.credit(payee(0)), 0, "credit");
    }
}
