//! What looking up costs as custody grows: a PUK lent, an envelope reserved and given back, at 10,000, 100,000 and
//! 1,000,000 cards and as many envelopes, on either database. `cargo xtask bench custody`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a measurement fails by panicking"
)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cns_secret::Secret;
use cnsd::config::CustodyConfig;
use cnsd::custody::{Custody, PukKind, RecordName};
use cnsd::database::{Database, now};

use cnsd_test_support::postgresql::Server;

const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
/// Looked up at each size.
const LOOKS: u64 = 1000;
/// Rows of a statement.
const ROWS: u64 = 1000;
/// A look-up among a hundred times as many rows may cost this many times as much, and is called flat.
const FLAT: u32 = 3;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{:<12}{:>10}{:>22}{:>34}", "database", "rows", "PUK lent", "envelope reserved, given back");
    println!("{:<12}{:>10}{:>12}{:>10}{:>17}{:>17}", "", "each", "median", "99 %", "median", "99 %");
    let server = Server::start();
    server.create("bench", None);
    let flat = [
        runtime.block_on(measure("SQLite", "sqlite:custody.db")),
        runtime.block_on(measure("PostgreSQL", &server.address("bench"))),
    ];
    assert!(flat.iter().all(|flat| *flat), "a look-up grows with the number of rows");
}

/// Whether the medians stay flat.
async fn measure(kind: &str, url: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(url, folder.path()).await.unwrap();
    let custody = Custody::open(&database, &CustodyConfig::default(), folder.path()).await.unwrap();
    let (mut filled, mut medians) = (0, Vec::new());
    for size in SIZES {
        fill(&database, &custody, filled..size).await;
        filled = size;
        let mut puks = Vec::new();
        let mut envelopes = Vec::new();
        for look in 0..LOOKS {
            // Spread over all rows, in no order: a prime is no divisor of a power of ten.
            let number = look * 7_919_993 % size;
            puks.push(puk(&custody, number).await);
            envelopes.push(envelope(&custody, number).await);
        }
        let (puks, envelopes) = (sorted(puks), sorted(envelopes));
        println!(
            "{kind:<12}{size:>10}{:>9} µs{:>7} µs{:>14} µs{:>14} µs",
            at(&puks, 50).as_micros(),
            at(&puks, 99).as_micros(),
            at(&envelopes, 50).as_micros(),
            at(&envelopes, 99).as_micros()
        );
        medians.push((at(&puks, 50), at(&envelopes, 50)));
    }
    database.close().await;
    let (first, last) = (medians[0], medians[SIZES.len() - 1]);
    last.0 < first.0 * FLAT && last.1 < first.1 * FLAT
}

async fn puk(custody: &Custody, number: u64) -> Duration {
    let serial = serial(number);
    let begun = Instant::now();
    let lent = custody.puk(&serial, PukKind::Cns).await.unwrap();
    let took = begun.elapsed();
    assert_eq!(lent.lend(|puk| puk.expose().to_vec()), b"24681357");
    took
}

async fn envelope(custody: &Custody, number: u64) -> Duration {
    let code = code(number);
    let begun = Instant::now();
    custody.reserve(&code, "op1", "p1", "6999000000001230").await.unwrap();
    custody.release(&code, "p1").await.unwrap();
    begun.elapsed()
}

/// Fills tables as an import does, many rows at a time.
async fn fill(database: &Database, custody: &Custody, numbers: std::ops::Range<u64>) {
    let numbers: Vec<u64> = numbers.collect();
    let (puk, pin) = (Secret::copy_from(b"24681357").unwrap(), Secret::copy_from(b"13579").unwrap());
    for numbers in numbers.chunks(usize::try_from(ROWS).unwrap()) {
        let mut transaction = database.pool().begin().await.unwrap();
        let cards = places("INSERT INTO card (serial, codice_fiscale, created_at) VALUES ", numbers.len(), 3);
        let mut query = sqlx::query(&cards);
        for number in numbers {
            query = query.bind(serial(*number)).bind("RSSMRA80A01H501U").bind(now());
        }
        query.execute(&mut *transaction).await.unwrap();
        let puks = places("INSERT INTO puk (serial, kind, sealed, created_at) VALUES ", numbers.len(), 4);
        let mut query = sqlx::query(&puks);
        for number in numbers {
            let key = format!("{}/cns", serial(*number));
            let name = RecordName { table: "puk", column: "sealed", key: &key };
            let sealed = custody.sealer().seal(name, &puk).unwrap();
            query = query.bind(serial(*number)).bind("cns").bind(sealed).bind(now());
        }
        query.execute(&mut *transaction).await.unwrap();
        let envelopes = places(
            "INSERT INTO envelope (code, state, sealed_pin, user_code_salt, user_code_verifier, created_at, \
             operator_id) VALUES ",
            numbers.len(),
            7,
        );
        let mut query = sqlx::query(&envelopes);
        for number in numbers {
            let code = code(*number);
            let name = RecordName { table: "envelope", column: "sealed_pin", key: &code };
            let sealed = custody.sealer().seal(name, &pin).unwrap();
            query = query.bind(code).bind("assigned").bind(sealed);
            query = query.bind(vec![7; 16]).bind(vec![9; 32]).bind(now()).bind("op1");
        }
        query.execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

/// `INSERT … VALUES ($1, $2), ($3, $4)…`
fn places(start: &str, rows: usize, columns: usize) -> String {
    let mut text = start.to_owned();
    for row in 0..rows {
        text += if row == 0 { "(" } else { ", (" };
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            write!(text, "{comma}${}", row * columns + column + 1).unwrap();
        }
        text += ")";
    }
    text
}

fn serial(number: u64) -> String {
    format!("{:016}", 6_999_000_000_000_000 + number)
}

/// Codes in a row with their check digits (ISO/IEC 7064, MOD 97-10).
fn code(number: u64) -> String {
    let number = 50_000_000 + number;
    format!("{number}{:02}", 98 - number * 100 % 97)
}

fn sorted(mut times: Vec<Duration>) -> Vec<Duration> {
    times.sort();
    times
}

fn at(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}
