// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {TestBase} from "./support/TestBase.sol";

/// @title Ceilings on what a payment costs, whole transactions with the plain token
/// @dev Isolation makes every call a transaction of its own: the base cost, call data and cold slots count.
/// forge-config: default.isolate = true
contract GasTest is TestBase {
    /// A payment of one chunk to 5 payees: fresh ones have never been credited.
    uint256 private constant CHUNK_FRESH = 190_000;
    uint256 private constant CHUNK_WARM = 100_000;
    /// What one more payee adds.
    uint256 private constant PAYEE_FRESH = 24_000;
    uint256 private constant PAYEE_WARM = 6_500;
    uint256 private constant WITHDRAWAL = 65_000;

    function setUp() public {
        _prepare();
    }

    /// Gas of a transaction that pays `amount` to each of `5 * chunks` payees numbered from `first`.
    function _gas(uint256 first, uint256 chunks, uint96 amount) private returns (uint256) {
        pay(list(first, 5 * chunks, amount));
        return vm.lastCallGas().gasTotalUsed;
    }

    function test_payments() public {
        _gas(1_000_000, 1, 5); // the vault's own balance slot is in use from here on
        uint256 fresh = _gas(0, 1, 1e18);
        uint256 warm = _gas(0, 1, 1e18 + 1);
        vm.assertLe(fresh, CHUNK_FRESH, "one chunk, fresh payees");
        vm.assertLe(warm, CHUNK_WARM, "one chunk, warm payees");
        uint256[3] memory chunks = [uint256(3), 16, 100];
        uint256 first = 5;
        for (uint256 i; i < 3; ++i) {
            uint256 more = 5 * (chunks[i] - 1);
            vm.assertLe((_gas(first, chunks[i], 1e18) - fresh) / more, PAYEE_FRESH, "one more fresh payee");
            vm.assertLe((_gas(first, chunks[i], 1e18 + 1) - warm) / more, PAYEE_WARM, "one more warm payee");
            first += 5 * chunks[i];
        }
    }

    /// The unit that a withdrawal leaves keeps the slot in use.
    function test_paymentAfterWithdrawalIsWarm() public {
        _gas(1_000_000, 1, 5);
        _gas(0, 1, 1e18);
        for (uint256 i; i < 5; ++i) {
            vault.withdraw(payee(i));
        }
        vm.assertLe(_gas(0, 1, 1e18 + 1), CHUNK_WARM, "one chunk, payees that have withdrawn");
    }

    function test_withdrawal() public {
        pay(list(0, 1, 1e18));
        vault.withdraw(payee(0));
        vm.assertLe(vm.lastCallGas().gasTotalUsed, WITHDRAWAL, "to an account without tokens");
    }

    /// Without isolation `lastCallGas` would leave out the base cost and every ceiling would be too easy.
    function test_wholeTransactionsAreMeasured() public {
        vault.withdraw(payee(0));
        vm.assertTrue(vm.lastCallGas().gasTotalUsed > 21_000 + 2_100, "base cost and cold slot are included");
    }
}
