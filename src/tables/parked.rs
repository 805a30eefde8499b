//! Owns the parked records: by number, and by the group that a person looks at together.

use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::{Refusal, Tables, TablesError};

/// Number to group and record.
const RECORDS: TableDefinition<u64, (&str, &[u8])> = TableDefinition::new("parked");
/// Group and number, to list a group in order.
const BY_GROUP: TableDefinition<(&str, u64), ()> = TableDefinition::new("parked_by_group");
/// Group to how many and how many bytes.
const GROUPS: TableDefinition<&str, (u64, u64)> = TableDefinition::new("parked_groups");

/// A record set aside for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// The caller's number.
    pub id: u64,
    /// What it is grouped by: route, status, shape of the error.
    pub group: String,
    /// The record.
    pub record: Bytes,
}

/// Parked records that are looked at together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How many records are in it.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(RECORDS)?;
    transaction.open_table(BY_GROUP)?;
    transaction.open_table(GROUPS)?;
    Ok(())
}

impl Tables {
    /// Parks a record, or replaces the one of this number, in this group or another.
    ///
    /// # Errors
    /// When there is no room or the file cannot be used; then nothing is changed.
    pub fn park(&self, id: u64, group: &str, record: &[u8]) -> Result<(), TablesError> {
        self.try_write(|transaction| {
            remove(transaction, id)?;
            let bytes = record.len() as u64;
            let mut groups = transaction.open_table(GROUPS)?;
            let taken = bytes + total_bytes(&groups)?;
            if taken > self.parked_bytes_max {
                return Err(Refusal::Full(taken));
            }
            change_group(&mut groups, group, |records, taken| (records + 1, taken + bytes))?;
            transaction.open_table(BY_GROUP)?.insert((group, id), ())?;
            transaction.open_table(RECORDS)?.insert(id, (group, record))?;
            Ok(())
        })
    }

    /// Removes a parked record and says whether it was there.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn unpark(&self, id: u64) -> Result<bool, TablesError> {
        self.write(|transaction| remove(transaction, id))
    }

    /// Reads a parked record.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn parked(&self, id: u64) -> Result<Option<Parked>, TablesError> {
        self.read(|transaction| find(transaction, id))
    }

    /// Lists the groups by name.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn parked_groups(&self) -> Result<Vec<Group>, TablesError> {
        self.read(|transaction| {
            let groups = transaction.open_table(GROUPS)?;
            let mut listed = Vec::new();
            for entry in groups.iter()? {
                let (name, sums) = entry?;
                let (records, bytes) = sums.value();
                listed.push(Group { name: name.value().to_owned(), records, bytes });
            }
            Ok(listed)
        })
    }

    /// Reads records of a group in the order of their numbers, behind `after` and `count_max` at most.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn parked_in(&self, group: &str, after: Option<u64>, count_max: usize) -> Result<Vec<Parked>, TablesError> {
        let Some(first) = after.map_or(Some(0), |after| after.checked_add(1)) else { return Ok(Vec::new()) };
        self.read(|transaction| {
            let by_group = transaction.open_table(BY_GROUP)?;
            let mut listed = Vec::new();
            for entry in by_group.range((group, first)..=(group, u64::MAX))?.take(count_max) {
                listed.extend(find(transaction, entry?.0.value().1)?);
            }
            Ok(listed)
        })
    }
}

fn find(transaction: &ReadTransaction, id: u64) -> Result<Option<Parked>, redb::Error> {
    let found = transaction.open_table(RECORDS)?.get(id)?;
    Ok(found.map(|found| {
        let (group, record) = found.value();
        Parked { id, group: group.to_owned(), record: Bytes::copy_from_slice(record) }
    }))
}

fn remove(transaction: &WriteTransaction, id: u64) -> Result<bool, redb::Error> {
    let mut records = transaction.open_table(RECORDS)?;
    let Some(removed) = records.remove(id)? else { return Ok(false) };
    let (group, record) = removed.value();
    let bytes = record.len() as u64;
    transaction.open_table(BY_GROUP)?.remove((group, id))?;
    change_group(&mut transaction.open_table(GROUPS)?, group, |records, taken| {
        (records.saturating_sub(1), taken.saturating_sub(bytes))
    })?;
    Ok(true)
}

/// Changes a group's sums; one without records is gone.
fn change_group(
    groups: &mut Table<'_, &'static str, (u64, u64)>,
    group: &str,
    change: impl FnOnce(u64, u64) -> (u64, u64),
) -> Result<(), redb::Error> {
    let (records, bytes) = groups.get(group)?.map_or((0, 0), |sums| sums.value());
    match change(records, bytes) {
        (0, _) => drop(groups.remove(group)?),
        sums => drop(groups.insert(group, sums)?),
    }
    Ok(())
}

fn total_bytes(groups: &Table<'_, &'static str, (u64, u64)>) -> Result<u64, redb::Error> {
    let mut total = 0;
    for entry in groups.iter()? {
        total += entry?.1.value().1;
    }
    Ok(total)
}
