// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {BatchPayments} from "../src/BatchPayments.sol";
import {ChunkVault} from "../src/ChunkVault.sol";
import {IBeacon} from "../src/IBeacon.sol";
import {VaultCore} from "../src/VaultCore.sol";
import {TestBase} from "./support/TestBase.sol";

/// @title What a vault is made of, and what it cannot be made of
contract ConstructionTest is TestBase {
    function setUp() public {
        _prepare();
    }

    function test_windows() public {
        ChunkVault made = new ChunkVault(token, beacon, 1, 2, 3, uint40(EPOCH + 1));
        vm.assertEq(made.minWindow(), 1, "minWindow");
        vm.assertEq(made.maxWindow(), 2, "maxWindow");
        vm.assertEq(made.drawDelay(), 3, "drawDelay");
        vm.assertEq(made.claimWindow(), EPOCH + 1, "claimWindow");
        vm.assertTrue(address(made.token()) == address(token), "token");
        vm.assertTrue(address(made.beacon()) == address(beacon), "beacon");
        vm.assertEq(made.drawTime(1000), 1003, "drawTime");
        vm.assertEq(made.claimEnd(1000), 1003 + EPOCH + 1, "claimEnd");
        uint40 most = type(uint40).max;
        vm.assertEq(made.claimEnd(most), uint256(most) + 3 + EPOCH + 1, "claimEnd does not wrap");
        new ChunkVault(token, beacon, 0, 1, 1, type(uint40).max);
    }

    function test_windowsThatCannotBe() public {
        uint40 enough = uint40(EPOCH + 1);
        uint40[4][6] memory bad = [
            [uint40(2), 1, 1, enough], // no moment is between
            [uint40(0), 0, 1, enough], // no window at all
            [uint40(0), 1, 0, enough], // the seed could be known while nodes still accept
            [uint40(0), 1, 1, uint40(EPOCH)], // the seed could come when it is too late to settle
            [uint40(0), 1, 1, 1],
            [uint40(0), 1, 1, 0]
        ];
        for (uint256 i; i < bad.length; ++i) {
            uint40[4] memory b = bad[i];
            vm.expectRevert(abi.encodeWithSelector(ChunkVault.BadWindows.selector, b[0], b[1], b[2], b[3]));
            new ChunkVault(token, beacon, b[0], b[1], b[2], b[3]);
        }
    }

    function test_addressesWithoutCode() public {
        vm.expectRevert(abi.encodeWithSelector(VaultCore.NotAToken.selector, STRANGER));
        new ChunkVault(IERC20(STRANGER), beacon, 1, 2, 3, 1 days);
        vm.expectRevert(abi.encodeWithSelector(BatchPayments.NotABeacon.selector, STRANGER));
        new ChunkVault(token, IBeacon(STRANGER), 1, 2, 3, 1 days);
    }
}
