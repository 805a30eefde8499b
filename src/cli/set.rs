//! Owns the verb `set` in the files: the shares of a flag's split.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value};

use super::edit::{EditArgs, Files, Plan, Refused, edit_document, error, known_variant};
use super::live::LiveArgs;
use crate::config::{Edited, SplitDoc};
use crate::flag::{Flag, Share, ShareError, Split, VariantId};

/// The long help of the verb.
pub(super) const LONG: &str = "\
Set shares of a flag's split in its file, down to 0.001 %. What is left goes to the variants that are not named, in \
proportion to their weights. The order of the pairs stays, so raising the first share takes nobody back. Rules around the \
split stay as they are. A flag without a rule gets a split of the named variants and its default variant.

With --live the running router is told instead: the shares lie over the file until `set FLAG --live --release`, also over \
a restart and over edits of the file.

Exit code 0: done, or the shares are those already. 1: refused, nothing was written. 2: wrong usage. 3: with --live, \
no router answers, or it does not let you in.";

/// The arguments of `set`.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The flag.
    flag: String,
    /// A variant and its share, such as `modern=10%`; may repeat.
    #[arg(required_unless_present = "release", value_name = "VARIANT=SHARE%", value_parser = wish)]
    shares: Vec<Wish>,
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    edit: EditArgs,
}

/// A variant and the share that it shall have.
pub(super) type Wish = (String, Share);

/// Runs the verb.
pub(super) fn run(args: &SetArgs) -> ExitCode {
    if args.live.release {
        return args.live.give(&args.edit, &args.flag, "unset", Map::new());
    }
    if args.live.live {
        let share = |(name, share): &Wish| (name.clone(), Value::from(share.to_string()));
        let shares: Map<String, Value> = args.shares.iter().map(share).collect();
        if shares.len() < args.shares.len() {
            eprintln!("banyan: a variant is named twice");
            return ExitCode::from(2);
        }
        let body = Map::from_iter([("shares".to_owned(), shares.into())]);
        return args.live.give(&args.edit, &args.flag, "set", body);
    }
    let plan = |files: &Files| Ok(Plan { edits: edits(&args.flag, &args.shares, files)?, ..Plan::default() });
    args.live.edit(&args.edit, &args.flag, "set", plan)
}

/// The edits that give a flag's variants the wished shares.
pub(super) fn edits(flag: &str, wishes: &[Wish], files: &Files) -> Result<Vec<Edited>, Refused> {
    let (flag, document) = files.flag(flag)?;
    for (name, _) in wishes {
        known_variant(flag, name)?;
    }
    edit_document(document, |editor| {
        let present = editor.split(&flag.key, &files.documents)?;
        if let Some(present) = &present {
            known_pairs(flag, present, wishes)?;
        }
        // The same weights as an override would have, so that going from one to the other moves nobody.
        let shares: Vec<_> = wishes.iter().map(|(name, share)| (name.as_str(), *share)).collect();
        let split = Split::over(flag, &shares).map_err(|why| error("bad-shares", why.to_string()))?;
        match (&present, split.weights()) {
            (Some(present), Some((weights, _))) => editor.set_weights(present, weights),
            _ => editor.add_split(&flag.key, &first_pairs(flag, &split)?)?,
        }
        Ok(())
    })
}

/// Refuses shares of variants that the flag has and its split has not.
fn known_pairs(flag: &Flag, split: &SplitDoc, shares: &[Wish]) -> Result<(), Refused> {
    let is_there = |name: &str| split.variants.iter().any(|variant| variant.as_deref() == Some(name));
    let Some((missing, _)) = shares.iter().find(|(name, _)| !is_there(name)) else { return Ok(()) };
    let mut found = error("no-pair", format!("the split of `{}` has no pair for `{missing}`", flag.key));
    found.help = Some(format!("add `[{missing}, 0]` to it by hand"));
    Err(found)
}

/// The pairs of a split that is not there yet; the default variant is always one, so that shares can go back to it.
fn first_pairs<'f>(flag: &'f Flag, split: &Split) -> Result<Vec<(&'f str, u32)>, Refused> {
    let name = |id: VariantId| flag.variants.get(usize::from(id.0)).map(|variant| &*variant.name);
    let default = flag.default_variant;
    let mut pairs = Vec::new();
    for (variant, weight) in split.pairs() {
        let Some(name) = variant.or(default).and_then(name) else {
            let mut found =
                error("bad-shares", format!("the flag `{}` has no default variant to take the rest", flag.key));
            found.help = Some("give shares that add up to 100%".to_owned());
            return Err(found);
        };
        pairs.push((name, *weight));
    }
    if let Some(default) = default.and_then(name).filter(|name| pairs.iter().all(|(paired, _)| paired != name)) {
        pairs.push((default, 0));
    }
    Ok(pairs)
}

/// Reads `modern=10%`; the sign is required, because 0.1 could mean both.
pub(super) fn wish(text: &str) -> Result<Wish, String> {
    let (name, share) = text.rsplit_once('=').ok_or("write a variant and its share, as in modern=10%")?;
    if !share.ends_with('%') {
        return Err("write the share with its sign, such as 10% or 0.5%".to_owned());
    }
    let share = share.parse().map_err(|error: ShareError| error.to_string())?;
    Ok((name.to_owned(), share))
}
