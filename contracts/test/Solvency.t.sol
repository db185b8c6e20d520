// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {PaymentHandler} from "./support/PaymentHandler.sol";
import {Vm} from "./support/Vm.sol";

/// @title Whatever is called in whatever order: the vault owes exactly what it was paid and has not paid out
contract SolvencyTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    PaymentHandler private handler;
    address[] private targets;

    function setUp() public {
        handler = new PaymentHandler();
        targets.push(address(handler));
    }

    function targetContracts() public view returns (address[] memory) {
        return targets;
    }

    function invariant_balanceIsCreditsAndGifts() public view {
        vm.assertEq(handler.held(), handler.credits() + handler.gifts(), "balance == credits + gifts");
    }

    function invariant_creditsAreWhatWasPaidLessWhatLeft() public view {
        vm.assertEq(handler.credits(), handler.paid() - handler.withdrawn(), "credits == paid - withdrawn");
    }

    function invariant_recordsNeverChange() public view {
        for (uint256 i; i < handler.planCount(); ++i) {
            (bytes32 id, uint256 record) = handler.recordOf(i);
            vm.assertEq(handler.recordNow(id), record, "record");
        }
    }
}
