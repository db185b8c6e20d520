//! Runs the decoders under libFuzzer, on stable Rust: the compiler's coverage pass in place of a
//! sanitizer. See `fuzz/src/lib.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::table::Table;
use crate::workspace::Workspace;

/// Coverage as libFuzzer reads it.
const FLAGS: &[&str] = &[
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Clink-dead-code",
    "-Ccodegen-units=1",
];

/// How much the process may hold, in MB, of which 90 are the program with its counters. What is
/// allocated and not touched is bounded by the fuzzer's own allocator.
const MEMORY_MB: u32 = 256;

/// How long one input may take, in seconds.
const INPUT_SECONDS: u32 = 10;

/// The longest input that is made, in bytes.
const MAX_INPUT_BYTES: u32 = 64 * 1024;

/// Which targets, and for how long.
#[derive(clap::Args, Debug)]
pub(crate) struct FuzzArguments {
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Print the names of the targets.
    #[arg(long)]
    list: bool,
    /// Only these.
    targets: Vec<String>,
}

/// What libFuzzer says at the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    a_second: u64,
    peak_mb: u64,
}

/// Fuzzes; whether nothing was found.
///
/// # Errors
/// When the fuzzer cannot be built or started, and when there is no target of a name.
pub(crate) fn run(workspace: &Workspace, arguments: &FuzzArguments) -> Result<bool> {
    let home = workspace.output().with_file_name("fuzz");
    let program = build(workspace, &home)?;
    let names = command::answer(&program.to_string_lossy(), &[], workspace.root());
    let names = names.context("the fuzzer does not start")?;
    let names: Vec<&str> = names.lines().collect();
    if arguments.list {
        println!("{}", names.join("\n"));
        return Ok(true);
    }
    if let Some(other) = arguments.targets.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no target `{other}`: see `cargo xtask fuzz --list`");
    }
    let chosen =
        |name: &&str| arguments.targets.is_empty() || arguments.targets.iter().any(|t| t == name);
    let mut table = Table::new(&["target", "executions", "a second", "peak MB", "found"]);
    let mut found = Vec::new();
    for name in names.into_iter().filter(chosen) {
        eprintln!("==> {name}, {} s", arguments.seconds);
        let (figures, crash) = one(workspace, &program, &home, (name, arguments.seconds))?;
        let cells = [figures.executions, figures.a_second, figures.peak_mb].map(|n| n.to_string());
        let [executions, a_second, peak] = cells;
        let told = if crash { "yes" } else { "nothing" };
        table.push(vec![name.to_owned(), executions, a_second, peak, told.to_owned()]);
        found.extend(crash.then_some(name));
    }
    print!("{table}");
    if !found.is_empty() {
        eprintln!(
            "found something in {}: the input is in fuzz/regressions/<target>/, where the tests play \
             it from now on",
            found.join(", ")
        );
    }
    Ok(found.is_empty())
}

/// Builds for this machine by name: flags for a named target are not those of build scripts.
fn build(workspace: &Workspace, home: &Path) -> Result<PathBuf> {
    let version = command::answer("rustc", &["-vV"], workspace.root()).unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say what machine this is")?;
    let mut build = command::program(
        "cargo",
        ["build", "--profile", "fuzz", "-p", "spillway-fuzz", "--features", "libfuzzer"],
        workspace.root(),
    );
    build.args(["--bin", "spillway-fuzz", "--target", host, "--target-dir"]).arg(home);
    command::run(build.env("RUSTFLAGS", FLAGS.join(" ")))?;
    Ok(home.join(host).join("fuzz").join("spillway-fuzz"))
}

/// Runs one target; what it took, and whether it found something.
fn one(
    workspace: &Workspace,
    program: &Path,
    home: &Path,
    (name, seconds): (&str, u32),
) -> Result<(Figures, bool)> {
    let corpus = home.join("corpus").join(name);
    fs::create_dir_all(&corpus)?;
    let regressions = workspace.root().join("fuzz/regressions").join(name);
    fs::create_dir_all(&regressions)?;
    let log = home.join(format!("{name}.log"));
    let output = fs::File::create(&log)?;
    let start = Instant::now();
    let status = Command::new(program)
        .env("SPILLWAY_FUZZ_TARGET", name)
        .env("SPILLWAY_FUZZ_CORPUS", &corpus)
        .args([format!("-max_total_time={seconds}"), format!("-rss_limit_mb={MEMORY_MB}")])
        .args([format!("-timeout={INPUT_SECONDS}"), format!("-max_len={MAX_INPUT_BYTES}")])
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", regressions.display()))
        .args([&corpus, &regressions])
        .stdin(Stdio::null())
        .stderr(output)
        .status()
        .context("cannot start the fuzzer")?;
    // Only where nothing was found it is empty.
    let _ = fs::remove_dir(&regressions);
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if !status.success() {
        let tail: Vec<&str> = text.lines().rev().take(40).collect();
        eprintln!("{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
    }
    eprintln!("    {} s", start.elapsed().as_secs());
    Ok((figures(&text), !status.success()))
}

fn figures(text: &str) -> Figures {
    let stat = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
        line.and_then(|rest| rest.trim_start_matches(':').trim().parse().ok()).unwrap_or_default()
    };
    Figures {
        executions: stat("number_of_executed_units"),
        a_second: stat("average_exec_per_sec"),
        peak_mb: stat("peak_rss_mb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_libfuzzer_prints_them() {
        let text = "Done 9 runs in 61 second(s)\nstat::number_of_executed_units: 9\n\
                    stat::average_exec_per_sec:     3\nstat::peak_rss_mb:              37\n";
        assert_eq!(figures(text), Figures { executions: 9, a_second: 3, peak_mb: 37 });
        assert_eq!(figures("libFuzzer died"), Figures::default());
    }
}
