// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ChunkVault} from "../src/ChunkVault.sol";
import {DirectPayments} from "../src/DirectPayments.sol";
import {VaultCore} from "../src/VaultCore.sol";
import {HostileToken} from "./support/HostileToken.sol";
import {TestBase} from "./support/TestBase.sol";

/// @title A token that misbehaves creates no credit and burns none
contract HostileTokensTest is TestBase {
    HostileToken private hostile;
    ChunkVault private target;

    function setUp() public {
        _prepare();
        hostile = new HostileToken(SUPPLY);
        target = newVault(hostile);
        hostile.transfer(PAYER, SUPPLY / 2);
        hostile.transfer(address(hostile), 1000);
    }

    function _wrong(uint256 expected, uint256 moved) private pure returns (bytes memory) {
        return abi.encodeWithSelector(VaultCore.WrongAmount.selector, expected, moved);
    }

    function _pay(bytes32[] memory entries) private returns (bytes32) {
        uint40 until = uploadBy();
        vm.prank(PAYER);
        return target.payDirect(PAYER, entries, until, uint40(block.timestamp));
    }

    /// Payment with the token in `mode` reverts with `reason` and leaves everything as it was.
    function _payRefused(HostileToken.Mode mode, bytes memory reason) private {
        bytes32[] memory entries = list(0, 5, 7);
        uint40 until = uploadBy();
        bytes32 id = target.directId(PAYER, entries, until);
        uint256 before = hostile.balanceOf(PAYER);
        uint256 held = hostile.balanceOf(address(target));
        hostile.set(mode);
        vm.expectRevert(reason);
        vm.prank(PAYER);
        target.payDirect(PAYER, entries, until, uint40(block.timestamp));
        vm.assertEq(target.records(id), 0, "record");
        vm.assertEq(target.credit(payee(0)), 0, "credit");
        vm.assertEq(hostile.balanceOf(PAYER), before, "payer");
        vm.assertEq(hostile.balanceOf(address(target)), held, "vault");
    }

    /// An honest payment, then a withdrawal with the token in `mode`: it reverts and the credit stays whole.
    function _withdrawRefused(HostileToken.Mode mode, bytes memory reason) private {
        _pay(list(0, 5, 7));
        hostile.set(mode);
        vm.expectRevert(reason);
        target.withdraw(payee(0));
        vm.assertEq(target.credit(payee(0)), 7, "credit");
        vm.assertEq(hostile.balanceOf(payee(0)), 0, "payee");
        vm.assertEq(hostile.balanceOf(address(target)), 35, "vault");
        hostile.set(HostileToken.Mode.Honest);
        vm.assertEq(target.withdraw(payee(0)), 6, "once the token is honest again");
    }

    function test_pay_fee() public {
        _payRefused(HostileToken.Mode.Fee, _wrong(35, 34));
    }

    function test_pay_bonus() public {
        _payRefused(HostileToken.Mode.Bonus, _wrong(35, 36));
    }

    function test_pay_silent() public {
        _payRefused(HostileToken.Mode.Silent, _wrong(35, 0));
    }

    function test_pay_steal() public {
        hostile.transfer(address(target), 10);
        _payRefused(HostileToken.Mode.Steal, _wrong(35, 0));
    }

    function test_pay_returnFalse() public {
        _payRefused(HostileToken.Mode.ReturnFalse, abi.encodeWithSelector(VaultCore.TransferFailed.selector));
    }

    function test_pay_moveAndReturnFalse() public {
        _payRefused(
            HostileToken.Mode.MoveAndReturnFalse, abi.encodeWithSelector(VaultCore.TransferFailed.selector)
        );
    }

    /// The answer that the ERC-20 standard asks for is missing: the vault cannot read it and reverts without data.
    function test_pay_noData() public {
        _payRefused(HostileToken.Mode.NoData, "");
    }

    function test_pay_reverting() public {
        _payRefused(HostileToken.Mode.Revert, abi.encodeWithSelector(HostileToken.Refused.selector));
    }

    function test_withdraw_fee() public {
        _withdrawRefused(HostileToken.Mode.Fee, _wrong(6, 5));
    }

    function test_withdraw_takesMore() public {
        _withdrawRefused(HostileToken.Mode.Double, _wrong(6, 12));
    }

    function test_withdraw_silent() public {
        _withdrawRefused(HostileToken.Mode.Silent, _wrong(6, 0));
    }

    function test_withdraw_returnFalse() public {
        _withdrawRefused(
            HostileToken.Mode.ReturnFalse, abi.encodeWithSelector(VaultCore.TransferFailed.selector)
        );
    }

    function test_withdraw_moveAndReturnFalse() public {
        _withdrawRefused(
            HostileToken.Mode.MoveAndReturnFalse, abi.encodeWithSelector(VaultCore.TransferFailed.selector)
        );
    }

    function test_withdraw_noData() public {
        _withdrawRefused(HostileToken.Mode.NoData, "");
    }

    function test_withdraw_reverting() public {
        _withdrawRefused(HostileToken.Mode.Revert, abi.encodeWithSelector(HostileToken.Refused.selector));
    }

    /// With no more than the last unit owed the token is not even called.
    function test_withdraw_nothingToTake() public {
        _pay(list(0, 1, 1));
        hostile.set(HostileToken.Mode.Revert);
        vm.assertEq(target.withdraw(payee(0)), 0, "one unit");
        vm.assertEq(target.withdraw(payee(1)), 0, "none");
        vm.assertEq(target.credit(payee(0)), 1, "credit");
    }

    // ---- re-entrance: the token itself is payer and payee ----

    bytes private constant REENTERED =
        abi.encodeWithSelector(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);

    function _innerPayment() private view returns (bytes memory) {
        bytes32[] memory entries = list(10, 1, 3);
        return abi.encodeCall(
            DirectPayments.payDirect, (address(hostile), entries, uploadBy(), uint40(block.timestamp))
        );
    }

    function _innerWithdrawal() private pure returns (bytes memory) {
        return abi.encodeCall(VaultCore.withdraw, (payee(0)));
    }

    /// Both inner calls are good ones by themselves: only the guard stands against them.
    function test_reenter_innerCallsAreGoodAlone() public {
        _pay(list(0, 5, 7));
        hostile.setReenter(HostileToken.Mode.Honest, address(0), "");
        vm.prank(address(hostile));
        (bool paid,) = address(target).call(_innerPayment());
        vm.assertTrue(paid, "inner payment");
        (bool withdrawn,) = address(target).call(_innerWithdrawal());
        vm.assertTrue(withdrawn, "inner withdrawal");
    }

    function test_reenter_fails() public {
        bytes[2] memory inner = [_innerPayment(), _innerWithdrawal()];
        for (uint256 i; i < 2; ++i) {
            hostile.setReenter(HostileToken.Mode.Reenter, address(target), inner[i]);
            _payRefused(HostileToken.Mode.Reenter, REENTERED);
        }
        for (uint256 i; i < 2; ++i) {
            vm.warp(START + 1 + i);
            hostile.setReenter(HostileToken.Mode.Honest, address(target), inner[i]);
            _pay(list(20 + i, 1, 7));
            hostile.set(HostileToken.Mode.Reenter);
            vm.expectRevert(REENTERED);
            target.withdraw(payee(20 + i));
            vm.assertEq(target.credit(payee(20 + i)), 7, "credit");
        }
    }

    /// A token that hides that its inner call failed: the outer call stands, the inner one did nothing.
    function test_reenter_quietly() public {
        _pay(list(0, 5, 7));
        bytes[2] memory inner = [_innerPayment(), _innerWithdrawal()];
        for (uint256 i; i < 2; ++i) {
            vm.warp(START + 1 + i);
            hostile.setReenter(HostileToken.Mode.ReenterQuietly, address(target), inner[i]);
            _pay(list(20, 1, 7));
            vm.assertTrue(hostile.reentered(), "the inner call was made");
            vm.assertEq(keccak256(hostile.answer()), keccak256(REENTERED), "and refused");
        }
        vm.assertEq(target.credit(payee(10)), 0, "no inner payment");
        vm.assertEq(target.credit(payee(0)), 7, "no inner withdrawal");
        vm.assertEq(hostile.balanceOf(address(target)), 35 + 14, "vault");
        hostile.setReenter(HostileToken.Mode.ReenterQuietly, address(target), _innerWithdrawal());
        vm.assertEq(target.withdraw(payee(0)), 6, "withdrawn once");
        vm.assertEq(hostile.balanceOf(payee(0)), 6, "payee");
        vm.assertEq(hostile.balanceOf(address(target)), 35 + 14 - 6, "vault after the withdrawal");
    }
}
