// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Epochs} from "../../src/Epochs.sol";

/// @title Takes the seed that it is told: the proof is the seed itself
contract FixedBeacon is Epochs {
    error NoProof();

    constructor(uint256 epoch_) Epochs(epoch_) {}

    function _prove(uint256, bytes calldata proof) internal pure override returns (bytes32) {
        if (proof.length != 32) revert NoProof();
        return bytes32(proof);
    }
}
