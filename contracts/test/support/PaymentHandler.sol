// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {VaultCore} from "../../src/VaultCore.sol";
import {BatchBase} from "./BatchBase.sol";

/// @title The moves of the invariant test, with its own account of what should have happened
/// @dev Every move succeeds or expects its exact revert: the invariant run fails on any other revert.
contract PaymentHandler is BatchBase {
    uint256 internal constant PAYEES = 8;

    struct Plan {
        address payer;
        bytes32[] entries;
        uint40 uploadBy;
        bytes32 id;
        uint256 record;
    }

    Plan[] private plans;
    uint256 public paid;
    uint256 public withdrawn;
    uint256 public gifts;
    uint256 private nonce;

    constructor() {
        _prepare();
    }

    function _payer(uint256 seed) private returns (address who) {
        who = address(uint160(0xB0B0 + seed % 3));
        if (token.allowance(who, address(vault)) == 0) {
            vm.prank(who);
            token.approve(address(vault), type(uint256).max);
        }
    }

    /// A new plan of 1 to 8 pairs.
    function pay(
        uint256 payer,
        uint8 pairs,
        uint96[8] calldata amounts,
        uint8[8] calldata payees,
        uint32 window
    ) external {
        Plan memory plan;
        plan.payer = _payer(payer);
        plan.entries = new bytes32[](2 * (1 + pairs % 8));
        uint256 total;
        for (uint256 i; 2 * i < plan.entries.length; ++i) {
            uint96 amount = amounts[i] % 1e24;
            if (i == 0) amount += 1;
            plan.entries[2 * i] = share(payee(payees[i] % PAYEES), amount);
            plan.entries[2 * i + 1] = bytes32(++nonce);
            total += amount;
        }
        plan.uploadBy = uint40(block.timestamp + MIN_WINDOW + window % (MAX_WINDOW - MIN_WINDOW + 1));
        plan.record = block.timestamp;
        vm.prank(PAYER);
        token.transfer(plan.payer, total);
        vm.prank(plan.payer);
        plan.id = vault.payDirect(plan.payer, plan.entries, plan.uploadBy, uint40(block.timestamp));
        plans.push(plan);
        paid += total;
    }

    /// An old plan again, from its payer.
    function payAgain(uint256 which) external {
        if (plans.length == 0) return;
        Plan memory plan = plans[which % plans.length];
        vm.expectRevert(abi.encodeWithSelector(VaultCore.Exists.selector, plan.id));
        vm.prank(plan.payer);
        vault.payDirect(plan.payer, plan.entries, plan.uploadBy, type(uint40).max);
    }

    /// An old plan from another sender.
    function payForAnother(uint256 which) external {
        if (plans.length == 0) return;
        Plan memory plan = plans[which % plans.length];
        vm.expectRevert(abi.encodeWithSelector(VaultCore.NotPayer.selector, plan.payer, STRANGER));
        vm.prank(STRANGER);
        vault.payDirect(plan.payer, plan.entries, plan.uploadBy, type(uint40).max);
    }

    function withdraw(uint256 seed) external {
        address who = payee(seed % PAYEES);
        uint256 owed = vault.credit(who);
        uint256 got = vault.withdraw(who);
        vm.assertEq(got, owed > 1 ? owed - 1 : 0, "all but one unit");
        withdrawn += got;
    }

    /// Tokens that reach the vault without a payment belong to nobody.
    function gift(uint96 amount) external {
        vm.prank(PAYER);
        token.transfer(address(vault), amount % 1e24);
        gifts += amount % 1e24;
    }

    function wait(uint32 time) external {
        vm.warp(block.timestamp + time % 3 days);
    }

    function held() external view returns (uint256) {
        return token.balanceOf(address(vault));
    }

    function credits() external view returns (uint256 sum) {
        for (uint256 i; i < PAYEES; ++i) {
            sum += vault.credit(payee(i));
        }
    }

    function planCount() external view returns (uint256) {
        return plans.length;
    }

    function recordOf(uint256 index) external view returns (bytes32, uint256) {
        return (plans[index].id, plans[index].record);
    }

    function recordNow(bytes32 id) external view returns (uint256) {
        return vault.records(id);
    }
}
