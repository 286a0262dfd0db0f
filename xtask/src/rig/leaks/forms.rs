//! The ways in which a secret could be written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use cns_secret::Secret;

use crate::Result;

/// The secret in each form, with the form's name. Each is so long that none is found by chance. What stands padded with
/// other bytes holds the form without padding.
pub(super) fn of(text: &Secret) -> Result<Vec<(&'static str, Secret)>> {
    let digits = text.expose();
    let mut forms: Vec<(&'static str, Secret)> = Vec::new();
    let mut add = |name, bytes: &[u8]| -> Result<()> {
        if !forms.iter().any(|(_, known)| known.expose() == bytes) {
            forms.push((name, Secret::copy_from(bytes)?));
        }
        Ok(())
    };
    add("text", digits)?;
    add("text, reversed", &reversed(digits))?;
    add("hexadecimal", joined(digits, "", |byte| format!("{byte:02x}")).as_bytes())?;
    add("hexadecimal", joined(digits, "", |byte| format!("{byte:02X}")).as_bytes())?;
    for between in [" ", ":", ", 0x"] {
        add("hexadecimal dump", joined(digits, between, |byte| format!("{byte:02x}")).as_bytes())?;
        add("hexadecimal dump", joined(digits, between, |byte| format!("{byte:02X}")).as_bytes())?;
    }
    // As Rust prints a list of bytes, and as JSON has it.
    add("list of bytes", joined(digits, ", ", |byte| byte.to_string()).as_bytes())?;
    add("list of bytes", joined(digits, ",", |byte| byte.to_string()).as_bytes())?;
    add("escaped", joined(digits, "", |byte| format!("\\x{byte:02x}")).as_bytes())?;
    add("escaped", joined(digits, "", |byte| format!("\\u00{byte:02x}")).as_bytes())?;
    add("escaped", joined(digits, "", |byte| format!("%{byte:02X}")).as_bytes())?;
    // Little-endian without its last zero, which is what big-endian holds too.
    let wide: Vec<_> = digits.iter().flat_map(|byte| [*byte, 0]).collect();
    add("UTF-16", wide.get(..wide.len().saturating_sub(1)).unwrap_or_default())?;
    for before in 0..3 {
        add("Base64", &in_base64(digits, before))?;
    }
    if digits.iter().all(u8::is_ascii_digit) {
        for (name, bytes) in packed_forms(digits) {
            add(name, &bytes)?;
        }
    }
    Ok(forms)
}

/// Two digits a byte, with what fills eight bytes before or after them, in either order.
fn packed_forms(digits: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let plain = packed(digits);
    let swapped: Vec<_> = plain.iter().map(|byte| byte.rotate_right(4)).collect();
    let length = u8::try_from(digits.len()).unwrap_or_default();
    let mut forms = Vec::new();
    for bytes in [plain.clone(), swapped] {
        for filler in [0xFF, 0x00] {
            forms.push(("BCD", after(&bytes, filler)));
            forms.push(("BCD", reversed(&after(&bytes, filler))));
            // Fillers before it, as a number of eight bytes has them.
            forms.push(("BCD", before(&bytes, filler)));
            forms.push(("BCD", reversed(&before(&bytes, filler))));
        }
    }
    // ISO 9564-1, format 2: how PIN pads write a PIN to a chip.
    let block = after(&[&[0x20 | length], &plain[..]].concat(), 0xFF);
    forms.push(("PIN block", reversed(&block)));
    forms.push(("PIN block", block));
    forms
}

fn joined(bytes: &[u8], between: &str, write: impl Fn(&u8) -> String) -> String {
    bytes.iter().map(write).collect::<Vec<_>>().join(between)
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// The characters that stand for the secret alone, in the Base64 of something that has it after `before` bytes.
fn in_base64(bytes: &[u8], before: usize) -> Vec<u8> {
    let all = [&vec![0; before], bytes].concat();
    let text = STANDARD_NO_PAD.encode(&all);
    let mixed_before = (before * 8).div_ceil(6);
    let whole = all.len() * 8 / 6;
    text.as_bytes().get(mixed_before..whole).unwrap_or_default().to_vec()
}

/// Eight bytes, as PINs are presented to a chip.
fn after(bytes: &[u8], filler: u8) -> Vec<u8> {
    bytes.iter().copied().chain([filler; 8]).take(bytes.len().max(8)).collect()
}

fn before(bytes: &[u8], filler: u8) -> Vec<u8> {
    let fillers = vec![filler; 8_usize.saturating_sub(bytes.len())];
    [fillers.as_slice(), bytes].concat()
}

/// Two digits a byte; the last one is padded with F.
fn packed(digits: &[u8]) -> Vec<u8> {
    let half = |digit: Option<&u8>| digit.map_or(0x0F, |digit| digit & 0x0F);
    digits.chunks(2).map(|pair| half(pair.first()) << 4 | half(pair.get(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_long_enough_and_is_what_others_write() {
        let secret = Secret::copy_from(b"12345678").unwrap();
        let forms = of(&secret).unwrap();
        assert!(forms.iter().all(|(_, bytes)| bytes.len() >= 8));
        let has = |bytes: &[u8]| forms.iter().any(|(_, form)| form.expose() == bytes);
        assert!(has(b"3132333435363738") && has(b"31 32 33 34 35 36 37 38"));
        assert!(has(b"1\x002\x003\x004\x005\x006\x007\x008") && has(b"87654321"));
        assert!(has(b"49, 50, 51, 52, 53, 54, 55, 56") && has(b"%31%32%33%34%35%36%37%38"));
        assert!(has(b"\\x31\\x32\\x33\\x34\\x35\\x36\\x37\\x38"));
        for block in [
            [0x12, 0x34, 0x56, 0x78, 0xFF, 0xFF, 0xFF, 0xFF],
            [0x21, 0x43, 0x65, 0x87, 0xFF, 0xFF, 0xFF, 0xFF],
            [0x00, 0x00, 0x00, 0x00, 0x12, 0x34, 0x56, 0x78],
            [0x78, 0x56, 0x34, 0x12, 0x00, 0x00, 0x00, 0x00],
            [0x28, 0x12, 0x34, 0x56, 0x78, 0xFF, 0xFF, 0xFF],
        ] {
            assert!(has(&block), "{block:?}");
        }
        for before in ["", "x", "xy", "xyz", "pin="] {
            for after in ["", "y", "yz"] {
                let text = STANDARD_NO_PAD.encode(format!("{before}12345678{after}"));
                let found = forms.iter().filter(|(name, _)| *name == "Base64").any(|(_, form)| {
                    text.as_bytes().windows(form.len()).any(|window| window == form.expose())
                });
                assert!(found, "{text}");
            }
        }
    }

    #[test]
    fn hexadecimal_of_letters_is_looked_for_in_either_case() {
        let forms = of(&Secret::copy_from(b"KLMNopqr").unwrap()).unwrap();
        let has = |bytes: &[u8]| forms.iter().any(|(_, form)| form.expose() == bytes);
        assert!(has(b"4b4c4d4e6f707172") && has(b"4B4C4D4E6F707172"));
        assert!(forms.iter().all(|(name, _)| *name != "BCD"));
    }
}
