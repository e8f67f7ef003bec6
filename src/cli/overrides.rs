//! The flags that change a workload, shared by the commands that read one.

use std::io::IsTerminal;

use clap::Args;

use crate::workload::{Overrides, WorkloadErrors};

/// Flags that change a workload.
#[derive(Args, Clone, Debug, Default)]
pub struct OverrideArgs {
    /// Run this implementation: short for --var node=CMD
    #[arg(long, value_name = "CMD")]
    pub node: Option<String>,
    /// Set a variable of the workload
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub vars: Vec<String>,
    /// Set any key of the workload: load.rate=500, fault.0.at=2s
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Draw everything random from this seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
}

impl OverrideArgs {
    /// As the workload wants them.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            node: self.node.clone(),
            vars: self.vars.clone(),
            sets: self.sets.clone(),
            seed: self.seed,
            cell: Vec::new(),
        }
    }
}

/// Shows mistakes on stderr: in colour on a terminal, unless `NO_COLOR` is set.
pub fn show_errors(errors: &WorkloadErrors) {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    eprintln!("{}", errors.render(std::io::stderr().is_terminal() && !no_colour));
}
