//! The tables, and how an older ledger becomes a newer one.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};

use crate::store::LedgerError;

/// Name of the database in the state folder.
pub const DATABASE_FILE: &str = "scopewatch.db";

/// One step per schema version: step `n` (from zero) leads from schema `n` to `n + 1`.
const STEPS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];

/// The schema of this build.
pub(super) const SCHEMA: i64 = STEPS.len() as i64;

/// How long a statement waits for another program that holds the database, before the writer tells and tries again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest size to which the write-ahead log is cut back.
const WAL_SIZE_MAX_BYTES: i64 = 16 << 20;

/// Opens or creates the database and brings it to the newest schema.
pub(super) fn open(state_dir: &Path) -> Result<Connection, LedgerError> {
    let path = state_dir.join(DATABASE_FILE);
    sync_log(&path)?;
    let mut connection = Connection::open(&path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", WAL_SIZE_MAX_BYTES)?;
    keep_plans(&connection)?;
    connection.set_prepared_statement_cache_capacity(96);
    migrate(&mut connection, &path, STEPS)?;
    Ok(connection)
}

/// Makes what a killed process wrote into the write-ahead log, but did not sync, last over a power loss: it is read from now
/// on, and report lines follow from it.
fn sync_log(database: &Path) -> Result<(), LedgerError> {
    let log = database.with_extension("db-wal");
    match File::open(&log).and_then(|file| file.sync_data()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LedgerError::io(log)(error)),
        _ => Ok(()),
    }
}

/// Lets a prepared statement be used again whatever is bound to it. Otherwise SQLite compiles each statement on a table with a
/// partial index anew at every use, in case that the value would allow the index: half of the writer's time.
pub(super) fn keep_plans(connection: &Connection) -> Result<(), LedgerError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// The schema of an open database: 0 for an empty one.
fn schema_of(connection: &Connection) -> Result<i64, LedgerError> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), LedgerError> {
    let known = steps.len() as i64;
    let found = schema_of(connection)?;
    if found > known {
        return Err(LedgerError::NewerSchema { found, known });
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        back_up(connection, path, found)?;
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in &steps[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

/// Writes `scopewatch.db.schemaN` beside the database; an earlier copy of the same schema is replaced.
fn back_up(connection: &Connection, path: &Path, schema: i64) -> Result<(), LedgerError> {
    let copy = path.with_extension(format!("db.schema{schema}"));
    match std::fs::remove_file(&copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(LedgerError::io(copy)(error));
        }
        _ => {}
    }
    let copy_text = copy.to_str().ok_or_else(|| {
        LedgerError::Misuse(format!("the path of the state folder is not UTF-8: {}", path.display()))
    })?;
    connection.execute("VACUUM INTO ?1", [copy_text])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_ledger_is_migrated_with_a_copy_and_a_newer_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DATABASE_FILE);
        drop(open(folder.path()).unwrap());
        let mut connection = Connection::open(&path).unwrap();
        connection.execute("INSERT INTO root (name, path) VALUES ('a', x'2f')", []).unwrap();
        let mut steps = STEPS.to_vec();
        steps.push("ALTER TABLE root ADD COLUMN note TEXT;");
        migrate(&mut connection, &path, &steps).unwrap();
        assert_eq!(schema_of(&connection).unwrap(), SCHEMA + 1);
        let copy = Connection::open(folder.path().join(format!("scopewatch.db.schema{SCHEMA}"))).unwrap();
        assert_eq!(schema_of(&copy).unwrap(), SCHEMA);
        assert_eq!(copy.query_row("SELECT name FROM root", [], |row| row.get::<_, String>(0)).unwrap(), "a");
        drop(connection);
        let error = open(folder.path()).unwrap_err();
        let LedgerError::NewerSchema { found, known } = error else { panic!("{error}") };
        assert_eq!((found, known), (SCHEMA + 1, SCHEMA));
    }

    #[test]
    fn every_older_schema_becomes_this_one() {
        let tables = |connection: &Connection| -> Vec<String> {
            let mut statement =
                connection.prepare("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let new = tempfile::tempdir().unwrap();
        let expected = tables(&open(new.path()).unwrap());
        for n_steps in 1..STEPS.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(DATABASE_FILE);
            migrate(&mut Connection::open(&path).unwrap(), &path, &STEPS[..n_steps]).unwrap();
            let connection = open(folder.path()).unwrap();
            assert_eq!(schema_of(&connection).unwrap(), SCHEMA);
            assert_eq!(tables(&connection), expected);
        }
    }

    #[test]
    fn a_failed_migration_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        let path = folder.path().join(DATABASE_FILE);
        let mut connection = Connection::open(&path).unwrap();
        let mut steps = STEPS.to_vec();
        steps.push("CREATE TABLE x (y INTEGER) STRICT; SELECT nonsense;");
        assert!(migrate(&mut connection, &path, &steps).is_err());
        assert_eq!(schema_of(&connection).unwrap(), SCHEMA);
        assert!(connection.execute("SELECT * FROM x", []).is_err());
    }
}
