//! Certificate revocation lists (RFC 5280 §5) as tables: read once from their bytes, entry by entry, and sorted, so that a
//! list of a million entries takes 28 bytes for each and is searched in microseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{BitStringRef, GeneralizedTime, OctetStringRef, UintRef, UtcTime};
use der::{AnyRef, Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{CrlReason, KeyUsages};

use crate::authority::checks::{CLOCK_SKEW, CheckError, Revocation, may_issue, verify_signature};

/// Serial numbers have at most 20 bytes (RFC 5280 §4.1.2.2).
const SERIAL: usize = 20;
const CRL_NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const DELTA_INDICATOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.27");

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    /// Big-endian, with zeros before it.
    serial: [u8; SERIAL],
    /// Seconds since 1970.
    since: u32,
    standing: Standing,
    /// The place of the reason in [`REASONS`], which takes less room than the reason.
    reason: Option<u8>,
}

const REASONS: [CrlReason; 10] = [
    CrlReason::Unspecified,
    CrlReason::KeyCompromise,
    CrlReason::CaCompromise,
    CrlReason::AffiliationChanged,
    CrlReason::Superseded,
    CrlReason::CessationOfOperation,
    CrlReason::CertificateHold,
    CrlReason::RemoveFromCRL,
    CrlReason::PrivilegeWithdrawn,
    CrlReason::AaCompromise,
];

/// From the lightest to the heaviest: of two entries of one moment the heavier counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// It stands on the complete list no more.
    Removed,
    Suspended,
    Revoked,
}

/// A revocation list whose issuer's signature was verified.
#[derive(Clone, Debug)]
pub struct RevocationList {
    entries: Vec<Entry>,
    number: Option<[u8; SERIAL]>,
    /// Of a delta list: the complete list that it continues.
    base: Option<[u8; SERIAL]>,
    this_update: SystemTime,
    next_update: SystemTime,
}

/// The parts of a CertificateList, as they came.
struct Parts<'a> {
    content: &'a [u8],
    algorithm: AlgorithmIdentifierOwned,
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(list: &'a [u8]) -> der::Result<Self> {
        let mut outer = SliceReader::new(list)?;
        let whole = AnyRef::decode(&mut outer)?;
        outer.finish(())?;
        if whole.tag() != Tag::Sequence {
            return Err(whole.tag().unexpected_error(Some(Tag::Sequence)));
        }
        let mut parts = SliceReader::new(whole.value())?;
        let content = parts.tlv_bytes()?;
        let algorithm = AlgorithmIdentifierOwned::decode(&mut parts)?;
        let signature = BitStringRef::decode(&mut parts)?;
        parts.finish(())?;
        let signature = signature.as_bytes().ok_or(der::ErrorKind::Value { tag: Tag::BitString })?;
        Ok(Self { content, algorithm, signature })
    }
}

impl RevocationList {
    /// Reads a list, complete or delta, that `issuer` must have signed. Whether it is current is for
    /// [`RevocationList::check_time`].
    ///
    /// # Errors
    /// When it is not the issuer's, or says something critical that is not understood.
    pub fn read(list: &[u8], issuer: &Certificate) -> Result<Self, CheckError> {
        let parts = Parts::read(list).map_err(CheckError::Malformed)?;
        let subject = &issuer.tbs_certificate;
        let mut fields = Fields::open(parts.content).map_err(CheckError::Malformed)?;
        let told = subject.subject.to_der().map_err(CheckError::Malformed)?;
        if fields.issuer != told || !may_issue(issuer, KeyUsages::CRLSign)? {
            return Err(CheckError::Issuer(subject.subject.to_string()));
        }
        if fields.algorithm != parts.algorithm {
            return Err(CheckError::Signature);
        }
        let key = &subject.subject_public_key_info;
        verify_signature(parts.algorithm.oid, key, parts.content, parts.signature)?;
        let (this_update, next_update) = (fields.this_update, fields.next_update.ok_or(CheckError::Stale)?);
        let mut entries = fields.entries()?;
        let (number, base) = fields.numbers()?;
        // Only a delta list takes certificates off another (RFC 5280 §5.3.1); what stands on a complete one is out of force.
        if base.is_none() && entries.iter().any(|entry| entry.standing == Standing::Removed) {
            return Err(CheckError::Malformed(der::ErrorKind::Failed.into()));
        }
        entries.sort_unstable();
        Ok(Self { entries, number, base, this_update, next_update })
    }

    /// Refuses a list that is not current.
    ///
    /// # Errors
    /// [`CheckError::Stale`].
    pub fn check_time(&self, now: SystemTime) -> Result<(), CheckError> {
        if self.next_update < now || self.this_update > now + CLOCK_SKEW {
            return Err(CheckError::Stale);
        }
        Ok(())
    }

