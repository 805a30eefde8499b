//! Owns the verb `schema`: the JSON Schemas that editors use.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::print;

/// The long help of the verb.
pub(super) const LONG: &str = "\
Print the JSON Schema of flag or route files, for editors and other tools. With the YAML language server, put it beside \
the files and begin each with

  # yaml-language-server: $schema=../schemas/routes.json

Flag files are flagd's flag definitions; the schema is the strict part of them that Banyan accepts.";

/// The arguments of `schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Which files.
    #[arg(value_enum)]
    files: Files,
    /// Accepted for symmetry: a schema is JSON anyway.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Files {
    /// flags/*.yaml
    Flags,
    /// routes/*.yaml
    Routes,
}

/// Prints a schema.
pub(super) fn run(args: &SchemaArgs) -> ExitCode {
    print(match args.files {
        Files::Flags => include_str!("../../schemas/flags.json"),
        Files::Routes => include_str!("../../schemas/routes.json"),
    });
    ExitCode::SUCCESS
}
