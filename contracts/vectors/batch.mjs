#!/usr/bin/env node
// Writes batch.json: Merkle-sum trees with ids, proofs and draws, in code of its own beside the contract's and the
// client's. With --check it writes nothing and exits 1 when the file is not byte for byte what this gives.

import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const { keccak256 } = createRequire(import.meta.url)("../../tools/node_modules/js-sha3");

const DOMAIN = { chainId: 31337, vault: "0x5fbdb2315678afecb367f032d93f642f64180aa3" };
const SHARES = 5;
const MAX_96 = (1n << 96n) - 1n;

// ---- words and hashes; a word is 64 hex digits without prefix ----

const word = (value) => BigInt(value).toString(16).padStart(64, "0");
const text = (ascii) => Buffer.from(ascii).toString("hex").padEnd(64, "0");
const hash = (...words) => keccak256(Buffer.from(words.join(""), "hex"));
const hex = (digits) => `0x${digits}`;
const shareWord = ({ payee, amount }) => payee + word(amount).slice(40);

// Numbers that look random and are the same every time.
function* numbers(name) {
  for (let i = 0; ; ++i) yield BigInt(hex(hash(text(name.slice(0, 32)), word(i))));
}

// ---- the tree ----

function leafHash(leaf) {
  return hash(text("leaf"), leaf.chunk, hash(...leaf.shares.map(shareWord)));
}

// Levels from the leaves to the root; an odd node is the same in the level above.
function levelsOf(leaves) {
  const levels = [leaves.map((leaf) => ({ hash: leaf.hash, sum: leaf.sum }))];
  while (levels.at(-1).length > 1) {
    const below = levels.at(-1);
    const above = [];
    for (let i = 0; i < below.length; i += 2) {
      const [left, right] = [below[i], below[i + 1]];
      if (right === undefined) {
        above.push(left);
      } else {
        const digest = hash(left.hash, word(left.sum), right.hash, word(right.sum));
        above.push({ hash: digest, sum: left.sum + right.sum });
      }
    }
    levels.push(above);
  }
  return levels;
}

function siblingsOf(levels, leaf) {
  const words = [];
  levels.slice(0, -1).forEach((level, height) => {
    const index = Math.floor(leaf / 2 ** height);
    const isRight = index % 2 === 1;
    const other = level[isRight ? index - 1 : index + 1];
    if (other !== undefined) words.push(other.hash, word(other.sum + (isRight ? 1n << 255n : 0n)));
  });
  return words;
}

// ---- payments ----

function idOf(terms) {
  const { payer, root, total, tip, uploadBy, draws } = terms;
  const domain = [text("batch"), word(DOMAIN.chainId), word(DOMAIN.vault)];
  return hash(...domain, word(hex(payer)), root, word(total), word(tip), word(uploadBy), word(draws));
}

function pointOf(seed, id, { total, draws }, draw) {
  const start = BigInt(hex(hash(seed, id))) % total;
  return (start + (BigInt(draw) * total) / BigInt(draws)) % total;
}

function prizeOf({ total, draws }, draw) {
  const each = total / BigInt(draws);
  return draw === 0 ? each + (total % BigInt(draws)) : each;
}

function paidBy(leaf, prize) {
  const paid = leaf.shares.map(({ amount }) => (prize * amount) / leaf.sum);
  const rest = prize - paid.reduce((a, b) => a + b, 0n);
  paid[paid.length - 1] += rest;
  return paid;
}

// ---- the trees of the file ----

function leavesOf(name, count, amountOf) {
  const random = numbers(name);
  let offset = 0n;
  return Array.from({ length: count }, (_, index) => {
    const chunk = word(random.next().value);
    const shares = Array.from({ length: SHARES }, (_, place) => ({
      // Few payees, so that some occur in many leaves and some twice in one.
      payee: hash(text("payee"), word(random.next().value % 40n)).slice(24),
      amount: amountOf(index, place, random.next().value),
    }));
    const sum = shares.reduce((total, { amount }) => total + amount, 0n);
    if (sum === 0n) throw new Error(`${name}: leaf ${index} has the sum 0`);
    const leaf = { chunk, shares, sum, offset };
    leaf.hash = leafHash(leaf);
    offset += sum;
    return leaf;
  });
}

// Amounts over many orders of magnitude, some of them zero.
const unequal = (_, place, random) =>
  place === 1 && random % 3n === 0n ? 0n : ((random >> 8n) % 10n ** (random % 22n)) + 1n;
const equal = () => 7n * 10n ** 15n;
const ones = (index, place) => (place === index % SHARES ? 1n : 0n);
// Amounts of `total` split over all shares of `count` leaves as unevenly as may be: nearly all in the first.
const nearLimit = (count, total) => (index, place) =>
  index === 0 && place === 0 ? total - BigInt(count * SHARES - 1) : 1n;

