//! Owns the header by which a tester chooses a variant, from trusted networks only (rule A10).

use super::Head;
use crate::flag::{Flag, VariantId};
use crate::snapshot::Rules;

/// The variant that a tester asks for.
///
/// A disabled flag cannot be forced: the kill switch beats every other source. A variant that the flag does not have
/// is not asked for.
pub(super) fn forced(rules: &Rules, head: &Head<'_>, flag: &Flag) -> Option<VariantId> {
    let forcing = rules.forcing.as_ref().filter(|_| flag.enabled)?;
    let mut fields = head.headers.get_all(&forcing.header).iter().peekable();
    fields.peek()?;
    if !forcing.networks.iter().any(|network| network.contains(head.client)) {
        return None;
    }
    let mut wishes = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
    let (_, variant) = wishes.find_map(|wish| {
        let (key, variant) = wish.split_once('=')?;
        (key.trim() == &*flag.key).then_some((key, variant))
    })?;
    flag.variant(variant.trim())
}
