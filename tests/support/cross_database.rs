//! Random statements across several databases, to compare the effects of filters.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::servers::Kind;

/// The tables that every database has at first.
pub const TABLES: &[&str] = &["t1", "t2", "u1", "n_x"];
/// Tables that are created and dropped.
const MORE_TABLES: &[&str] = &["n1", "n2", "nx", "v1"];

/// Writes statements, one client's session after the other.
pub struct Workload {
    pub rng: StdRng,
    pub kind: Kind,
    pub databases: Vec<String>,
    /// A file for LOAD DATA, with lines of two numbers.
    pub file: String,
    /// The session's default database.
    default: Option<String>,
    next_value: u32,
}

impl Workload {
    pub fn new(rng: StdRng, kind: Kind, databases: Vec<String>, file: String) -> Workload {
        Workload {
            rng,
            kind,
            databases,
            file,
            default: None,
            next_value: 1,
        }
    }

    /// The databases and tables that exist before anything is replicated.
    pub fn preparation(&self) -> Vec<String> {
        let mut statements = Vec::new();
        for database in &self.databases {
            statements.push(format!("CREATE DATABASE {database}"));
            for table in TABLES {
                statements.push(format!(
                    "CREATE TABLE {database}.{table} (id INT PRIMARY KEY AUTO_INCREMENT, v INT, \
                     s VARCHAR(40)) ENGINE=InnoDB"
                ));
                let rows: Vec<String> = (1..=6).map(|n| format!("({n}, {n}, 'row')")).collect();
                statements.push(format!(
                    "INSERT INTO {database}.{table} (id, v, s) VALUES {}",
                    rows.join(", ")
                ));
            }
        }
        statements
    }

    /// The next few statements; some fail on the master, which does no harm.
    pub fn statements(&mut self) -> Vec<String> {
        match self.rng.random_range(0..10) {
            0 => vec![self.use_database()],
            1 => vec![self.set_format()],
            2..=5 => vec![self.change()],
            6 => self.transaction(),
            _ => vec![self.definition()],
        }
    }

    fn use_database(&mut self) -> String {
        let database = self.database();
        self.default = Some(database.clone());
        format!("USE {database}")
    }

    fn set_format(&mut self) -> String {
        let format = ["ROW", "STATEMENT", "STATEMENT", "MIXED"].choose(&mut self.rng);
        format!("SET SESSION binlog_format = {}", format.expect("one"))
    }

