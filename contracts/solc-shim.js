#!/usr/bin/env node
// Gives the npm package `solc` (the compiler as WebAssembly) the command line of the native compiler, as far
// as forge uses it: `--version` and `--standard-json`. So forge compiles without fetching a compiler.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const compiler = path.join(__dirname, "..", "tools", "node_modules", "solc");

function load() {
  try {
    return require(compiler);
  } catch (error) {
    console.error(`solc-shim: cannot load ${compiler}: ${error.message}; run \`npm ci\` in tools/ first`);
    process.exit(1);
  }
}

const args = process.argv.slice(2);
if (args.includes("--version")) {
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${load().version()}`);
} else if (args.includes("--standard-json")) {
  // A write to the descriptor returns only when all is written, a stream would be cut off at exit.
  fs.writeFileSync(1, load().compile(fs.readFileSync(0, "utf8")));
} else {
  console.error(`solc-shim: only --version and --standard-json are supported, not: ${args.join(" ")}`);
  process.exit(1);
}
