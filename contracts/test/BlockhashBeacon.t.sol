// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {BlockhashBeacon} from "../src/BlockhashBeacon.sol";
import {Epochs} from "../src/Epochs.sol";
import {IBeacon} from "../src/IBeacon.sol";
import {Vm} from "./support/Vm.sol";

/// @title The beacon of test chains: arm a block, take its hash
contract BlockhashBeaconTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant START = 1_800_000_000;
    uint256 private constant EPOCH = 600;
    uint256 private constant DUE = START + EPOCH;

    BlockhashBeacon private beacon;

    function setUp() public {
        vm.warp(START);
        vm.roll(1000);
        beacon = new BlockhashBeacon(EPOCH);
    }

    function _expectNotMined(uint256 target, uint256 current) private {
        vm.expectRevert(abi.encodeWithSelector(BlockhashBeacon.NotMinedYet.selector, target, current));
        beacon.post(START, "");
    }

    function test_boundaries() public view {
        vm.assertEq(beacon.epoch(), EPOCH, "epoch");
        vm.assertEq(beacon.latest(), START, "latest");
        vm.assertEq(beacon.boundary(START - 1), START, "before a boundary");
        vm.assertEq(beacon.boundary(START), DUE, "at a boundary: the next one");
        vm.assertEq(beacon.boundary(DUE - 1), DUE, "until");
        vm.assertEq(beacon.boundary(DUE), DUE + EPOCH, "strictly later");
    }

    function test_armThenCapture() public {
        vm.warp(DUE - 1);
        vm.expectRevert(abi.encodeWithSelector(IBeacon.TooEarly.selector, DUE, DUE - 1));
        beacon.post(START, "");
        vm.warp(DUE);
        vm.expectEmit(address(beacon));
        emit BlockhashBeacon.Armed(DUE, 1002);
        vm.assertEq(beacon.post(START, ""), 0, "only armed");
        vm.assertEq(beacon.target(DUE), 1002, "target");
        _expectNotMined(1002, 1000);
        vm.roll(1002);
        _expectNotMined(1002, 1002);
        vm.assertEq(beacon.latest(), START, "latest");
        vm.roll(1003);
        bytes32 hash = blockhash(1002);
        vm.assertTrue(hash != 0, "a hash");
        vm.expectEmit(address(beacon));
        emit IBeacon.SeedPosted(DUE, hash);
        vm.assertEq(beacon.post(START, "ignored"), hash, "captured");
        vm.assertEq(beacon.latest(), DUE, "latest");
        for (uint256 t = START; t < DUE; t += 199) {
            vm.assertEq(beacon.seedAfter(t), hash, "the whole epoch");
        }
        vm.assertEq(beacon.seedAfter(START - 1), 0, "the epoch before");
        vm.assertEq(beacon.seedAfter(DUE), 0, "the epoch after");
    }

    function test_laterPostsAreHarmless() public {
        vm.warp(DUE);
        beacon.post(START, "");
        vm.roll(1003);
        bytes32 hash = beacon.post(START, "");
        vm.roll(5000);
        vm.assertEq(beacon.post(START, ""), hash, "the same");
        vm.assertEq(beacon.target(DUE), 1002, "not armed anew");
    }

    function test_lastBlockWithAHash() public {
        vm.warp(DUE);
        beacon.post(START, "");
        vm.roll(1002 + 256);
        vm.assertTrue(beacon.post(START, "") != 0, "captured");
    }

    function test_goneHashIsArmedAnew() public {
        vm.warp(DUE);
        beacon.post(START, "");
        vm.roll(1002 + 257);
        vm.assertEq(beacon.post(START, ""), 0, "armed anew");
        vm.assertEq(beacon.target(DUE), 1002 + 257 + 2, "target");
        _expectNotMined(1261, 1259);
        vm.roll(1262);
        vm.assertTrue(beacon.post(START, "") != 0, "captured");
    }

    function test_zeroEpoch() public {
        vm.expectRevert(Epochs.ZeroEpoch.selector);
        new BlockhashBeacon(0);
    }
}
