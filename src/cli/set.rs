//! Owns the verb `set` in the files: the shares of a flag's split.

use std::process::ExitCode;

use clap::Args;

use super::edit::{self, EditArgs, Files, Plan, Refused, edit_document, error, known_variant};
use crate::config::SplitDoc;
use crate::flag::{Flag, Share, weights_of};

/// The long help of the verb.
pub(super) const LONG: &str = "\
Set shares of a flag's split in its file, down to 0.001 %. What is left goes to the variants that are not named, in \
proportion to their weights. The order of the pairs stays, so raising the first share takes nobody back. Rules around the \
split stay as they are. A flag without a rule gets a split of the named variants and its default variant.

Exit code 0: done, or the shares are those already. 1: refused, nothing was written. 2: wrong usage.";

/// The arguments of `set`.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The flag.
    flag: String,
    /// A variant and its share, such as `modern=10%`; may repeat.
    #[arg(required = true, value_name = "VARIANT=SHARE%", value_parser = wish)]
    shares: Vec<Wish>,
    #[command(flatten)]
    edit: EditArgs,
}

/// A variant and the share that it shall have.
type Wish = (String, Share);

/// Runs the verb.
pub(super) fn run(args: &SetArgs) -> ExitCode {
    edit::run(&args.edit, "set", |files| plan(args, files))
}

fn plan(args: &SetArgs, files: &Files) -> Result<Plan, Refused> {
    let (flag, document) = files.flag(&args.flag)?;
    for (at, (name, _)) in args.shares.iter().enumerate() {
        known_variant(flag, name)?;
        if args.shares[..at].iter().any(|(earlier, _)| earlier == name) {
            return Err(error("share-twice", format!("`{name}` is given two shares")));
        }
    }
    let edits = edit_document(document, |editor| match editor.split(&flag.key, &files.documents)? {
        Some(split) => {
            let weights = weights(flag, &split, &args.shares)?;
            editor.set_weights(&split, &weights);
            Ok(())
        }
        None => {
            let pairs = first_pairs(flag, &args.shares)?;
            let pairs: Vec<_> = pairs.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
            editor.add_split(&flag.key, &pairs)
        }
    })?;
    Ok(Plan { edits, ..Plan::default() })
}

/// The weights of a split that is there.
fn weights(flag: &Flag, split: &SplitDoc, shares: &[Wish]) -> Result<Vec<u32>, Refused> {
    for (name, _) in shares {
        let count = split.pairs.iter().filter(|pair| pair.variant.as_deref() == Some(name)).count();
        if count != 1 {
            let what = if count == 0 { "no pair" } else { "several pairs" };
            let mut found = error("no-pair", format!("the split of `{}` has {what} for `{name}`", flag.key));
            found.help = Some(if count == 0 {
                format!("add `[{name}, 0]` to it by hand")
            } else {
                "keep one of them".to_owned()
            });
            return Err(found);
        }
    }
    let present: Vec<u32> = split.pairs.iter().map(|pair| pair.weight).collect();
    let wanted = split.pairs.iter().map(|pair| {
        let wish = shares.iter().find(|(name, _)| pair.variant.as_deref() == Some(name));
        wish.map(|(_, share)| *share)
    });
    weights_of(&present, &wanted.collect::<Vec<_>>()).map_err(|why| error("bad-shares", why.to_string()))
}

/// The pairs of a split that is not there yet: what grows first, the default variant last.
fn first_pairs(flag: &Flag, shares: &[Wish]) -> Result<Vec<(String, u32)>, Refused> {
    let default = flag.default_variant.and_then(|id| flag.variants.get(usize::from(id.0)));
    let default = default.map(|variant| variant.name.to_string());
    let (last, mut pairs): (Vec<_>, Vec<_>) = shares
        .iter()
        .map(|(name, share)| (name.clone(), Some(*share)))
        .partition(|(name, _)| Some(name) == default.as_ref());
    pairs.extend(if last.is_empty() { default.map(|name| (name, None)).into_iter().collect() } else { last });
    let wanted: Vec<_> = pairs.iter().map(|(_, share)| *share).collect();
    let weights = weights_of(&vec![0; wanted.len()], &wanted).map_err(|why| error("bad-shares", why.to_string()))?;
    Ok(pairs.into_iter().map(|(name, _)| name).zip(weights).collect())
}

fn wish(text: &str) -> Result<Wish, String> {
    let (name, share) = text.rsplit_once('=').ok_or("write a variant and its share, as in modern=10%")?;
    let share = share.parse().map_err(str::to_owned)?;
    Ok((name.to_owned(), share))
}
