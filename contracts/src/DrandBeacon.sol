// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Epochs} from "./Epochs.sol";

/// @title Seeds from drand, checked on chain: for a network of the scheme `bls-unchained-g1-rfc9380` (quicknet)
/// @notice A round's signature by the drand network's group key is a BLS signature in G1 over sha256(round): there
/// is exactly one, so nobody who posts can choose, and nobody can make it without a threshold of the drand nodes. A
/// post costs 194,000 gas (measured, a whole transaction). The chain must have the precompiles of EIP-2537.
///
/// Which round: the first one whose time is at or after the boundary. A drand node signs a round only once the
/// round's time has come, so the signature became public at time(round) >= boundary, and a boundary is later than
/// the `t` that it serves: the seed was not public at t. That the clocks of a threshold of drand nodes could run
/// ahead by seconds is covered by the vault, whose `t` is `drawDelay` after the last moment for storing.
///
/// The round is a function of the boundary alone; a signature for any other round does not verify.
contract DrandBeacon is Epochs {
    /// @notice The constructor was given rounds of no length.
    error ZeroPeriod();
    /// @notice Not a point of 128 or a key of 256 bytes: `length` is what was given.
    error BadLength(uint256 length);
    /// @notice Not the drand network's signature for `round`, or no valid point, or this chain lacks EIP-2537.
    error BadSignature(uint256 round);

    /// @dev Domain separation tag of the scheme, with its length in one byte behind it (RFC 9380, section 5.3.1).
    bytes private constant DST_PRIME = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_\x2b";
    /// @dev The field's prime p, 64 bytes big endian (RFC 9380, section 8.8.1).
    bytes private constant PRIME =
        hex"000000000000000000000000000000001a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    /// @dev The generator of G2 in the encoding of EIP-2537.
    bytes private constant G2_GENERATOR = hex"00000000000000000000000000000000024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
        hex"0000000000000000000000000000000013e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
        hex"000000000000000000000000000000000ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801"
        hex"000000000000000000000000000000000606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be";

    /// @dev Precompiles of EIP-198 and EIP-2537.
    address private constant MODEXP = address(0x05);
    address private constant G1_ADD = address(0x0b);
    address private constant PAIRING = address(0x0f);
    address private constant MAP_TO_G1 = address(0x10);

    /// @dev Lengths of encoded points in bytes (EIP-2537).
    uint256 private constant G1_BYTES = 128;
    uint256 private constant G2_BYTES = 256;

    /// @notice When round 1 was made, in seconds (1692803367 for quicknet).
    uint256 public immutable genesis;
    /// @notice Seconds between rounds (3 for quicknet).
    uint256 public immutable period;
    /// @notice The negative of the drand network's group key, a point of G2 in the encoding of EIP-2537.
    bytes public negatedKey;

    /// @param genesis_ when round 1 was made, in seconds
    /// @param period_ seconds between rounds, not 0
    /// @param epoch_ length of an epoch in seconds, not 0 (one day in production)
    /// @param negatedKey_ the negative of the group key, 256 bytes in the encoding of EIP-2537. Only the length is
    /// checked here: with a wrong key no post ever succeeds
    constructor(uint256 genesis_, uint256 period_, uint256 epoch_, bytes memory negatedKey_) Epochs(epoch_) {
        if (period_ == 0) revert ZeroPeriod();
        if (negatedKey_.length != G2_BYTES) revert BadLength(negatedKey_.length);
        genesis = genesis_;
        period = period_;
        negatedKey = negatedKey_;
    }

    /// @notice The round whose signature is the seed of a boundary: the first one with
    /// `genesis + (round - 1) * period >= boundary`.
    /// @param due the boundary, in seconds
    function roundOf(uint256 due) public view returns (uint256) {
        if (due <= genesis) return 1;
        return (due - genesis + period - 1) / period + 1;
    }

    /// @dev `proof` is the signature, uncompressed, in the encoding of EIP-2537. Reverts with BadLength or
    /// BadSignature. The seed hashes the signature, which has one encoding only: the precompile refuses coordinates
    /// that are not below p, points that are not on the curve and points outside the subgroup.
    ///
    /// e(signature, g2) * e(H(round), -key) = 1. The point at infinity is no signature: e(H, -key) is never 1.
    function _prove(uint256 due, bytes calldata proof) internal view override returns (bytes32) {
        if (proof.length != G1_BYTES) revert BadLength(proof.length);
        uint256 round = roundOf(due);
        bytes memory input =
            abi.encodePacked(proof, G2_GENERATOR, _hashToG1(round, _message(round)), negatedKey);
        if (uint256(bytes32(_run(PAIRING, input, 32, round))) != 1) revert BadSignature(round);
        return keccak256(proof);
    }

    /// @dev What the drand network signs for a round in the unchained schemes.
    function _message(uint256 round) private pure returns (bytes32) {
        return sha256(abi.encodePacked(uint64(round)));
    }

    /// @dev hash_to_curve of RFC 9380 for the suite BLS12381G1_XMD:SHA-256_SSWU_RO_. The precompile maps and clears
    /// the cofactor of each point; that commutes with their sum.
    function _hashToG1(uint256 round, bytes32 message) private view returns (bytes memory) {
        (bytes memory u0, bytes memory u1) = _hashToField(round, message);
        bytes memory points =
            bytes.concat(_run(MAP_TO_G1, u0, G1_BYTES, round), _run(MAP_TO_G1, u1, G1_BYTES, round));
        return _run(G1_ADD, points, G1_BYTES, round);
    }

    /// @dev hash_to_field of RFC 9380, section 5.2: expand_message_xmd with SHA-256 to 128 bytes, cut in two numbers
    /// that are reduced modulo p.
    function _hashToField(uint256 round, bytes32 message)
        private
        view
        returns (bytes memory u0, bytes memory u1)
    {
        // Z_pad is one block of SHA-256, 64 bytes of zero; 128 is the length asked for, in two bytes.
        bytes32 b0 =
            sha256(abi.encodePacked(bytes32(0), bytes32(0), message, uint16(128), uint8(0), DST_PRIME));
        bytes32 b1 = sha256(abi.encodePacked(b0, uint8(1), DST_PRIME));
        bytes32 b2 = sha256(abi.encodePacked(b0 ^ b1, uint8(2), DST_PRIME));
        bytes32 b3 = sha256(abi.encodePacked(b0 ^ b2, uint8(3), DST_PRIME));
        bytes32 b4 = sha256(abi.encodePacked(b0 ^ b3, uint8(4), DST_PRIME));
        u0 = _modPrime(b1, b2, round);
        u1 = _modPrime(b3, b4, round);
    }

    /// @dev The number `high << 256 | low` modulo p: its first power modulo p.
    function _modPrime(bytes32 high, bytes32 low, uint256 round) private view returns (bytes memory) {
        bytes memory input =
            abi.encodePacked(uint256(64), uint256(1), uint256(64), high, low, uint8(1), PRIME);
        return _run(MODEXP, input, 64, round);
    }

    /// @dev Runs a precompile. One that refuses its input fails; one that the chain does not have gives nothing.
    function _run(address precompile, bytes memory input, uint256 length, uint256 round)
        private
        view
        returns (bytes memory output)
    {
        bool ok;
        (ok, output) = precompile.staticcall(input);
        if (!ok || output.length != length) revert BadSignature(round);
    }
}
