//! Owns the header by which a tester chooses a variant, from trusted networks only (rule A10).

use super::Head;
use crate::flag::{Flag, FlagId, VariantId};
use crate::snapshot::Snapshot;

/// The variant that a tester asks for.
///
/// A killed or disabled flag cannot be forced: the kill switch beats every other source. A variant that the flag does not have
/// is not asked for.
pub(super) fn forced(snapshot: &Snapshot, head: &Head<'_>, id: FlagId, flag: &Flag) -> Option<VariantId> {
    let forcing = snapshot.rules.forcing.as_ref()?;
    let mut fields = head.headers.get_all(&forcing.header).iter().peekable();
    fields.peek()?;
    if snapshot.is_killed(id) || !forcing.networks.iter().any(|network| network.contains(head.client)) {
        return None;
    }
    let mut wishes = fields.filter_map(|field| field.to_str().ok()).flat_map(|field| field.split(','));
    let (_, variant) = wishes.find_map(|wish| {
        let (key, variant) = wish.split_once('=')?;
        (key.trim() == &*flag.key).then_some((key, variant))
    })?;
    flag.variant(variant.trim())
}