    fn transaction(&mut self) -> Vec<String> {
        let mut statements = vec!["BEGIN".to_owned()];
        for number in 0..self.rng.random_range(1..5) {
            if self.rng.random_bool(0.2) {
                statements.push(format!("SAVEPOINT s{number}"));
                statements.push(self.change());
                statements.push(format!("ROLLBACK TO s{number}"));
            }
            if self.rng.random_bool(0.2) {
                statements.push(self.use_database());
            }
            statements.push(self.change());
        }
        let end = if self.rng.random_bool(0.85) {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        statements.push(end.to_owned());
        statements
    }

    fn database(&mut self) -> String {
        self.databases.choose(&mut self.rng).expect("some").clone()
    }

    /// A table, with or without its database.
    fn table(&mut self) -> String {
        let list = if self.rng.random_bool(0.85) {
            TABLES
        } else {
            MORE_TABLES
        };
        let table = *list.choose(&mut self.rng).expect("some");
        self.qualified(table)
    }

    fn new_table(&mut self) -> String {
        let table = *MORE_TABLES.choose(&mut self.rng).expect("some");
        self.qualified(table)
    }

    fn qualified(&mut self, table: &str) -> String {
        let quoted = match self.rng.random_bool(0.3) {
            true => format!("`{table}`"),
            false => table.to_owned(),
        };
        if self.default.is_some() && self.rng.random_bool(0.5) {
            return quoted;
        }
        let dot = if self.rng.random_bool(0.1) {
            " . "
        } else {
            "."
        };
        format!("{}{dot}{quoted}", self.database())
    }

    fn value(&mut self) -> u32 {
        self.next_value += 1;
        self.next_value
    }

    /// A statement that changes rows.
    fn change(&mut self) -> String {
        let (t, u, w) = (self.table(), self.table(), self.table());
        let (n, m) = (self.value(), self.rng.random_range(1..9));
        match self.rng.random_range(0..24) {
            0..=3 => format!("INSERT INTO {t} (v, s) VALUES ({n}, 'it''s \\' {u} -- /*')"),
            4 => format!("INSERT {t} SET v = {n}, s = (SELECT MAX(s) FROM {u})"),
            5 => format!("INSERT IGNORE INTO {t} (id, v) SELECT id + {m}, v FROM {u} ORDER BY id"),
            6 => format!("REPLACE INTO {t} (id, v, s) VALUES ({m}, {n}, 'r')"),
            7 => {
                format!("INSERT INTO {t} (id, v) VALUES ({m}, {n}) ON DUPLICATE KEY UPDATE v = {n}")
            }
            8..=9 => format!("UPDATE {t} SET v = {n} WHERE id = {m}"),
            10 => format!(
                "/* {u} */ UPDATE {t} AS x SET s = 'FROM {w}' WHERE x.v IN (SELECT v FROM {u}) -- {w}"
            ),
            11..=12 => {
                format!("UPDATE {t} a, {u} b SET a.v = {n} WHERE a.id = b.id AND a.id < {m}")
            }
            13 => format!(
                "UPDATE {t} a JOIN {u} AS b ON (a.id = b.id) SET b.v = {n}, b.s = 'SET' WHERE a.id > {m}"
            ),
            14 => format!(
                "UPDATE {t} a LEFT JOIN ({u} b INNER JOIN {w} c USING (id)) ON a.id = b.id \
                           SET a.v = {n}, c.v = {n} WHERE LEFT(a.s, 1) <> 'z'"
            ),
            15 => format!("DELETE FROM {t} WHERE id = {m}"),
            16 => format!("DELETE a FROM {t} a JOIN {u} b ON a.id = b.id WHERE b.v = {m}"),
            17 => format!(
                "DELETE a, c FROM {t} AS a, {u} b, {w} c WHERE a.id = b.id AND b.id = c.id AND a.id = {m}"
            ),
            18 => format!(
                "DELETE FROM b USING {t} a INNER JOIN {u} b WHERE a.id = b.id AND b.v = {m}"
            ),
            19 => format!(
                "DELETE {t}.* FROM {t} LEFT JOIN {u} AS zz ON {t}.id = zz.id WHERE zz.v = {m}"
            ),
            20 => format!(
                "LOAD DATA INFILE '{}' REPLACE INTO TABLE {t} FIELDS TERMINATED BY ',' (id, v)",
                self.file
            ),
            21 => format!(
                "INSERT INTO {t} (v, s) SELECT RAND() * 100, CONCAT('x', @x) FROM {u} WHERE id = 1"
            ),
            22 => {
                format!("INSERT INTO {t} (v, s) VALUES (LAST_INSERT_ID(), 'l'), (@x := {n}, 'm')")
            }
            _ if self.kind == Kind::MariaDb => {
                format!(
                    "SET STATEMENT max_statement_time = 60 FOR INSERT INTO {t} (v) VALUES ({n})"
                )
            }
            _ => format!("WITH c AS (SELECT id FROM {u}) DELETE FROM {t} WHERE id = {m}"),
        }
    }

    /// A statement about tables, views, triggers, routines, databases or accounts.
    fn definition(&mut self) -> String {
        let (t, u) = (self.table(), self.table());
        let (x, y) = (self.new_table(), self.new_table());
        let n = self.value();
        let database = self.database();
        match self.rng.random_range(0..36) {
            0..=3 => format!(
                "CREATE TABLE IF NOT EXISTS {x} (id INT PRIMARY KEY AUTO_INCREMENT, v INT, s VARCHAR(40))"
            ),
            4 => format!("CREATE TABLE {x} LIKE {t}"),
            5 => format!("CREATE TABLE {x} (PRIMARY KEY (id)) SELECT id, v, s FROM {t}"),
            6..=7 => format!("DROP TABLE IF EXISTS {x}, {y}"),
            8 => format!("DROP TABLE {x}"),
            9 => format!("DROP TABLE {x}, {y}"),
            10..=11 => format!("ALTER TABLE {t} ADD COLUMN c{n} INT DEFAULT 7"),
            12 => format!("ALTER TABLE {x} RENAME TO {y}"),
            13 => format!("RENAME TABLE {x} TO {y}"),
            14 => format!(
                "RENAME TABLE {x} TO {y}, {t} TO {database}.was_{n}, {database}.was_{n} TO {t}"
            ),
            15 => format!("TRUNCATE TABLE {t}"),
            16 => format!("TRUNCATE {x}"),
            17 => format!("CREATE INDEX i{n} ON {t} (v)"),
            18 => format!("DROP INDEX i{} ON {t}", n.saturating_sub(3)),
            19..=20 => format!(
                "CREATE OR REPLACE VIEW {database}.w1 AS SELECT a.id FROM {t} a JOIN {u} b USING (id)"
            ),
            21 => format!("DROP VIEW IF EXISTS {database}.w1"),
            22..=23 => format!(
                "CREATE TRIGGER {database}.g{n} BEFORE INSERT ON {database}.t1 FOR EACH ROW \
                 INSERT INTO {u} (v, s) VALUES (NEW.v, 'trigger')"
            ),
            24 => format!("DROP TRIGGER IF EXISTS {database}.g{}", n.saturating_sub(5)),
            25 => format!("CREATE PROCEDURE {database}.p{n}() INSERT INTO {t} (v) VALUES ({n})"),
            26 => format!(
                "CREATE FUNCTION {database}.f1(a INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA \
                           BEGIN INSERT INTO t2 (v, s) VALUES (a, 'function'); RETURN a; END"
            ),
            27 => format!("SELECT {database}.f1({n})"),
            28 => format!("CALL {database}.p{}()", n.saturating_sub(4)),
            29 => format!("CREATE DATABASE IF NOT EXISTS {database}"),
            30 => format!("ALTER DATABASE {database} CHARACTER SET latin1"),
            31 => match self.rng.random_range(0..3) {
                0 => format!("DROP DATABASE {database}"),
                _ => format!("CREATE SCHEMA {database}"),
            },
            32 => format!("CREATE USER {database}_u"),
            33 => format!("GRANT SELECT, UPDATE (v) ON {database}.t1 TO {database}_u"),
            34 => format!("OPTIMIZE TABLE {t}, {u}"),
            _ => match self.rng.random_range(0..3) {
                0 => format!("DROP USER IF EXISTS {database}_u"),
                1 => format!("GRANT SELECT ON {database}.* TO {database}_u"),
                _ => format!("FLUSH TABLES {t}, {u}"),
            },
        }
    }
}