const TREES = [
  { name: "1 leaf", count: 1, amounts: unequal, draws: 1 },
  { name: "1 leaf of one unit", count: 1, amounts: ones, draws: 1 },
  { name: "1 leaf of 2^96 - 1, 200 draws", count: 1, amounts: nearLimit(1, MAX_96), draws: 200 },
  { name: "2 leaves", count: 2, amounts: unequal, draws: 2 },
  { name: "2 leaves of 2^96 - 1 together", count: 2, amounts: nearLimit(2, MAX_96), draws: 7 },
  { name: "3 leaves", count: 3, amounts: unequal, draws: 1 },
  { name: "3 leaves of one unit, as many draws", count: 3, amounts: ones, draws: 3 },
  { name: "5 leaves", count: 5, amounts: unequal, draws: 3 },
  { name: "5 leaves of 2^96 - 1 together", count: 5, amounts: nearLimit(5, MAX_96), draws: 199 },
  { name: "6 leaves", count: 6, amounts: unequal, draws: 4 },
  { name: "7 leaves", count: 7, amounts: unequal, draws: 5 },
  { name: "8 leaves", count: 8, amounts: equal, draws: 6 },
  { name: "13 leaves", count: 13, amounts: unequal, draws: 11 },
  { name: "13 leaves, 200 draws", count: 13, amounts: equal, draws: 200 },
  { name: "64 leaves", count: 64, amounts: equal, draws: 16 },
  { name: "100 leaves", count: 100, amounts: unequal, draws: 3 },
  { name: "255 leaves", count: 255, amounts: equal, draws: 2 },
  { name: "257 leaves", count: 257, amounts: unequal, draws: 5 },
];
// Of larger trees only these proofs are in the file, and those of the leaves that win.
const ALL_PROOFS_UP_TO = 13;
const SEEDS = 2;

function draw(seed, id, terms, leaves, number) {
  const point = pointOf(seed, id, terms, number);
  const leaf = leaves.findIndex(({ offset, sum }) => offset <= point && point < offset + sum);
  const prize = prizeOf(terms, number);
  const paid = paidBy(leaves[leaf], prize);
  return { draw: number, point: `${point}`, leaf, prize: `${prize}`, paid: paid.map(String) };
}

function tree({ name, count, amounts, draws }, index) {
  const leaves = leavesOf(name, count, amounts);
  const levels = levelsOf(leaves);
  const { hash: root, sum: total } = levels.at(-1)[0];
  const payer = hash(text("payer"), word(index)).slice(24);
  const tip = index % 3 === 0 ? 0n : index === 4 ? MAX_96 : 10n ** 15n + BigInt(index);
  const terms = { payer, root, total, tip, uploadBy: 1_800_000_000 + 3600 * index, draws };
  const id = idOf(terms);
  const seeds = Array.from({ length: SEEDS }, (_, number) => {
    const seed = hash(text("seed"), word(index), word(number));
    const wins = Array.from({ length: draws }, (_, d) => draw(seed, id, terms, leaves, d));
    return { seed: hex(seed), wins };
  });
  const proven = new Set([0, 1, count >> 1, count - 2, count - 1].filter((leaf) => leaf >= 0 && leaf < count));
  for (const { wins } of seeds) for (const { leaf } of wins) proven.add(leaf);
  if (count <= ALL_PROOFS_UP_TO) for (let leaf = 0; leaf < count; ++leaf) proven.add(leaf);
  const proofs = [...proven].sort((a, b) => a - b).map((leaf) => ({
    leaf,
    hash: hex(leaves[leaf].hash),
    sum: `${leaves[leaf].sum}`,
    offset: `${leaves[leaf].offset}`,
    siblings: siblingsOf(levels, leaf).map(hex),
  }));
  return {
    name,
    terms: { ...terms, payer: hex(payer), root: hex(root), total: `${total}`, tip: `${tip}` },
    id: hex(id),
    leaves: leaves.map(({ chunk, shares }) => ({
      chunk: hex(chunk),
      shares: shares.map((share) => hex(shareWord(share))),
    })),
    proofs,
    seeds,
  };
}

// ---- proofs that must be refused ----

