//! Recorded traces, which strangers send in: any text is read or refused, and what was read reads alike when it is
//! written again.

use cns_apdu::trace::{MOST_EXCHANGES, Trace};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(trace) = Trace::parse(text) else { return };
    assert!(trace.sessions.iter().map(Vec::len).sum::<usize>() <= MOST_EXCHANGES);
    let again = Trace::parse(&trace.to_string()).expect("what was written is a trace");
    // Comments may lose control characters and the spaces around those.
    assert_eq!(again.atrs, trace.atrs);
    assert_eq!(again.sessions.len(), trace.sessions.len());
    for (again, first) in again.sessions.iter().flatten().zip(trace.sessions.iter().flatten()) {
        assert_eq!(
            (again.kind, again.command_mask, again.status),
            (first.kind, first.command_mask, first.status)
        );
        assert_eq!((&again.command, &again.data), (&first.command, &first.data));
        assert_eq!(again.after_gap, first.after_gap);
    }
}