    /// How a certificate stands by this complete list, and by the delta list that continues it.
    ///
    /// # Errors
    /// When the serial number is longer than any may be, so that no list could have it.
    pub fn standing(&self, serial: &[u8], delta: Option<&Self>) -> Result<Revocation, CheckError> {
        let too_long = || CheckError::Malformed(der::ErrorKind::Overlength.into());
        let serial = fixed(serial).ok_or_else(too_long)?;
        let entry = delta.and_then(|delta| delta.find(&serial)).or_else(|| self.find(&serial));
        Ok(match entry {
            None | Some(Entry { standing: Standing::Removed, .. }) => Revocation::Good,
            Some(entry) => Revocation::Revoked {
                since: UNIX_EPOCH + Duration::from_secs(entry.since.into()),
                suspended: entry.standing == Standing::Suspended,
                reason: entry.reason.and_then(|place| REASONS.get(usize::from(place)).copied()),
            },
        })
    }

    /// Whether it was made before another list.
    #[must_use]
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.this_update < other.this_update
    }

    /// Whether this delta list continues that complete list (RFC 5280 §5.2.4).
    #[must_use]
    pub fn continues(&self, complete: &Self) -> bool {
        match (self.base, self.number, complete.number) {
            (Some(base), Some(number), Some(complete_number)) => {
                base <= complete_number && complete_number <= number
            }
            _ => false,
        }
    }

    /// Whether it is a delta list.
    #[must_use]
    pub fn is_delta(&self) -> bool {
        self.base.is_some()
    }

    /// Its number, hexadecimal, of one width, so that the order as text is that of the numbers.
    #[must_use]
    pub fn number(&self) -> Option<String> {
        self.number.map(hex::encode)
    }

    /// When it was made.
    #[must_use]
    pub fn this_update(&self) -> SystemTime {
        self.this_update
    }

    /// Until when it counts.
    #[must_use]
    pub fn next_update(&self) -> SystemTime {
        self.next_update
    }

    /// How many certificates stand on it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How much memory its entries take, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    fn find(&self, serial: &[u8; SERIAL]) -> Option<Entry> {
        let at = self.entries.partition_point(|entry| entry.serial < *serial);
        // A serial number that stands there twice: the entry that came last in time counts.
        let same = self.entries.get(at..)?.iter().take_while(|entry| entry.serial == *serial);
        same.last().copied()
    }
}

/// A number of at most twenty bytes, with zeros before it.
fn fixed(number: &[u8]) -> Option<[u8; SERIAL]> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(zeros..)?;
    let mut fixed = [0; SERIAL];
    fixed.get_mut(SERIAL.checked_sub(number.len())?..)?.copy_from_slice(number);
    Some(fixed)
}

/// TBSCertList, taken apart up to its entries.
struct Fields<'a> {
    algorithm: AlgorithmIdentifierOwned,
    issuer: &'a [u8],
    this_update: SystemTime,
    next_update: Option<SystemTime>,
    rest: SliceReader<'a>,
}

impl<'a> Fields<'a> {
    fn open(content: &'a [u8]) -> der::Result<Self> {
        let content = AnyRef::from_der(content)?;
        if content.tag() != Tag::Sequence {
            return Err(content.tag().unexpected_error(Some(Tag::Sequence)));
        }
        let mut rest = SliceReader::new(content.value())?;
        // Version 2 where there are extensions, and there must be: the number.
        if rest.peek_tag()? == Tag::Integer {
            rest.tlv_bytes()?;
        }
        let algorithm = AlgorithmIdentifierOwned::decode(&mut rest)?;
        let issuer = rest.tlv_bytes()?;
        let this_update = time(&mut rest)?;
        let next_update = match next_tag(&rest)? {
            Some(Tag::UtcTime | Tag::GeneralizedTime) => Some(time(&mut rest)?),
            _ => None,
        };
        Ok(Self { algorithm, issuer, this_update, next_update, rest })
    }

    fn entries(&mut self) -> Result<Vec<Entry>, CheckError> {
        let mut entries = Vec::new();
        if next_tag(&self.rest).map_err(CheckError::Malformed)? != Some(Tag::Sequence) {
            return Ok(entries);
        }
        let all = AnyRef::decode(&mut self.rest).map_err(CheckError::Malformed)?;
        let mut all = SliceReader::new(all.value()).map_err(CheckError::Malformed)?;
        // An entry has at least a serial number and a time: 20 bytes. What is allocated is bounded by what came.
        let most = usize::try_from(all.remaining_len()).unwrap_or_default() / 20;
        entries.reserve_exact(most.min(1 << 20));
        while !all.is_finished() {
            let entry = AnyRef::decode(&mut all).map_err(CheckError::Malformed)?;
            entries.push(read_entry(entry.value())?);
        }
        entries.shrink_to_fit();
        Ok(entries)
    }

