//! Mutation testing with cargo-mutants, in a target directory of its own. What is mutated, and with
//! which tests, is in `.cargo/mutants.toml` and below; the result is in `docs/mutation-testing.md`.

use anyhow::{Context, Result, bail};

use crate::command;
use crate::workspace::Workspace;

/// A part of the code, by what its tests need: cheap ones first.
struct Part {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// Other packages whose tests can catch a mutant.
    tested_by: &'static [&'static str],
    /// Which tests can catch a mutant, as nextest says it.
    tests: &'static str,
    /// Whether they run Anvil, which is in no copy that leaves out what git ignores.
    with_anvil: bool,
}

/// Those of `spillway-pay` that need neither a chain nor most of a second.
const PAY_TESTS: &str = "(kind(lib) | test(/^(sum_tree|vectors|limits|batch::)/)) - test(anvil) \
                         - test(/the_deployed_vault|^batch::gas/)";

/// Of the client, but for those with Anvil, and over a network in memory, without most of those that
/// cut an upload everywhere: minutes for a mutant.
const CLIENT_TESTS: &str = "(package(spillway-client) | test(/^cluster::/)) - \
                            test(/^cluster::(interruption|quoting|directories|resumed_downloads|\
                            round_trip)::|_at_any_change|drand::/)";

/// Payment, session, verification and cleanup.
const PARTS: &[Part] = &[
    Part {
        name: "proofs",
        package: "spillway-types",
        files: &["batch.rs", "leaf.rs", "proof.rs", "quote.rs", "receipt.rs"],
        tested_by: &[],
        tests: "all()",
        with_anvil: false,
    },
    Part {
        name: "verify",
        package: "spillway-pay",
        files: &["sum_tree.rs", "verify.rs"],
        tested_by: &[],
        tests: PAY_TESTS,
        with_anvil: false,
    },
    Part {
        name: "plans",
        package: "spillway-pay",
        files: &["batch_planner.rs", "choose.rs", "plan.rs", "planner.rs", "spend.rs"],
        tested_by: &[],
        // What a plan is says how it is paid.
        tests: "not test(/anvil|^(authorized|keeper|secrets|chaos|settling::drand|batch::gas)::|\
                hostile::a_token|hostile::a_vault|the_deployed_vault/)",
        with_anvil: false,
    },
    Part {
        name: "payments",
        package: "spillway-pay",
        files: &["payments.rs", "payments/**/*.rs", "rpc_error.rs"],
        tested_by: &[],
        // Chaos takes longer than all others together, and those before the first bar need Anvil.
        tests: "not test(/anvil|^(authorized|keeper|secrets|settling::drand|batch::gas)::|\
                hostile::a_token|hostile::a_vault|the_deployed_vault|\
                ^(sum_tree|vectors|limits|chaos)::/)",
        with_anvil: false,
    },
    Part {
        name: "keeper",
        package: "spillway-pay",
        files: &["keeper.rs"],
        tested_by: &[],
        tests: "test(/^keeper::/)",
        with_anvil: true,
    },
    Part {
        name: "checks",
        package: "spillway-node",
        files: &["admitted.rs", "checks.rs", "evidence.rs", "batches/files.rs", "batches/value.rs"],
        tested_by: &[],
        tests: "all()",
        with_anvil: false,
    },
    Part {
        name: "sessions",
        package: "spillway-client",
        files: &["session/*.rs", "spill.rs", "reap.rs", "forget.rs", "hand_over/*.rs"],
        // Most of what sessions do can be seen over a network only.
        tested_by: &["spillway-tests"],
        tests: CLIENT_TESTS,
        with_anvil: false,
    },
    Part {
        name: "verification",
        package: "spillway-client",
        files: &[
            "verify/*.rs",
            "upload/checking.rs",
            "upload/elsewhere.rs",
            "upload/finality.rs",
            "upload/imported.rs",
            "upload/mending.rs",
            "refunds.rs",
            "settling.rs",
            "settling/*.rs",
        ],
        tested_by: &["spillway-tests"],
        tests: CLIENT_TESTS,
        with_anvil: false,
    },
];

