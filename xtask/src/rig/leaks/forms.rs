//! The ways in which a secret could be written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use cns_secret::Secret;

use crate::Result;

/// The secret in each form, with the form's name. Each is eight bytes at least, so that none is found by chance. What
/// stands padded with other bytes holds the form without padding.
pub(super) fn of(text: &Secret) -> Result<Vec<(&'static str, Secret)>> {
    let digits = text.expose();
    let mut forms = Vec::new();
    let mut add = |name, bytes: &[u8]| -> Result<()> {
        forms.push((name, Secret::copy_from(bytes)?));
        Ok(())
    };
    add("text", digits)?;
    add("hexadecimal", hexadecimal(digits, false).as_bytes())?;
    add("hexadecimal", hexadecimal(digits, true).as_bytes())?;
    add("UTF-16", &digits.iter().flat_map(|byte| [*byte, 0]).collect::<Vec<_>>())?;
    for before in 0..3 {
        add("Base64", &in_base64(digits, before))?;
    }
    if digits.iter().all(u8::is_ascii_digit) {
        let packed = packed(digits);
        add("BCD", &filled(&packed))?;
        let length = u8::try_from(digits.len()).unwrap_or_default();
        // ISO 9564-1, format 2: how PIN pads write a PIN.
        add("PIN block", &filled(&[&[0x20 | length], &packed[..]].concat()))?;
    }
    Ok(forms)
}

fn hexadecimal(bytes: &[u8], upper: bool) -> String {
    bytes.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect()
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
fn filled(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().chain([0xFF; 8]).take(bytes.len().max(8)).collect()
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
        assert_eq!(forms.len(), 9);
        assert!(forms.iter().all(|(_, bytes)| bytes.len() >= 8));
        let has = |bytes: &[u8]| forms.iter().any(|(_, form)| form.expose() == bytes);
        assert!(has(b"3132333435363738") && has(b"1\x002\x003\x004\x005\x006\x007\x008\x00"));
        assert!(has(&[0x12, 0x34, 0x56, 0x78, 0xFF, 0xFF, 0xFF, 0xFF]));
        assert!(has(&[0x28, 0x12, 0x34, 0x56, 0x78, 0xFF, 0xFF, 0xFF]));
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
}
