// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {DrandBeacon} from "../src/DrandBeacon.sol";
import {Epochs} from "../src/Epochs.sol";
import {IBeacon} from "../src/IBeacon.sol";
import {Vm} from "./support/Vm.sol";

/// @title drand's quicknet on chain: genuine rounds of vectors/drand.json count, and nothing else
/// @dev The precompiles of EIP-2537 came with Prague.
/// forge-config: default.evm_version = "prague"
contract DrandTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant GENESIS = 1692803367;
    uint256 private constant PERIOD = 3;
    /// The fields's prime, as two words of an encoded coordinate.
    uint256 private constant P_HIGH = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LOW = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    struct Round {
        uint256 round;
        uint256 time;
        bytes proof;
        bytes32 seed;
    }

    string private json;
    bytes private key;
    Round[] private rounds;

    function setUp() public {
        vm.warp(GENESIS);
        json = vm.readFile("vectors/drand.json");
        key = vm.parseJsonBytes(json, ".negatedKey");
        for (uint256 i; vm.keyExistsJson(json, _at(i, "")); ++i) {
            Round storage r = rounds.push();
            r.round = vm.parseJsonUint(json, _at(i, ".round"));
            r.time = vm.parseJsonUint(json, _at(i, ".time"));
            r.proof = vm.parseJsonBytes(json, _at(i, ".proof"));
            r.seed = vm.parseJsonBytes32(json, _at(i, ".seed"));
        }
    }

    function _at(uint256 index, string memory field) private pure returns (string memory) {
        return string.concat(".rounds[", vm.toString(index), "]", field);
    }

    /// A beacon with a boundary at the round's own time.
    function _beacon(uint256 time) private returns (DrandBeacon beacon) {
        vm.warp(GENESIS);
        beacon = new DrandBeacon(GENESIS, PERIOD, time, key);
        vm.assertEq(beacon.boundary(time - 1), time, "boundary");
        vm.warp(time);
    }

    function _expectBad(DrandBeacon beacon, uint256 t, bytes memory proof) private {
        uint256 round = beacon.roundOf(beacon.boundary(t));
        vm.expectRevert(abi.encodeWithSelector(DrandBeacon.BadSignature.selector, round));
        beacon.post(t, proof);
        vm.assertEq(beacon.seedAfter(t), 0, "no seed");
    }

    function test_genuineRounds() public {
        vm.assertEq(rounds.length, 7, "vectors");
        for (uint256 i; i < rounds.length; ++i) {
            Round memory r = rounds[i];
            vm.assertEq(r.time, GENESIS + (r.round - 1) * PERIOD, "time");
            DrandBeacon beacon = _beacon(r.time);
            vm.assertEq(beacon.roundOf(r.time), r.round, "round");
            vm.assertEq(beacon.latest(), GENESIS, "latest at first: the time of deployment");
            vm.assertEq(beacon.seedAfter(r.time - 1), 0, "not known yet");
            vm.expectEmit(address(beacon));
            emit IBeacon.SeedPosted(r.time, r.seed);
            vm.assertEq(beacon.post(r.time - 1, r.proof), r.seed, "answer");
            vm.assertEq(keccak256(r.proof), r.seed, "the seed is the proof's hash");
            vm.assertEq(beacon.seedAfter(r.time - 1), r.seed, "seed");
            vm.assertEq(beacon.seedAfter(0), r.seed, "for the whole epoch");
            vm.assertEq(beacon.seedAfter(r.time), 0, "of the next boundary");
            vm.assertEq(beacon.latest(), r.time, "latest");
        }
    }

    /// One second in the epoch or the other makes the round before or after: its signature does not do.
    function test_wrongRound() public {
        for (uint256 i; i < rounds.length; ++i) {
            Round memory r = rounds[i];
            if (r.round > 1) {
                DrandBeacon early = _beacon(r.time - PERIOD);
                _expectBad(early, r.time - PERIOD - 1, r.proof);
            }
            DrandBeacon late = _beacon(r.time + 1);
            vm.assertEq(late.roundOf(r.time + 1), r.round + 1, "one second later: the next round");
            _expectBad(late, r.time, r.proof);
            DrandBeacon before = _beacon(r.time);
            Round memory other = rounds[(i + 1) % rounds.length];
            _expectBad(before, r.time - 1, other.proof);
        }
    }

    /// The first round that is not before the boundary, whatever the boundary.
    function testFuzz_round(uint40 due) public {
        DrandBeacon beacon = new DrandBeacon(GENESIS, PERIOD, 1, key);
        uint256 round = beacon.roundOf(due);
        vm.assertTrue(GENESIS + (round - 1) * PERIOD >= due, "public at the boundary or later");
        vm.assertTrue(round == 1 || GENESIS + (round - 2) * PERIOD < due, "and the first such");
    }

    /// In the encoding only 2 x 381 bits carry anything; those above must be zero.
    function testFuzz_flippedBit(uint256 bit) public {
        Round memory r = rounds[2];
        DrandBeacon beacon = _beacon(r.time);
        bit %= 1024;
        r.proof[bit / 8] = bytes1(uint8(r.proof[bit / 8]) ^ uint8(1 << (bit % 8)));
        _expectBad(beacon, r.time - 1, r.proof);
    }

    function test_lengths() public {
        Round memory r = rounds[2];
        DrandBeacon beacon = _beacon(r.time);
        bytes[4] memory bad =
            [bytes(""), hex"00", bytes.concat(r.proof, hex"00"), abi.encodePacked(r.proof, r.proof)];
        for (uint256 i; i < 4; ++i) {
            vm.expectRevert(abi.encodeWithSelector(DrandBeacon.BadLength.selector, bad[i].length));
            beacon.post(r.time - 1, bad[i]);
        }
    }

    function test_pointsThatAreNone() public {
        Round memory r = rounds[2];
        DrandBeacon beacon = _beacon(r.time);
        // The point at infinity, which pairs to one with every key, and a point beside the curve.
        _expectBad(beacon, r.time - 1, new bytes(128));
        _expectBad(beacon, r.time - 1, abi.encode(0, 1, 0, 1));
        // On the curve y^2 = x^3 + 4 but outside the subgroup: x = 0, y = 2.
        _expectBad(beacon, r.time - 1, abi.encode(0, 0, 0, 2));
    }

    /// A second encoding of the same point would be a second seed.
    function test_otherEncodingsOfTheSamePoint() public {
        Round memory r = rounds[2];
        DrandBeacon beacon = _beacon(r.time);
        (uint256 xh, uint256 xl, uint256 yh, uint256 yl) =
            abi.decode(r.proof, (uint256, uint256, uint256, uint256));
        (uint256 ph, uint256 pl) = _plusPrime(xh, xl);
        _expectBad(beacon, r.time - 1, abi.encode(ph, pl, yh, yl));
        (ph, pl) = _plusPrime(yh, yl);
        _expectBad(beacon, r.time - 1, abi.encode(xh, xl, ph, pl));
        // The negative: a point of the group, and no signature.
        unchecked {
            uint256 low = P_LOW - yl;
            _expectBad(beacon, r.time - 1, abi.encode(xh, xl, P_HIGH - yh - (yl > P_LOW ? 1 : 0), low));
        }
        vm.assertEq(beacon.post(r.time - 1, r.proof), r.seed, "the one encoding");
    }

    function _plusPrime(uint256 high, uint256 low) private pure returns (uint256, uint256) {
        unchecked {
            uint256 sum = low + P_LOW;
            return (high + P_HIGH + (sum < low ? 1 : 0), sum);
        }
    }

    function test_laterPostsAreHarmless() public {
        Round memory r = rounds[2];
        DrandBeacon beacon = _beacon(r.time);
        beacon.post(r.time - 1, r.proof);
        vm.assertEq(beacon.post(r.time - 1, r.proof), r.seed, "again");
        vm.assertEq(beacon.post(0, "wrong"), r.seed, "even with a wrong proof");
        vm.assertEq(beacon.seedAfter(0), r.seed, "unchanged");
    }

    function test_notBeforeTheBoundary() public {
        Round memory r = rounds[2];
        DrandBeacon beacon = _beacon(r.time);
        vm.warp(r.time - 1);
        vm.expectRevert(abi.encodeWithSelector(IBeacon.TooEarly.selector, r.time, r.time - 1));
        beacon.post(r.time - 1, r.proof);
        vm.warp(r.time);
        beacon.post(r.time - 1, r.proof);
    }

    /// A seed that comes late counts for its own boundary and does not make `latest` older.
    function test_outOfOrder() public {
        (Round memory first, Round memory second) = (rounds[5], rounds[6]);
        vm.warp(GENESIS);
        DrandBeacon beacon = new DrandBeacon(GENESIS, PERIOD, PERIOD, key);
        vm.warp(second.time);
        beacon.post(second.time - 1, second.proof);
        beacon.post(first.time - 1, first.proof);
        vm.assertEq(beacon.latest(), second.time, "latest");
        vm.assertEq(beacon.seedAfter(first.time - 1), first.seed, "first");
        vm.assertEq(beacon.seedAfter(second.time - 1), second.seed, "second");
    }

    function test_construction() public {
        vm.expectRevert(Epochs.ZeroEpoch.selector);
        new DrandBeacon(GENESIS, PERIOD, 0, key);
        vm.expectRevert(DrandBeacon.ZeroPeriod.selector);
        new DrandBeacon(GENESIS, 0, 1 days, key);
        vm.expectRevert(abi.encodeWithSelector(DrandBeacon.BadLength.selector, 128));
        new DrandBeacon(GENESIS, PERIOD, 1 days, new bytes(128));
        DrandBeacon beacon = new DrandBeacon(GENESIS, PERIOD, 1 days, key);
        vm.assertEq(beacon.genesis(), GENESIS, "genesis");
        vm.assertEq(beacon.period(), PERIOD, "period");
        vm.assertEq(beacon.epoch(), 1 days, "epoch");
        vm.assertEq(keccak256(beacon.negatedKey()), keccak256(key), "key");
    }

    /// The key itself instead of its negative: no signature verifies.
    function test_wrongKey() public {
        Round memory r = rounds[2];
        bytes memory generator = new bytes(256);
        vm.warp(GENESIS);
        DrandBeacon beacon = new DrandBeacon(GENESIS, PERIOD, r.time, generator);
        vm.warp(r.time);
        _expectBad(beacon, r.time - 1, r.proof);
    }
}

/// @title On a chain without EIP-2537 no seed is ever accepted
/// forge-config: default.evm_version = "cancun"
contract DrandWithoutPrecompilesTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function test_refused() public {
        string memory json = vm.readFile("vectors/drand.json");
        DrandBeacon beacon =
            new DrandBeacon(1692803367, 3, 1692806364, vm.parseJsonBytes(json, ".negatedKey"));
        vm.warp(1692806364);
        vm.expectRevert(abi.encodeWithSelector(DrandBeacon.BadSignature.selector, 1000));
        beacon.post(0, vm.parseJsonBytes(json, ".rounds[2].proof"));
    }
}
