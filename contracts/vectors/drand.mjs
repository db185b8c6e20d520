#!/usr/bin/env node
// Writes drand.json: real rounds of drand's quicknet in the encodings that the beacon contract takes. With --check it
// writes nothing and exits 1 when the file is not byte for byte what this gives.
//
// Given are the key and the signatures as drand publishes them (compressed); this takes them apart with its own
// arithmetic. Whether a signature is the network's is not checked here but by the contract's tests.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const { keccak256 } = createRequire(import.meta.url)("../../tools/node_modules/js-sha3");

const GENESIS = 1692803367;
const PERIOD = 3;
const KEY =
  "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451" +
  "0d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
const ROUNDS = [
  [1, "b55e7cb2d5c613ee0b2e28d6750aabbb78c39dcc96bd9d38c2c2e12198df95571de8e8e402a0cc48871c7089a2b3af4b"],
  [100, "a4a4ff2320c23471a4bf9540ee5fc68e4c6a750dc89fd8bbeb9ba56e0708673b2d285461388f14537332492726efd282"],
  [1000, "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39"],
  [657413, "b713718a38ae728dfd477991af2822e08d2f305e47718cef9f7848ce4050e7be41076862b98fad56e91a6b85b89cd97b"],
  [32281667, "b0f5ae301358ff87a9d3dd539ed4a07c0148b1ab4f7b61a8ca43c7e9ca7ca9553e4faae9188deb30b2cd1a7f447e3e5b"],
  [32285085, "81dbce51d584d90d618547f4b50391d53ace6f6b9aeb8fb67e1879427af9d0310ac0ec6f519271d9a313ee84b378d416"],
  [32285086, "a64d99fd7fa3e48912be7209c7b69c72c88fc5224be2516949b6f29f3a4b7e3fa069dd58b2bbb4bf2c34ae61ef631a44"],
];

const P = 0x1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaabn;

function fail(message) {
  console.error(`drand: ${message}`);
  process.exit(1);
}

const mod = (x) => ((x % P) + P) % P;

function pow(base, exponent) {
  let result = 1n;
  for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = (b * b) % P) {
    if (e & 1n) result = (result * b) % P;
  }
  return result;
}

// p = 3 mod 4, so a square's root is its power (p + 1) / 4.
function sqrt(x) {
  const root = pow(x, (P + 1n) / 4n);
  if (mod(root * root - x) !== 0n) fail("not a square: the point is not on the curve");
  return root;
}

const isSquare = (x) => pow(x, (P - 1n) / 2n) <= 1n;

// Numbers a + b i with i * i = -1, as [a, b].
const mul2 = ([a, b], [c, d]) => [mod(a * c - b * d), mod(a * d + b * c)];

// The root by the norm: a = (x0 + sqrt(x0^2 + x1^2)) / 2 is the square of the root's real part, for one sign.
function sqrt2([x0, x1]) {
  const half = pow(2n, P - 2n);
  const norm = sqrt(mod(x0 * x0 + x1 * x1));
  let square = mod((x0 + norm) * half);
  if (!isSquare(square)) square = mod((x0 - norm) * half);
  const a = sqrt(square);
  return [a, mod(x1 * half * pow(a, P - 2n))];
}

const number = (hex) => BigInt(`0x${hex}`);
const isLarge = (y) => y > (P - 1n) / 2n;
const field = (x) => x.toString(16).padStart(128, "0");

// The three highest bits of a compressed point: compressed, infinity, the larger y of the two.
function flags(hex) {
  const bits = parseInt(hex.slice(0, 2), 16) >> 5;
  if ((bits & 6) !== 4) fail("not a compressed point");
  return { large: (bits & 1) === 1, x: number(hex.slice(0, 96)) & ((1n << 381n) - 1n) };
}

function g1(hex) {
  const { large, x } = flags(hex);
  const y = sqrt(mod(x ** 3n + 4n));
  return `0x${field(x)}${field(isLarge(y) === large ? y : P - y)}`;
}

// Compressed: imaginary part first. EIP-2537: real part first.
function negatedG2(hex) {
  const { large, x: x1 } = flags(hex);
  const x = [number(hex.slice(96)), x1];
  const cube = mul2(mul2(x, x), x);
  const y = sqrt2([mod(cube[0] + 4n), mod(cube[1] + 4n)]);
  const isLargeY = y[1] === 0n ? isLarge(y[0]) : isLarge(y[1]);
  // The other root of the two, because the negative is wanted.
  const negative = isLargeY === large ? y.map((part) => mod(-part)) : y;
  return `0x${[...x, ...negative].map(field).join("")}`;
}

function build() {
  const rounds = ROUNDS.map(([round, compressed]) => {
    const proof = g1(compressed);
    const seed = `0x${keccak256(Buffer.from(proof.slice(2), "hex"))}`;
    return { round, time: GENESIS + (round - 1) * PERIOD, compressed: `0x${compressed}`, proof, seed };
  });
  const about =
    "Real rounds of drand's quicknet (scheme bls-unchained-g1-rfc9380). negatedKey and proof: points in the " +
    "encoding of EIP-2537, as the beacon contract takes them; compressed: the signature as drand publishes it; " +
    "time = genesis + (round - 1) * period, seconds; seed = keccak256(proof). Written by drand.mjs; checked by " +
    "test/Drand.t.sol, which also shows that the signatures are genuine.";
  const json = { about, genesis: GENESIS, period: PERIOD, key: `0x${KEY}`, negatedKey: negatedG2(KEY), rounds };
  return `${JSON.stringify(json, null, 2)}\n`;
}

const file = path.join(here, "drand.json");
const fresh = build();
if (process.argv.includes("--check")) {
  if (!fs.existsSync(file) || fs.readFileSync(file, "utf8") !== fresh) fail("drand.json is stale: run drand.mjs");
} else {
  fs.writeFileSync(file, fresh);
}
