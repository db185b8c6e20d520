// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IBeacon} from "./IBeacon.sol";

/// @title What all beacons share: epochs, and the seeds that are known
abstract contract Epochs is IBeacon {
    /// @notice The constructor was given an epoch of no length.
    error ZeroEpoch();

    /// @inheritdoc IBeacon
    uint256 public immutable epoch;
    /// @inheritdoc IBeacon
    uint256 public latest;
    mapping(uint256 boundary => bytes32) private seeds;

    constructor(uint256 epoch_) {
        if (epoch_ == 0) revert ZeroEpoch();
        epoch = epoch_;
        latest = block.timestamp;
    }

    /// @inheritdoc IBeacon
    function boundary(uint256 t) public view returns (uint256) {
        return (t / epoch + 1) * epoch;
    }

    /// @inheritdoc IBeacon
    function seedAfter(uint256 t) public view returns (bytes32) {
        return seeds[boundary(t)];
    }

    /// @inheritdoc IBeacon
    function post(uint256 t, bytes calldata proof) external returns (bytes32 seed) {
        uint256 due = boundary(t);
        seed = seeds[due];
        if (seed != 0) return seed;
        if (block.timestamp < due) revert TooEarly(due, block.timestamp);
        seed = _prove(due, proof);
        if (seed == 0) return 0;
        seeds[due] = seed;
        if (due > latest) latest = due;
        emit SeedPosted(due, seed);
    }

    /// @dev The seed of the boundary `due`, which has passed and has no seed yet; reverts if `proof` is wrong, and
    /// gives 0 if a further call is needed.
    function _prove(uint256 due, bytes calldata proof) internal virtual returns (bytes32);
}