/// Which part, and which share of it.
#[derive(clap::Args, Debug)]
pub(crate) struct MutantsArguments {
    /// Only the k-th of n shares, from 0: every n-th mutant, of all files.
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Print the mutants, run nothing.
    #[arg(long)]
    list: bool,
    /// Only these: proofs, verify, plans, payments, keeper, checks, sessions, verification.
    parts: Vec<String>,
}

/// Runs the parts; whether every mutant was caught.
///
/// # Errors
/// When cargo-mutants is not there or cannot run, and when there is no part of a name.
pub(crate) fn run(workspace: &Workspace, arguments: &MutantsArguments) -> Result<bool> {
    if command::answer("cargo", &["mutants", "--version"], workspace.root()).is_none() {
        bail!("cargo-mutants is not there: `cargo install cargo-mutants --locked`");
    }
    let known = |name: &String| PARTS.iter().any(|part| part.name == name);
    if let Some(other) = arguments.parts.iter().find(|name| !known(name)) {
        bail!("there is no part `{other}`");
    }
    let chosen = |part: &&Part| {
        arguments.parts.is_empty() || arguments.parts.iter().any(|name| name == part.name)
    };
    let home = workspace.output().with_file_name("mutants");
    #[expect(clippy::disallowed_methods, reason = "cargo reads the same variable")]
    let is_named = std::env::var_os("CARGO_TARGET_DIR").is_some();
    let mut all = true;
    for part in PARTS.iter().filter(chosen) {
        eprintln!("==> {}", part.name);
        let output = home.join(part.name);
        std::fs::create_dir_all(&output)
            .with_context(|| format!("cannot make {}", output.display()))?;
        let lines = line(part, arguments, &output.to_string_lossy());
        let mut mutants = command::program("cargo", &lines, workspace.root());
        // A copy of the tree, and never the target directory of others, unless one is named.
        if !is_named {
            mutants.env("CARGO_TARGET_DIR", home.join("target"));
        }
        // Each program is built again for every mutant: what makes that cheaper.
        mutants.env("CARGO_INCREMENTAL", "1").env("CARGO_PROFILE_DEV_DEBUG", "0");
        mutants.env("RUST_BACKTRACE", "0");
        all &= command::succeeds(&mut mutants)?;
    }
    Ok(all)
}

fn line(part: &Part, arguments: &MutantsArguments, output: &str) -> Vec<String> {
    let mut line: Vec<String> =
        ["mutants", "--package", part.package, "--output", output].map(str::to_owned).to_vec();
    for file in part.files {
        line.extend(["--file".to_owned(), format!("crates/{}/src/{file}", part.package)]);
    }
    if let Some(shard) = &arguments.shard {
        line.extend(["--sharding", "round-robin", "--shard", shard].map(str::to_owned));
    }
    if !part.tested_by.is_empty() {
        for package in [&[part.package], part.tested_by].concat() {
            line.extend(["--test-package", package].map(str::to_owned));
        }
    }
    line.extend(part.with_anvil.then(|| "--gitignore=false".to_owned()));
    line.extend(arguments.list.then(|| "--list".to_owned()));
    // One test that fails is enough.
    line.extend(["--", "--fail-fast", "-E", part.tests].map(str::to_owned));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_names_files_that_are_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        for part in PARTS {
            for file in part.files {
                let plain = file.split("/*").next().unwrap_or(file);
                assert!(root.join(part.package).join("src").join(plain).exists(), "{file}");
            }
        }
    }

    #[test]
    fn a_part_is_one_call() {
        let arguments =
            MutantsArguments { shard: Some("1/4".into()), list: false, parts: Vec::new() };
        assert_eq!(
            line(&PARTS[1], &arguments, "out").join(" "),
            format!(
                "mutants --package spillway-pay --output out \
                 --file crates/spillway-pay/src/sum_tree.rs --file crates/spillway-pay/src/verify.rs \
                 --sharding round-robin --shard 1/4 -- --fail-fast -E {PAY_TESTS}"
            )
        );
        let sessions = PARTS.iter().find(|part| part.name == "sessions").unwrap();
        let packages = "--test-package spillway-client --test-package spillway-tests";
        assert!(line(sessions, &arguments, "out").join(" ").contains(packages));
    }
}
