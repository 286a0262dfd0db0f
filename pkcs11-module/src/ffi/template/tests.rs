#![allow(clippy::multiple_unsafe_ops_per_block, reason = "short tests")]

use std::ffi::c_void;
use std::ptr;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_MECHANISM, CK_RSA_PKCS_OAEP_PARAMS, CK_ULONG, CKG_MGF1_SHA1, CKM_RSA_PKCS_OAEP,
    CKM_RSA_PKCS_PSS, CKM_SHA256, CKZ_DATA_SPECIFIED,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Blanks, Mechanism, Template, UNAVAILABLE};
use crate::error::Error;

/// What the tests' only object answers: type 0..=3 has as many bytes as its number says, 4 is secret.
fn value_of(kind: CK_ULONG) -> Result<&'static [u8], Error> {
    match kind {
        0..=3 => Ok(&b"xyz"[..usize::try_from(kind).unwrap()]),
        4 => Err(Error::AttributeSensitive),
        _ => Err(Error::AttributeTypeInvalid),
    }
}

/// One attribute as an application asks for it: a type, and a buffer unless only the length is asked.
#[derive(Clone, Debug)]
struct Question {
    kind: CK_ULONG,
    buffer: Option<Vec<u8>>,
}

fn questions() -> impl Strategy<Value = Vec<Question>> {
    let buffer = proptest::option::of((0..5_usize).prop_map(|length| vec![0xEE; length]));
    vec((0..6 as CK_ULONG, buffer).prop_map(|(kind, buffer)| Question { kind, buffer }), 0..8)
}

fn ask(questions: &mut [Question]) -> (Result<(), Error>, Vec<CK_ULONG>) {
    let mut table: Vec<CK_ATTRIBUTE> = questions
        .iter_mut()
        .map(|question| {
            let (value, length) = match &mut question.buffer {
                Some(buffer) => (buffer.as_mut_ptr().cast::<c_void>(), buffer.len()),
                None => (ptr::null_mut(), 77),
            };
            CK_ATTRIBUTE {
                type_: question.kind,
                pValue: value,
                ulValueLen: CK_ULONG::try_from(length).unwrap(),
            }
        })
        .collect();
    let count = CK_ULONG::try_from(table.len()).unwrap();
    // SAFETY: table and buffers live longer than the value.
    let mut blanks = unsafe { Blanks::new(table.as_mut_ptr(), count) }.unwrap();
    let outcome = blanks.fill(value_of);
    (outcome, table.iter().map(|attribute| attribute.ulValueLen).collect())
}

/// Fewer cases under Miri, which is slow and keeps no files of failures.
fn settings() -> ProptestConfig {
    if cfg!(miri) {
        ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() }
    } else {
        ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(settings())]

    /// PKCS#11 v2.40 §5.7 `C_GetAttributeValue`, cases 1 to 5, for any template.
    #[test]
    fn every_blank_is_answered_by_the_rules(asked in questions()) {
        let mut questions = asked.clone();
        let (outcome, lengths) = ask(&mut questions);
        let mut first_error = Ok(());
        for ((before, after), length) in asked.iter().zip(&questions).zip(lengths) {
            let expected = value_of(before.kind).and_then(|value| match &before.buffer {
                Some(buffer) if buffer.len() < value.len() => Err(Error::BufferTooSmall),
                Some(_) | None => Ok(value),
            });
            let mut buffer = before.buffer.clone();
            match expected {
                Ok(value) => {
                    prop_assert_eq!(length, CK_ULONG::try_from(value.len()).unwrap());
                    if let Some(buffer) = &mut buffer {
                        buffer[..value.len()].copy_from_slice(value);
                    }
                }
                Err(error) => {
                    prop_assert_eq!(length, UNAVAILABLE);
                    first_error = first_error.and(Err(error));
                }
            }
            prop_assert_eq!(&after.buffer, &buffer);
        }
        prop_assert_eq!(outcome, first_error);
    }
}

