//! The table of generations holds together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may

use cns_apdu::file_map::PRIVATE_OBJECTS_DF;
use cns_apdu::generation::{FOREIGN, Generation, Probe, TABLE, rank};
use cns_apdu::transmit::Limits;

/// How many files and applications a probe looks at.
fn size(probe: &Probe) -> u32 {
    match probe {
        Probe::Files { first, last, .. } => u32::from(last.0 - first.0) + 1,
        Probe::File(_) | Probe::Store | Probe::Application(_) => 1,
    }
}

#[test]
fn each_generation_is_found_by_its_name() {
    for generation in TABLE {
        assert_eq!(
            TABLE.iter().filter(|other| other.name == generation.name).count(),
            1,
            "{}",
            generation.name
        );
        assert_eq!(Generation::named(generation.name).unwrap().name, generation.name);
    }
    assert!(Generation::named("no such generation").is_none());
}

#[test]
fn what_is_looked_for_is_bounded_and_leaves_the_cns_last() {
    for generation in TABLE {
        assert!(generation.survey.iter().map(size).sum::<u32>() <= 16, "{}", generation.name);
        // Once another application is selected, the files of the CNS are out of reach.
        let leaves = |probe: &Probe| match probe {
            Probe::File(place) => place.application.is_some(),
            Probe::Files { application, .. } => application.is_some(),
            Probe::Application(_) => true,
            Probe::Store => false,
        };
        let first = generation.survey.iter().position(leaves).unwrap_or(generation.survey.len());
        assert!(generation.survey[first..].iter().all(leaves), "{}", generation.name);
    }
}

#[test]
fn places_and_limits_fit_each_other() {
    for generation in TABLE {
        let key = &generation.authentication;
        assert!(!generation.store || key.key_df == PRIVATE_OBJECTS_DF, "{}", generation.name);
        let makes_area = generation.no_signature_area.is_none();
        assert!(!makes_area || generation.reaches_area_codes(), "{}", generation.name);
        let bits = generation.signature.as_ref().map(|place| place.modulus_bits);
        assert!(!makes_area || bits == Some(2048), "{}", generation.name);
        // A block of 257 bytes takes extended length or a chain.
        let limits = generation.limits;
        assert!(key.modulus_bits < 2048 || limits.chaining || limits.max_send > Limits::SHORT.max_send);
        assert!((1..=256).contains(&generation.challenge_length), "{}", generation.name);
        let applications = [generation.serial.file.application, key.application, key.certificate.application];
        assert!(applications.into_iter().flatten().all(|name| (5..=16).contains(&name.len())));
    }
    for foreign in FOREIGN {
        assert!((5..=16).contains(&foreign.application.len()) && foreign.words.starts_with("this is "));
        let is_used =
            |generation: &&&Generation| generation.authentication.application == Some(foreign.application);
        assert!(TABLE.iter().find(is_used).is_none(), "{}", foreign.words);
    }
}

#[test]
fn no_answer_to_reset_rules_a_generation_out() {
    for atr in [&[][..], &[0x3B, 0x00], &[0xFF; 40]] {
        assert_eq!(rank(atr).len(), TABLE.len());
    }
}
