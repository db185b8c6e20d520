// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Where the seeds of the draws come from
/// @notice Time is cut into epochs, and at most one seed a boundary between two epochs is ever known. All times are
/// seconds since the Unix epoch.
/// @dev What every beacon must keep, because the vault's draws are fair only with it:
/// - nobody could know `seedAfter(t)` at the time t or before,
/// - once it is not zero it never changes,
/// - nobody can choose it: whoever posts can only post the one seed of that boundary, or nothing.
interface IBeacon {
    /// @notice The time has not come yet: `boundary` is later than the block's timestamp `time`.
    error TooEarly(uint256 boundary, uint256 time);

    /// @notice The seed of `boundary` is known from now on.
    event SeedPosted(uint256 indexed boundary, bytes32 seed);

    /// @notice A seed that became public only after `t`: that of `boundary(t)`; 0 while it is not known here.
    function seedAfter(uint256 t) external view returns (bytes32);

    /// @notice Length of an epoch in seconds, never 0: how long after `t` the seed for `t` comes at most.
    function epoch() external view returns (uint256);

    /// @notice The newest boundary whose seed is known, at first the time of deployment. It tells whether somebody
    /// still posts seeds.
    function latest() external view returns (uint256);

    /// @notice The first boundary between epochs that is later than `t`.
    function boundary(uint256 t) external view returns (uint256);

    /// @notice Makes `seedAfter(t)` known.
    /// @dev Anybody may call. The first seed of a boundary stays; a later call gives it back and changes nothing,
    /// whatever its proof. Reverts with TooEarly, or when the proof is wrong with the beacon's own error.
    /// @param t any time whose seed is wanted
    /// @param proof what shows that the seed is the right one; each beacon says what that is
    /// @return seed the seed, or 0 from a beacon that needs a further call
    function post(uint256 t, bytes calldata proof) external returns (bytes32 seed);
}