#[test]
fn a_template_that_is_not_there_is_refused() {
    // SAFETY: null is refused before anything is read.
    let (template, blanks) = unsafe { (Template::new(ptr::null(), 1), Blanks::new(ptr::null_mut(), 1)) };
    assert_eq!((template.err(), blanks.err()), (Some(Error::ArgumentsBad), Some(Error::ArgumentsBad)));
    // SAFETY: there is nothing to read.
    let empty = unsafe { Template::new(ptr::null(), 0) }.unwrap();
    assert_eq!(empty.iter().count(), 0);
}

#[test]
fn a_value_that_is_not_there_is_refused() {
    let attribute = CK_ATTRIBUTE { type_: 3, pValue: ptr::null_mut(), ulValueLen: 4 };
    // SAFETY: the attribute lives longer than the value; its null value is refused.
    assert_eq!(unsafe { Template::new(&raw const attribute, 1) }.err(), Some(Error::ArgumentsBad));
}

#[test]
fn a_mechanism_is_read_with_its_parameter() {
    let mut parameter = *b"salt";
    let mechanism =
        CK_MECHANISM { mechanism: 13, pParameter: parameter.as_mut_ptr().cast(), ulParameterLen: 4 };
    // SAFETY: mechanism and parameter live longer than the value.
    let read = unsafe { Mechanism::new(&raw const mechanism) }.unwrap();
    assert_eq!((read.kind(), read.parameter()), (13, &b"salt"[..]));

    let without = CK_MECHANISM { mechanism: 13, pParameter: ptr::null_mut(), ulParameterLen: 4 };
    // SAFETY: null is refused before anything is read.
    let refused = unsafe { [Mechanism::new(&raw const without).err(), Mechanism::new(ptr::null()).err()] };
    assert_eq!(refused, [Some(Error::ArgumentsBad); 2]);
}

#[test]
fn an_oaep_parameter_is_read_where_it_can_be_one() {
    let label = b"a label";
    let mut parameter = CK_RSA_PKCS_OAEP_PARAMS {
        hashAlg: CKM_SHA256,
        mgf: CKG_MGF1_SHA1,
        source: CKZ_DATA_SPECIFIED,
        pSourceData: label.as_ptr().cast_mut().cast::<c_void>(),
        ulSourceDataLen: 7,
    };
    let read = |kind, parameter: *mut CK_RSA_PKCS_OAEP_PARAMS, length| {
        let mut mechanism =
            CK_MECHANISM { mechanism: kind, pParameter: parameter.cast::<c_void>(), ulParameterLen: length };
        // SAFETY: the parameter has as many bytes, and the label, where it is there, too.
        let mechanism = unsafe { Mechanism::new(&raw mut mechanism) }.unwrap();
        mechanism
            .oaep_parameter()
            .map(|given| (given.hash, given.mgf, given.source, given.label.items().to_vec()))
    };
    let length = CK_ULONG::try_from(size_of::<CK_RSA_PKCS_OAEP_PARAMS>()).unwrap();
    let expected = (CKM_SHA256, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, label.to_vec());
    assert_eq!(read(CKM_RSA_PKCS_OAEP, &raw mut parameter, length), Some(expected));
    assert_eq!(read(CKM_RSA_PKCS_OAEP, &raw mut parameter, length - 1), None);
    assert_eq!(read(CKM_RSA_PKCS_OAEP, ptr::null_mut(), 0), None);
    // Another mechanism's parameter of the same length has no pointer in it.
    assert_eq!(read(CKM_RSA_PKCS_PSS, &raw mut parameter, length), None);
    parameter.pSourceData = ptr::null_mut();
    assert_eq!(read(CKM_RSA_PKCS_OAEP, &raw mut parameter, length), None);
    parameter.ulSourceDataLen = CK_ULONG::MAX;
    assert_eq!(read(CKM_RSA_PKCS_OAEP, &raw mut parameter, length), None);
}