    /// The list's number, and that of the list that it continues.
    #[expect(clippy::type_complexity, reason = "two numbers")]
    fn numbers(&mut self) -> Result<(Option<[u8; SERIAL]>, Option<[u8; SERIAL]>), CheckError> {
        let (mut number, mut base) = (None, None);
        if self.rest.is_finished() {
            return Ok((number, base));
        }
        let extensions = AnyRef::decode(&mut self.rest).map_err(CheckError::Malformed)?;
        let last = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
        if extensions.tag() != last || !self.rest.is_finished() {
            return Err(CheckError::Malformed(der::ErrorKind::Failed.into()));
        }
        let extensions = AnyRef::from_der(extensions.value()).map_err(CheckError::Malformed)?;
        let mut extensions = SliceReader::new(extensions.value()).map_err(CheckError::Malformed)?;
        while !extensions.is_finished() {
            let (oid, critical, value) = extension(&mut extensions).map_err(CheckError::Malformed)?;
            let target = match oid {
                CRL_NUMBER => &mut number,
                DELTA_INDICATOR => &mut base,
                // Partitioned and indirect lists say so in a critical extension: "not on it" would mean nothing.
                other if critical => return Err(CheckError::Critical(other.to_string())),
                _ => continue,
            };
            let value = UintRef::from_der(value).map_err(CheckError::Malformed)?;
            let too_long = || CheckError::Malformed(der::ErrorKind::Overlength.into());
            if target.replace(fixed(value.as_bytes()).ok_or_else(too_long)?).is_some() {
                return Err(CheckError::Repeated(oid.to_string()));
            }
        }
        Ok((number, base))
    }
}

fn next_tag(reader: &SliceReader<'_>) -> der::Result<Option<Tag>> {
    if reader.is_finished() { Ok(None) } else { reader.peek_tag().map(Some) }
}

fn time(reader: &mut SliceReader<'_>) -> der::Result<SystemTime> {
    let since = if reader.peek_tag()? == Tag::UtcTime {
        UtcTime::decode(reader)?.to_unix_duration()
    } else {
        GeneralizedTime::decode(reader)?.to_unix_duration()
    };
    Ok(UNIX_EPOCH + since)
}

fn extension<'a>(reader: &mut SliceReader<'a>) -> der::Result<(ObjectIdentifier, bool, &'a [u8])> {
    let extension = AnyRef::decode(reader)?;
    let mut fields = SliceReader::new(extension.value())?;
    let oid = ObjectIdentifier::decode(&mut fields)?;
    let critical = next_tag(&fields)? == Some(Tag::Boolean) && bool::decode(&mut fields)?;
    let value = OctetStringRef::decode(&mut fields)?;
    fields.finish((oid, critical, value.as_bytes()))
}

fn read_entry(entry: &[u8]) -> Result<Entry, CheckError> {
    let read = || -> der::Result<_> {
        let mut fields = SliceReader::new(entry)?;
        // Some authorities number with a sign; only the digits count.
        let serial = AnyRef::decode(&mut fields)?;
        let since = time(&mut fields)?;
        Ok((serial, since, fields))
    };
    let (serial, since, mut fields) = read().map_err(CheckError::Malformed)?;
    let malformed = || CheckError::Malformed(der::ErrorKind::Overlength.into());
    if serial.tag() != Tag::Integer {
        return Err(CheckError::Malformed(der::ErrorKind::Failed.into()));
    }
    let serial = fixed(serial.value()).ok_or_else(malformed)?;
    let seconds = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let since = u32::try_from(seconds).unwrap_or(u32::MAX);
    let (mut standing, mut told) = (Standing::Revoked, None);
    if !fields.is_finished() {
        let extensions = AnyRef::decode(&mut fields).map_err(CheckError::Malformed)?;
        let mut extensions = SliceReader::new(extensions.value()).map_err(CheckError::Malformed)?;
        while !extensions.is_finished() {
            let (oid, critical, value) = extension(&mut extensions).map_err(CheckError::Malformed)?;
            if oid == CrlReason::OID {
                let reason = CrlReason::from_der(value).map_err(CheckError::Malformed)?;
                let place = REASONS.iter().position(|known| *known == reason);
                told = place.and_then(|place| u8::try_from(place).ok());
                standing = match reason {
                    CrlReason::CertificateHold => Standing::Suspended,
                    CrlReason::RemoveFromCRL => Standing::Removed,
                    CrlReason::Unspecified
                    | CrlReason::KeyCompromise
                    | CrlReason::CaCompromise
                    | CrlReason::AffiliationChanged
                    | CrlReason::Superseded
                    | CrlReason::CessationOfOperation
                    | CrlReason::PrivilegeWithdrawn
                    | CrlReason::AaCompromise => Standing::Revoked,
                };
            } else if critical {
                return Err(CheckError::Critical(oid.to_string()));
            }
        }
    }
    Ok(Entry { serial, since, standing, reason: told })
}
