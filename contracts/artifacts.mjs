#!/usr/bin/env node
// Rebuilds contracts/artifacts/*.json from the sources; with --check it writes nothing and exits 1 when a
// committed artifact is not byte for byte what the sources give, or a vector not what its script gives.
//
// src/ is compiled alone, from nothing and into a directory of its own: with the IR pipeline the bytecode can depend
// on what else is compiled beside it. So are the test tokens.

import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const CONTRACTS = ["BlockhashBeacon", "ChunkVault", "DrandBeacon", "PlainToken"];
// Tokens that misbehave, for tests on a real chain: in artifacts/test, never deployed elsewhere.
const TEST_CONTRACTS = ["HostileToken", "SwallowingToken"];
const here = path.dirname(fileURLToPath(import.meta.url));
const target = path.join(here, "artifacts");

function fail(message) {
  console.error(`artifacts: ${message}`);
  process.exit(1);
}

function build(out, sources) {
  const wrapper = path.join(here, "..", "tools", "node_modules", "@foundry-rs", "forge", "bin.mjs");
  if (!fs.existsSync(wrapper)) fail("forge is not installed: run `npm ci` in tools/ first");
  const args = ["build", ...sources, "--offline", "--force", "--out", out, "--cache-path", path.join(out, "cache")];
  const run = spawnSync(process.execPath, [wrapper, ...args], { cwd: here, encoding: "utf8" });
  if (run.status !== 0) fail(`forge build failed:\n${run.stdout ?? ""}${run.stderr ?? run.error ?? ""}`);
}

function artifact(out, contractName) {
  const built = JSON.parse(fs.readFileSync(path.join(out, `${contractName}.sol`, `${contractName}.json`), "utf8"));
  const { abi, bytecode, deployedBytecode } = built;
  const json = { contractName, abi, bytecode: bytecode.object, deployedBytecode: deployedBytecode.object };
  return `${JSON.stringify(json, null, 2)}\n`;
}

const unknown = process.argv.slice(2).filter((argument) => argument !== "--check");
if (unknown.length > 0) fail(`unknown argument ${unknown.join(" ")}; usage: artifacts.mjs [--check]`);
const check = process.argv.includes("--check");

const stale = [];

// Compiles `sources` and compares or writes the artifacts of the contracts `names` in `directory`.
function update(sources, names, directory) {
  const out = fs.mkdtempSync(path.join(os.tmpdir(), "spillway-artifacts-"));
  process.on("exit", () => fs.rmSync(out, { recursive: true, force: true }));
  build(out, sources);
  for (const name of names) {
    const file = path.join(directory, `${name}.json`);
    const shown = path.relative(target, file);
    const fresh = artifact(out, name);
    const committed = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : null;
    if (fresh === committed) continue;
    if (check) {
      stale.push(committed === null ? `${shown} is missing` : `${shown} differs from what the sources give`);
    } else {
      fs.mkdirSync(directory, { recursive: true });
      fs.writeFileSync(file, fresh);
      console.log(`artifacts: wrote ${shown}`);
    }
  }
}

if (check) {
  for (const name of ["batch", "drand"]) {
    const script = path.join(here, "vectors", `${name}.mjs`);
    const run = spawnSync(process.execPath, [script, "--check"], { encoding: "utf8" });
    if (run.status !== 0) fail(run.stderr.trim());
  }
}
update(["src"], CONTRACTS, target);
const testSources = TEST_CONTRACTS.map((name) => path.join("test", "support", `${name}.sol`));
update(testSources, TEST_CONTRACTS, path.join(target, "test"));
if (stale.length > 0) fail(`${stale.join("; ")}. Run \`node contracts/artifacts.mjs\` and commit the result.`);
console.log(`artifacts: ${[...CONTRACTS, ...TEST_CONTRACTS].join(", ")} are up to date`);
