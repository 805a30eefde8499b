//! Owns the map between ids: what an entity is called in the system that made it, and in the other one.
//!
//! Within a namespace each id has at most one counterpart, in both directions.

use redb::{TableDefinition, WriteTransaction};

use super::{Tables, TablesError};

const OTHER: TableDefinition<(&str, &str), &str> = TableDefinition::new("ids_other");
const PRIMARY: TableDefinition<(&str, &str), &str> = TableDefinition::new("ids_primary");

/// One entity's two ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdPair<'a> {
    /// What the ids belong to: a route or a resource.
    pub namespace: &'a str,
    /// The id in the system that made the entity.
    pub primary: &'a str,
    /// The id in the other one.
    pub other: &'a str,
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(OTHER)?;
    transaction.open_table(PRIMARY)?;
    Ok(())
}

impl Tables {
    /// Maps two ids to each other; what either was mapped to before is forgotten.
    ///
    /// # Errors
    /// When the file cannot be used; then nothing is changed.
    pub fn map_ids(&self, pair: IdPair<'_>) -> Result<(), TablesError> {
        self.map_all_ids(&[pair])
    }

    /// Maps many ids with one sync: all of them or none.
    ///
    /// # Errors
    /// When the file cannot be used; then nothing is changed.
    pub fn map_all_ids(&self, pairs: &[IdPair<'_>]) -> Result<(), TablesError> {
        self.write(|transaction| {
            let (mut others, mut primaries) = (transaction.open_table(OTHER)?, transaction.open_table(PRIMARY)?);
            for &IdPair { namespace, primary, other } in pairs {
                if let Some(before) = others.insert((namespace, primary), other)? {
                    primaries.remove((namespace, before.value()))?;
                }
                let before = primaries.insert((namespace, other), primary)?;
                if let Some(before) = before.filter(|before| before.value() != primary) {
                    others.remove((namespace, before.value()))?;
                }
            }
            Ok(())
        })
    }

    /// Forgets an entity by its id in the system that made it, and says whether it was known.
    ///
    /// # Errors
    /// When the file cannot be used; then nothing is changed.
    pub fn forget_ids(&self, namespace: &str, primary: &str) -> Result<bool, TablesError> {
        self.write(|transaction| {
            let mut others = transaction.open_table(OTHER)?;
            let Some(other) = others.remove((namespace, primary))? else { return Ok(false) };
            transaction.open_table(PRIMARY)?.remove((namespace, other.value()))?;
            Ok(true)
        })
    }

    /// The id in the other system.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn other_id(&self, namespace: &str, primary: &str) -> Result<Option<String>, TablesError> {
        self.read(|transaction| {
            let found = transaction.open_table(OTHER)?.get((namespace, primary))?;
            Ok(found.map(|other| other.value().to_owned()))
        })
    }

    /// The id in the system that made the entity.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn primary_id(&self, namespace: &str, other: &str) -> Result<Option<String>, TablesError> {
        self.read(|transaction| {
            let found = transaction.open_table(PRIMARY)?.get((namespace, other))?;
            Ok(found.map(|primary| primary.value().to_owned()))
        })
    }
}
