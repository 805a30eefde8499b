//! Interim: reads flags without targeting until branch `flags` is merged, which replaces this file.

use std::collections::HashMap;

use crate::config::{Diagnostic, Node, Report};
use crate::flag::{Flag, FlagId, Variant, VariantId};

/// The compiled flags of a set.
#[derive(Debug, Default)]
pub struct FlagSet {
    /// The flags, by [`FlagId`].
    pub flags: Vec<Flag>,
    /// Flag keys to ids.
    pub ids: HashMap<Box<str>, FlagId>,
}

/// Compiles the flags of all documents.
pub fn compile_flags(documents: &[Node], _now_unix_s: i64, _previous: Option<&[Flag]>, report: &mut Report) -> FlagSet {
    let mut set = FlagSet::default();
    for (key, node) in documents.iter().filter_map(|document| document.key("flags")?.as_map()).flatten() {
        let name = key.as_str().unwrap_or_default();
        let Some(variants) = node.key("variants").and_then(Node::as_map) else {
            report.push(Diagnostic::error("missing-key", &key.place, "no variants"));
            continue;
        };
        let variants: Box<[Variant]> = variants
            .iter()
            .map(|(name, value)| Variant { name: name.as_str().unwrap_or_default().into(), value: value.to_json() })
            .collect();
        let default = node.key("defaultVariant").and_then(Node::as_str);
        let id = FlagId(u32::try_from(set.flags.len()).unwrap_or(u32::MAX));
        set.ids.insert(name.into(), id);
        set.flags.push(Flag {
            key: name.into(),
            enabled: node.key("state").and_then(Node::as_str) == Some("ENABLED"),
            default_variant: variants
                .iter()
                .position(|variant| Some(&*variant.name) == default)
                .and_then(|index| u16::try_from(index).ok())
                .map(VariantId),
            variants,
            rule: None,
            metadata: serde_json::Map::new(),
        });
    }
    set
}
