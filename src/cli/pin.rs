//! Owns the verb `pin` in the files: one attribute's value gets one variant, before all else.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::edit::{EditArgs, Files, Plan, Refused, edit_document, error, known_variant};
use super::live::LiveArgs;
use crate::config::Pin;

/// The long help of the verb.
pub(super) const LONG: &str = "\
Give everybody whose attribute has a value one variant, by a condition before all else in the flag's rule. The same \
condition at that place gets the new variant. What the rule said before stays behind it, byte for byte.

With --live the running router is told instead: the pin lies over the file until `pin FLAG ATTRIBUTE=VALUE --live --release`; \
without the condition all pins of the flag are taken back.

Exit code 0: done, or pinned so already. 1: refused, nothing was written. 2: wrong usage. 3: with --live, no \
router answers, or it does not let you in.";

/// The arguments of `pin`.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// The flag.
    flag: String,
    /// What the request must have, as rules call it, such as `tenant=acme` or `targetingKey=user-17`.
    #[arg(required_unless_present = "release", value_name = "ATTRIBUTE=VALUE", value_parser = condition)]
    condition: Option<(String, String)>,
    /// The variant.
    #[arg(required_unless_present = "release")]
    variant: Option<String>,
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    edit: EditArgs,
}

/// Runs the verb.
pub(super) fn run(args: &PinArgs) -> ExitCode {
    let text = |name: &str, value: &String| (name.to_owned(), Value::from(value.as_str()));
    let attribute = args.condition.iter().flat_map(|(name, value)| [text("attribute", name), text("value", value)]);
    if args.live.release {
        return args.live.give(&args.edit, &args.flag, "unpin", attribute.collect());
    }
    if args.live.live {
        let variant = args.variant.iter().map(|variant| text("variant", variant));
        return args.live.give(&args.edit, &args.flag, "pin", attribute.chain(variant).collect());
    }
    args.live.edit(&args.edit, &args.flag, "pin", |files| plan(args, files))
}

fn plan(args: &PinArgs, files: &Files) -> Result<Plan, Refused> {
    let (flag, document) = files.flag(&args.flag)?;
    let (Some((attribute, value)), Some(variant)) = (&args.condition, &args.variant) else {
        return Err(error("no-pin", "there is nothing to pin"));
    };
    known_variant(flag, variant)?;
    let pin = Pin { attribute, value, variant };
    let edits = edit_document(document, |editor| editor.pin(&flag.key, pin))?;
    Ok(Plan { edits, attributes: vec![(attribute.clone(), value.clone())] })
}

fn condition(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((attribute, value)) if !attribute.is_empty() => Ok((attribute.to_owned(), value.to_owned())),
        _ => Err("write an attribute and its value, as in tenant=acme"),
    }
}
