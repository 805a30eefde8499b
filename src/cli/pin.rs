//! Owns the verb `pin` in the files: one attribute's value gets one variant, before all else.

use std::process::ExitCode;

use clap::Args;

use super::edit::{self, EditArgs, Files, Plan, Refused, edit_document, known_variant};
use crate::config::Pin;

/// The long help of the verb.
pub(super) const LONG: &str = "\
Give everybody whose attribute has a value one variant, by a condition before all else in the flag's rule. The same \
condition at that place gets the new variant. What the rule said before stays behind it, byte for byte.

Exit code 0: done, or pinned so already. 1: refused, nothing was written. 2: wrong usage.";

/// The arguments of `pin`.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// The flag.
    flag: String,
    /// What the request must have, as rules call it, such as `tenant=acme` or `targetingKey=user-17`.
    #[arg(value_name = "ATTRIBUTE=VALUE", value_parser = condition)]
    condition: (String, String),
    /// The variant.
    variant: String,
    #[command(flatten)]
    edit: EditArgs,
}

/// Runs the verb.
pub(super) fn run(args: &PinArgs) -> ExitCode {
    edit::run(&args.edit, "pin", |files| plan(args, files))
}

fn plan(args: &PinArgs, files: &Files) -> Result<Plan, Refused> {
    let (flag, document) = files.flag(&args.flag)?;
    known_variant(flag, &args.variant)?;
    let (attribute, value) = &args.condition;
    let pin = Pin { attribute, value, variant: &args.variant };
    let edits = edit_document(document, |editor| editor.pin(&flag.key, pin))?;
    Ok(Plan { edits, attributes: vec![args.condition.clone()] })
}

fn condition(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((attribute, value)) if !attribute.is_empty() => Ok((attribute.to_owned(), value.to_owned())),
        _ => Err("write an attribute and its value, as in tenant=acme"),
    }
}
