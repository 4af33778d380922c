//! Statements that change rows of random values.

use std::fmt::Write as _;

use rand::Rng;
use rand::rngs::StdRng;

/// Rows of random values, and as many updates.
const RANDOM_ROWS: u32 = 60;

/// A table of all types, random rows, random updates of them under each row image, and deletes.
pub fn random_statements(rng: &mut StdRng) -> String {
    let mut sql = String::from(
        "SET time_zone='+00:00';\nCREATE TABLE r(id INT PRIMARY KEY, t TINYINT, s SMALLINT UNSIGNED, \
         m MEDIUMINT, i INT UNSIGNED, b BIGINT, f FLOAT, d DOUBLE, n DECIMAL(65,30), \
         n2 DECIMAL(19,7), bi BIT(37), da DATE, ti TIME(4), dt DATETIME(5), ts TIMESTAMP(6) NULL, \
         y YEAR, c CHAR(30) CHARACTER SET utf8mb4, bn BINARY(9), v VARCHAR(300) CHARACTER SET \
         latin1, vb VARBINARY(90), bl BLOB, e ENUM('a','b','c'), se SET('x','y','z'), tx TEXT \
         CHARACTER SET utf8mb4);\n",
    );
    for id in 0..RANDOM_ROWS {
        let values = random_values(rng);
        let list: Vec<_> = values.iter().map(|(_, value)| value.as_str()).collect();
        writeln!(sql, "INSERT INTO r VALUES ({id},{});", list.join(",")).unwrap();
    }
    for _ in 0..RANDOM_ROWS {
        let image = ["FULL", "MINIMAL", "NOBLOB"][rng.random_range(0..3)];
        let values = random_values(rng);
        let mut changes = Vec::new();
        for _ in 0..rng.random_range(1..5) {
            let (name, value) = &values[rng.random_range(0..values.len())];
            changes.push(format!("{name}={value}"));
        }
        let id = rng.random_range(0..RANDOM_ROWS);
        let changes = changes.join(",");
        writeln!(
            sql,
            "SET binlog_row_image={image}; UPDATE r SET {changes} WHERE id={id};"
        )
        .unwrap();
    }
    sql.push_str("DELETE FROM r WHERE id%2=0; SET binlog_row_image=FULL; DELETE FROM r;\n");
    sql
}

/// A value for each column; now and then NULL.
fn random_values(rng: &mut StdRng) -> Vec<(&'static str, String)> {
    let mut values = numbers(rng);
    values.extend(times(rng));
    values.extend(texts(rng));
    for (_, value) in &mut values {
        if rng.random_ratio(1, 8) {
            *value = "NULL".to_owned();
        }
    }
    values
}

fn digits(rng: &mut StdRng, max: usize) -> String {
    let len = rng.random_range(1..=max);
    (0..len).fold(String::new(), |text, _| {
        format!("{text}{}", rng.random_range(0..10))
    })
}

fn sign(rng: &mut StdRng) -> &'static str {
    if rng.random() { "-" } else { "" }
}

fn numbers(rng: &mut StdRng) -> Vec<(&'static str, String)> {
    let sign = sign(rng);
    let double = loop {
        let double = f64::from_bits(rng.random());
        // Servers before MySQL 8 read the smallest ones as 0, and say so with an error.
        if double.is_normal() {
            break double;
        }
    };
    let float = f32::from_bits(rng.random_range(0x0080_0000..0x7f7f_0000));
    let long = format!("{sign}{}.{}", digits(rng, 35), digits(rng, 30));
    let short = format!("{sign}{}.{}", digits(rng, 12), digits(rng, 7));
    vec![
        ("t", rng.random::<i8>().to_string()),
        ("s", rng.random::<u16>().to_string()),
        ("m", rng.random_range(-8_388_608..8_388_608).to_string()),
        ("i", rng.random::<u32>().to_string()),
        ("b", rng.random::<i64>().to_string()),
        ("f", format!("{float:e}")),
        ("d", format!("{double:e}")),
        ("n", long),
        ("n2", short),
        ("bi", rng.random_range(0..1_u64 << 37).to_string()),
    ]
}

fn times(rng: &mut StdRng) -> Vec<(&'static str, String)> {
    let date = format!(
        "{:04}-{:02}-{:02}",
        rng.random_range(1000..10_000),
        rng.random_range(1..13),
        rng.random_range(1..29)
    );
    let (minute, second) = (rng.random_range(0..60), rng.random_range(0..60));
    let rest = format!("{minute}:{second}.{:06}", rng.random_range(0..1_000_000));
    let (sign, hours, hour) = (sign(rng), rng.random_range(0..838), rng.random_range(0..24));
    let since = rng.random_range(1..i32::MAX);
    vec![
        ("da", format!("'{date}'")),
        ("ti", format!("'{sign}{hours}:{rest}'")),
        ("dt", format!("'{date} {hour}:{rest}'")),
        (
            "ts",
            format!("FROM_UNIXTIME({since}.{:06})", since % 999_983),
        ),
        ("y", rng.random_range(1901..2156).to_string()),
    ]
}

fn texts(rng: &mut StdRng) -> Vec<(&'static str, String)> {
    let hex = |rng: &mut StdRng, max: usize| {
        let len = rng.random_range(0..=max);
        (0..len).fold("x'".to_owned(), |text, _| {
            format!("{text}{:02x}", rng.random::<u8>())
        }) + "'"
    };
    let letters = [
        "a", "é", "€", "😀", "'", "\\", "\"", "\n", "\t", "\u{1}", "\u{7f}",
    ];
    let text: String = (0..rng.random_range(0..25))
        .map(|_| letters[rng.random_range(0..letters.len())])
        .collect();
    let text = format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    let one_of = ["a", "b", "c"][rng.random_range(0..3)];
    vec![
        ("c", text.clone()),
        ("bn", hex(rng, 9)),
        ("v", hex(rng, 300)),
        ("vb", hex(rng, 90)),
        ("bl", hex(rng, 700)),
        ("e", format!("'{one_of}'")),
        ("se", rng.random_range(0..8).to_string()),
        ("tx", text),
    ]
}
