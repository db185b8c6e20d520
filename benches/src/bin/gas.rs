//! Gas of every way to pay, measured on a chain that this starts and ends.

#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use spillway_benches::{GAS_SIZES, gas_table, measure_gas};
use spillway_pay::{Anvil, FindOptions};

/// Measure the gas of payments.
#[derive(Debug, Parser)]
struct Arguments {
    /// One JSON object a row and line, in place of tables.
    #[arg(long)]
    json: bool,
    /// Write the rows to this file too, as `--json` prints them.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// The program `anvil`; otherwise it is looked for in `tools/node_modules`, here and above.
    #[arg(long, env = "SPILLWAY_ANVIL", value_name = "FILE")]
    anvil: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let options = FindOptions {
        explicit: arguments.anvil,
        path_var: None,
        start_dir: Some(env::current_dir()?),
    };
    let anvil = Anvil::find(&options).context("`cargo xtask setup` installs it")?;
    let rows = measure_gas(anvil, &GAS_SIZES).await?;
    let lines: Vec<String> = rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    if let Some(path) = &arguments.write {
        fs::write(path, lines.join("\n") + "\n").with_context(|| path.display().to_string())?;
    }
    if arguments.json {
        println!("{}", lines.join("\n"));
    } else {
        print!("{}", gas_table(&rows));
    }
    Ok(())
}
