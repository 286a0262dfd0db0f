//! `docs/card-generations.md` lists exactly the generations of the code.

use std::fs;
use std::path::Path;

use cns_virtual_card::Generation;

fn row(generation: Generation) -> String {
    let second = match (generation.takes_signature_key(), generation.has_signature_pin()) {
        (true, true) => "PIN of its own",
        (true, false) => "yes",
        (false, _) => "",
    };
    let bits = if generation.is_cns() { generation.key_bits().to_string() } else { String::new() };
    format!(
        "| `{}` | {} | {} | {bits} | {second} | {} |",
        generation.name(),
        generation.cards(),
        generation.grade(),
        generation.evidence(),
    )
    .replace("|  |", "| |")
}

#[test]
fn the_table_lists_exactly_the_generations() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/card-generations.md");
    let text = fs::read_to_string(path).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| name | real cards ")).skip(2);
    let listed: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
    let expected: Vec<_> = Generation::all().map(row).collect();
    assert_eq!(listed, expected, "\n{}\n", expected.join("\n"));
}