function refused() {
  const leaves = leavesOf("refused", 3, () => 5n);
  const levels = levelsOf(leaves);
  const { hash: root, sum: total } = levels.at(-1)[0];
  const good = siblingsOf(levels, 0);
  const LEFT = 1n << 255n;
  const sum = (value) => word(value);
  const plain = (leaf) => ({ chunk: leaf.chunk, shares: leaf.shares });
  const base = { ...plain(leaves[0]), siblings: good, root, total };
  const wrapping = (offset) => [good[0], sum(offset), ...good.slice(2)];
  const cases = [
    { name: "a sibling on the other side", siblings: [good[0], sum(25n + LEFT), ...good.slice(2)] },
    { name: "the upper sibling on the other side", siblings: [...good.slice(0, 3), sum(25n + LEFT)] },
    { name: "no siblings", siblings: [] },
    { name: "the last sibling missing", siblings: good.slice(0, 2) },
    { name: "the first sibling missing", siblings: good.slice(2) },
    { name: "an extra sibling of nothing", siblings: [...good, word(0), word(0)] },
    { name: "siblings in the wrong order", siblings: [...good.slice(2), ...good.slice(0, 2)] },
    { name: "a sibling's sum one more", siblings: wrapping(26n) },
    { name: "a sibling's sum one less", siblings: wrapping(24n) },
    { name: "a sibling's sum of 2^255 - 1", siblings: wrapping(LEFT - 1n) },
    { name: "a sibling's sum of 2^128 more", siblings: wrapping(25n + (1n << 128n)) },
    { name: "a sibling's sum of 2^64 more", siblings: wrapping(25n + (1n << 64n)) },
    { name: "a total one more", total: total + 1n },
    { name: "a total one less", total: total - 1n },
    { name: "another root", root: hash(root) },
    { name: "another leaf's proof", siblings: siblingsOf(levels, 1) },
    { name: "another chunk", chunk: hash(text("another chunk")) },
    { name: "two shares swapped", shares: [leaves[0].shares[1], leaves[0].shares[0], ...leaves[0].shares.slice(2)] },
  ];
  // A root over a leaf of nothing: the proof is right in itself, but a leaf of nothing is refused.
  const empty = { chunk: hash(text("empty")), shares: leaves[0].shares.map(({ payee }) => ({ payee, amount: 0n })) };
  const node = hash(leafHash(empty), word(0), leaves[0].hash, word(25n));
  cases.push({ name: "a leaf of sum 0", ...empty, siblings: [leaves[0].hash, sum(25n)], root: node, total: 25n });
  // 33 levels of siblings that weigh nothing.
  let deep = leaves[0].hash;
  const path = [];
  for (let level = 0; level < 33; ++level) {
    path.push(word(level), sum(0n));
    deep = hash(deep, word(25n), word(level), word(0));
  }
  cases.push({ name: "33 levels", siblings: path, root: deep, total: 25n });
  return cases.map((changes) => {
    const { name, chunk, shares, siblings, root: at, total: of } = { ...base, ...changes };
    const words = shares.map((share) => hex(shareWord(share)));
    return { name, root: hex(at), total: `${of}`, chunk: hex(chunk), shares: words, siblings: siblings.map(hex) };
  });
}

// ---- the file ----

const ABOUT = [
  "Batches that the vault and its clients must agree on. Written by batch.mjs; checked by test/BatchVectors.t.sol and",
  "by the Rust tests. Amounts and points are decimal strings, hashes and share words 0x + hex.",
  "domain: chain and vault of all ids.",
  "trees[]: terms of the batch; its id; leaves[] in order, share word = payee << 96 | amount.",
  "trees[].proofs[] of some leaves: leaf = its index; hash; sum; offset = the sum of all leaves before it; siblings =",
  "two words a level from the leaf up, [hash, side << 255 | sum], side 1 = the sibling is on the left.",
  "trees[].seeds[]: a seed and all its wins[]: draw; point; leaf = index of the winner, whose proof is in proofs[];",
  "prize; paid[] = what each share of that leaf gets.",
  "refused[]: proofs that show no leaf of a batch with that root and total.",
  'Leaf hash = keccak256("leaf" padded right to 32, chunk, keccak256(share words)); node = keccak256(hashL, sumL,',
  "hashR, sumR), 32 bytes each; an odd node moves up unchanged.",
  'id = keccak256(abi.encode(bytes32("batch"), chainId, vault, payer, root, total, tip, uploadBy, draws)).',
  "point = (keccak256(seed, id) % total + draw * total / draws) % total. prize = total / draws, for draw 0 and the",
  "remainder; within a leaf prize * amount / sum, and the last share takes the rest.",
].join(" ");

// One line a leaf, proof and win: short to read, small to store.
function print(value, depth) {
  if (depth === 0 || value === null || typeof value !== "object") return JSON.stringify(value);
  const isList = Array.isArray(value);
  const parts = isList
    ? value.map((item) => print(item, depth - 1))
    : Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${print(item, depth - 1)}`);
  if (parts.length === 0) return isList ? "[]" : "{}";
  return `${isList ? "[" : "{"}\n${parts.join(",\n")}\n${isList ? "]" : "}"}`;
}

const file = path.join(here, "batch.json");
const fresh = `${print({ about: ABOUT, domain: DOMAIN, trees: TREES.map(tree), refused: refused() }, 4)}\n`;
JSON.parse(fresh);
if (process.argv.includes("--check")) {
  if (!fs.existsSync(file) || fs.readFileSync(file, "utf8") !== fresh) {
    console.error("batch: batch.json is stale: run batch.mjs");
    process.exit(1);
  }
} else {
  fs.writeFileSync(file, fresh);
}
