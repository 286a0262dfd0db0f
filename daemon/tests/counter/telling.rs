//! What the authority is told, when it answers for some certificates and not for others, or that it is so already.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use cns_protocol::card::KeyUse;
use cns_protocol::certificate::{CardStanding, Channel, Standing};
use cns_protocol::counter::{Case, Reason};
use cns_virtual_card::sample;
use cnsd::authority::Signer;
use cnsd::procedure::status::{Asked, Heard, StatusAuthority, StatusChange, StatusError, StatusSource};
use cnsd::standing::{Order, Outcome};

use crate::rig::Rig;

const OTHER_CARD: &str = "6999000000001248";

type Answer = Result<Standing, StatusError>;
type Says = Box<dyn FnMut(KeyUse, StatusChange) -> Answer + Send>;

/// An authority that answers as a test wants it.
struct Words {
    signature: Vec<u8>,
    wants_officer: bool,
    says: Mutex<Says>,
    asked: Mutex<Vec<(KeyUse, StatusChange)>>,
}

impl Words {
    fn link(
        rig: &Rig,
        wants_officer: bool,
        says: impl FnMut(KeyUse, StatusChange) -> Answer + Send + 'static,
    ) -> Arc<Self> {
        let contents = rig.rooms().readers.find_card(sample::ID_CARD).unwrap();
        let signature = contents.signature_certificate.clone().unwrap();
        let asked = Mutex::default();
        let words = Arc::new(Self { signature, wants_officer, says: Mutex::new(Box::new(says)), asked });
        rig.rooms().procedures.change_status_by(words.clone());
        words
    }

    /// How often it was asked for a certificate.
    fn asked(&self, key_use: KeyUse) -> usize {
        self.asked.lock().unwrap().iter().filter(|(asked, _)| *asked == key_use).count()
    }
}

impl StatusAuthority for Words {
    fn wants_officer(&self) -> bool {
        self.wants_officer
    }

    fn has_issued(&self, _: &[u8], _: KeyUse, _: &str) -> bool {
        true
    }

    fn change<'a>(
        &'a self,
        _: [u8; 16],
        certificate: Vec<u8>,
        change: StatusChange,
        _: Option<&'a dyn Signer>,
    ) -> Asked<'a, Standing> {
        let key_use = if certificate == self.signature { KeyUse::Signature } else { KeyUse::Authentication };
        self.asked.lock().unwrap().push((key_use, change));
        let answer = (self.says.lock().unwrap())(key_use, change);
        Box::pin(async move { answer })
    }
}

/// A counter at which the sample card was activated, with both certificates.
async fn activated() -> Rig {
    let rig = Rig::new().await;
    let started = rig.start(Case::Standard).await.unwrap();
    rig.until(started, &rig.codes[0], "").await;
    rig
}

/// What the holder asks on the web.
async fn ask(rig: &Rig, number: u32, change: StatusChange) -> Outcome {
    ask_for(rig, sample::ID_CARD, number, change).await
}

pub(crate) async fn ask_for(rig: &Rig, card: &str, number: u32, change: StatusChange) -> Outcome {
    let order = Order {
        request: format!("{number:016}"),
        card: card.to_owned(),
        change,
        reason: match change {
            StatusChange::Suspend(reason) => reason,
            StatusChange::Revoke(reason) => Some(reason),
            StatusChange::Reactivate => None,
        },
        channel: Channel::Web,
        paragraph: "§9.5.1",
        user: None,
        operator: None,
        identified: None,
        paper: None,
    };
    let standings = rig.rooms().procedures.standings();
    standings.ask(&order).await.unwrap();
    standings.deliver(&order, None).await.unwrap()
}

const SUSPEND: StatusChange = StatusChange::Suspend(Some(Reason::Loss));

async fn standings(rig: &Rig) -> Vec<Standing> {
    let told: CardStanding =
        rig.rooms().procedures.standings().of_card(sample::ID_CARD).await.unwrap().unwrap();
    told.certificates.iter().map(|one| one.standing).collect()
}

/// X10: a certificate for which the authority has no answer does not keep it from being told of the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_an_answer_does_not_hold_up_the_cards_others() {
    let rig = activated().await;
    let authority = Words::link(&rig, false, |key_use, change| match key_use {
        KeyUse::Authentication => Err(StatusError::Failed("signerNotTrusted".to_owned())),
        KeyUse::Signature => Ok(change.leads_to()),
    });
    let outcome = ask(&rig, 1, SUSPEND).await;
    assert_eq!((outcome.done, outcome.pending.len(), outcome.refused.len()), (1, 1, 0), "{outcome:?}");
    assert_eq!(standings(&rig).await, [Standing::Good, Standing::Suspended]);
    // What is asked later for the one without an answer waits for it, and for that one alone.
    let outcome = ask(&rig, 2, StatusChange::Reactivate).await;
    assert_eq!((outcome.done, outcome.pending.len()), (1, 1), "{outcome:?}");
    assert_eq!(standings(&rig).await, [Standing::Good, Standing::Good]);
    let asked = authority.asked.lock().unwrap().clone();
    assert!(!asked.contains(&(KeyUse::Authentication, StatusChange::Reactivate)), "{asked:?}");
    assert_eq!((authority.asked(KeyUse::Authentication), authority.asked(KeyUse::Signature)), (2, 2));
}

/// The certificates of another card, as if it had been activated here.
async fn another_card(rig: &Rig) {
    let mut contents = (*rig.rooms().readers.find_card(sample::ID_CARD).unwrap()).clone();
    contents.card.serial = OTHER_CARD.to_owned();
    for certificate in &mut contents.card.certificates {
        certificate.sha256.replace_range(..4, "0000");
    }
    rig.rooms().procedures.standings().note(&contents, true).await.unwrap();
}

async fn execute(rig: &Rig, query: &str) {
    assert!(
        sqlx::query(query).execute(rig.rooms().database.pool()).await.unwrap().rows_affected() > 0,
        "{query}"
    );
}

/// The cards of which something is still to be told, each once.
async fn open(rig: &Rig) -> Vec<(String, i64)> {
    let query = "SELECT card, MIN(next_at) FROM standing_change \
                 JOIN card_certificate ON card_certificate.sha256 = standing_change.sha256 \
                 WHERE state = 'open' GROUP BY card";
    sqlx::query_as(query).fetch_all(rig.rooms().database.pool()).await.unwrap()
}

/// Whichever of the cards comes first: what cannot be read of one does not keep the authority from being told of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_does_not_hold_up_other_cards() {
    let rig = activated().await;
    another_card(&rig).await;
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    Words::link(&rig, false, move |_, change| {
        if is_away.load(Ordering::Relaxed) {
            return Err(StatusError::Failed("away".to_owned()));
        }
        Ok(change.leads_to())
    });
    for (number, damaged) in [(0, sample::ID_CARD), (2, OTHER_CARD)] {
        away.store(true, Ordering::Relaxed);
        let change = if number == 0 { SUSPEND } else { StatusChange::Reactivate };
        ask_for(&rig, sample::ID_CARD, number, change).await;
        ask_for(&rig, OTHER_CARD, number + 1, change).await;
        execute(&rig, "UPDATE standing_change SET next_at = 0 WHERE state = 'open'").await;
        let damage = format!("UPDATE standing_request SET channel = 'nonsense' WHERE card = '{damaged}'");
        execute(&rig, &damage).await;
        away.store(false, Ordering::Relaxed);
        rig.rooms().procedures.standings().work().await.unwrap();
        let left = open(&rig).await;
        let in_an_hour = time::OffsetDateTime::now_utc().unix_timestamp() + 3000;
        assert!(matches!(left.as_slice(), [(card, at)] if card == damaged && *at > in_an_hour), "{left:?}");
        execute(&rig, "UPDATE standing_request SET channel = 'web'").await;
        execute(&rig, "UPDATE standing_change SET next_at = 0 WHERE state = 'open'").await;
        rig.rooms().procedures.standings().work().await.unwrap();
        assert!(open(&rig).await.is_empty());
    }
}

/// Nor of one certificate of the other of the same card.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_read_does_not_hold_up_the_cards_other() {
    let rig = activated().await;
    Words::link(&rig, false, |_, change| Ok(change.leads_to()));
    let damage = "UPDATE card_certificate SET sealed = (SELECT sealed FROM card_certificate WHERE key_use = 'signature')";
    execute(&rig, damage).await;
    let outcome = ask(&rig, 1, SUSPEND).await;
    assert_eq!((outcome.done, outcome.pending.len()), (1, 1), "{outcome:?}");
}

/// Who is asked how the certificates stand; nothing is "not known".
struct List {
    status: Mutex<Option<Standing>>,
    /// Whether it is from an hour ago.
    is_old: AtomicBool,
}

impl List {
    fn link(rig: &Rig, status: Option<Standing>) -> Arc<Self> {
        let list = Arc::new(Self { status: Mutex::new(status), is_old: AtomicBool::new(false) });
        rig.rooms().procedures.ask_status_of(list.clone());
        list
    }

    fn say(&self, status: Option<Standing>) {
        *self.status.lock().unwrap() = status;
    }
}

impl StatusSource for List {
    fn status(&self, _: Vec<u8>) -> Asked<'_, Heard> {
        let age = Duration::from_secs(if self.is_old.load(Ordering::Relaxed) { 3600 } else { 0 });
        let at = SystemTime::now() - age;
        let known = self.status.lock().unwrap().map(|standing| Heard { standing, at });
        Box::pin(async move { known.ok_or_else(|| StatusError::Unknown("away".to_owned())) })
    }
}

/// As EJBCA does it: `certRevoked` to what is on hold already, and to a reactivation of what is not.
fn one_word_for_both() -> Answer {
    Err(StatusError::Already("certRevoked".to_owned()))
}

/// A reactivation whose answer was lost is asked for again, and the authority says that there is nothing to reactivate.
#[tokio::test(flavor = "multi_thread")]
async fn a_reactivation_whose_answer_was_lost_does_not_end_as_a_revocation() {
    let rig = activated().await;
    let mut lost = 0;
    let authority = Words::link(&rig, false, move |_, change| {
        if change != StatusChange::Reactivate {
            return Ok(change.leads_to());
        }
        lost += 1;
        if lost <= 2 { Err(StatusError::Failed("no answer".to_owned())) } else { one_word_for_both() }
    });
    ask(&rig, 1, SUSPEND).await;
    assert_eq!(ask(&rig, 2, StatusChange::Reactivate).await.pending.len(), 2);
    let outcome = ask(&rig, 2, StatusChange::Reactivate).await;
    assert_eq!((outcome.done, outcome.pending.len(), outcome.refused.len()), (0, 0, 2), "{outcome:?}");
    assert_eq!(standings(&rig).await, [Standing::Suspended; 2], "nobody said that they are revoked");
    // Whoever can be asked how they stand settles it.
    let list = List::link(&rig, Some(Standing::Good));
    let outcome = ask(&rig, 3, StatusChange::Reactivate).await;
    assert_eq!((outcome.done, outcome.refused.len()), (2, 0), "{outcome:?}");
    assert_eq!(standings(&rig).await, [Standing::Good; 2]);
    list.say(Some(Standing::Revoked));
    let outcome = ask(&rig, 4, SUSPEND).await;
    assert_eq!(outcome.done, 2, "{outcome:?}");
    assert_eq!(
        (authority.asked(KeyUse::Signature), standings(&rig).await),
        (5, vec![Standing::Suspended; 2])
    );
}

/// The source that could settle it is away, or knows what was before: that is no answer, and the authority is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn news_from_before_a_reactivation_and_silence_settle_nothing() {
    let rig = activated().await;
    Words::link(&rig, false, |_, change| match change {
        StatusChange::Reactivate => one_word_for_both(),
        StatusChange::Suspend(_) | StatusChange::Revoke(_) => Ok(change.leads_to()),
    });
    let list = List::link(&rig, None);
    ask(&rig, 1, SUSPEND).await;
    for (status, is_old) in [(None, false), (Some(Standing::Good), true)] {
        list.say(status);
        list.is_old.store(is_old, Ordering::Relaxed);
        let outcome = ask(&rig, 2, StatusChange::Reactivate).await;
        assert_eq!((outcome.done, outcome.pending.len(), outcome.refused.len()), (0, 2, 0), "{outcome:?}");
        assert_eq!(standings(&rig).await, [Standing::Suspended; 2], "{status:?}");
    }
    list.is_old.store(false, Ordering::Relaxed);
    execute(&rig, "UPDATE standing_change SET next_at = 0 WHERE state = 'open'").await;
    rig.rooms().procedures.standings().work().await.unwrap();
    assert_eq!(standings(&rig).await, [Standing::Good; 2]);
}

/// Whoever revokes what is on hold is told what to do, and not that it is revoked: it could be reactivated.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_of_what_is_on_hold_is_refused_and_says_what_to_do() {
    let rig = activated().await;
    let is_held = AtomicBool::new(false);
    Words::link(&rig, false, move |key_use, change| {
        if matches!(change, StatusChange::Revoke(_)) && is_held.load(Ordering::Relaxed) {
            return one_word_for_both();
        }
        if key_use == KeyUse::Signature {
            is_held.store(matches!(change, StatusChange::Suspend(_)), Ordering::Relaxed);
        }
        Ok(change.leads_to())
    });
    ask(&rig, 1, SUSPEND).await;
    // By what is known here, and by what the source says.
    for number in [2, 3] {
        let outcome = ask(&rig, number, StatusChange::Revoke(Reason::Loss)).await;
        assert_eq!((outcome.done, outcome.pending.len(), outcome.refused.len()), (0, 0, 2), "{outcome:?}");
        let words = "the certificate is suspended, and the authority revokes none that is; reactivate it and revoke it";
        assert!(outcome.refused.iter().all(|said| said.contains(words)), "{outcome:?}");
        assert_eq!(standings(&rig).await, [Standing::Suspended; 2]);
        if number == 2 {
            List::link(&rig, Some(Standing::Suspended));
        }
    }
    // The signature certificate is taken off the card: it is reactivated with the others all the same.
    rig.rooms().procedures.standings().signature_removed(sample::ID_CARD).await.unwrap();
    assert_eq!(ask(&rig, 4, StatusChange::Reactivate).await.done, 2);
    assert_eq!(standings(&rig).await, [Standing::Good; 2]);
    assert_eq!(ask(&rig, 5, StatusChange::Revoke(Reason::Loss)).await.done, 2);
    assert_eq!(standings(&rig).await, [Standing::Revoked; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_of_what_is_out_of_force_already_is_a_suspension() {
    let rig = activated().await;
    Words::link(&rig, false, |_, _| one_word_for_both());
    assert_eq!(ask(&rig, 1, SUSPEND).await.done, 2);
    assert_eq!(standings(&rig).await, [Standing::Suspended; 2]);
    // Of what is suspended here its word is no revocation.
    assert_eq!(ask(&rig, 2, StatusChange::Revoke(Reason::Loss)).await.refused.len(), 2);
    assert_eq!(standings(&rig).await, [Standing::Suspended; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_source_the_word_of_the_authority_is_all_there_is() {
    let rig = activated().await;
    let authority = Words::link(&rig, false, |_, _| one_word_for_both());
    assert_eq!(ask(&rig, 2, StatusChange::Revoke(Reason::Loss)).await.done, 2);
    assert_eq!(standings(&rig).await, [Standing::Revoked; 2]);
    // It is no more than a word: what is asked next is sent all the same.
    assert_eq!(ask(&rig, 3, SUSPEND).await.done, 2);
    assert_eq!(ask(&rig, 4, StatusChange::Revoke(Reason::Theft)).await.done, 2);
    assert_eq!((authority.asked(KeyUse::Signature), standings(&rig).await), (3, vec![Standing::Revoked; 2]));
    // A reactivation is not: §9.7.
    assert_eq!(ask(&rig, 5, StatusChange::Reactivate).await.refused.len(), 2);
    assert_eq!(authority.asked(KeyUse::Signature), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_done_when_its_status_says_so() {
    let rig = activated().await;
    Words::link(&rig, false, |_, _| one_word_for_both());
    let list = List::link(&rig, None);
    for heard in [None, Some(Standing::Good)] {
        list.say(heard);
        let outcome = ask(&rig, 1, StatusChange::Revoke(Reason::Loss)).await;
        assert_eq!((outcome.done, outcome.pending.len()), (0, 2), "{heard:?}: {outcome:?}");
        assert_eq!(standings(&rig).await, [Standing::Good; 2]);
    }
    list.say(Some(Standing::Revoked));
    execute(&rig, "UPDATE standing_change SET next_at = 0 WHERE state = 'open'").await;
    rig.rooms().procedures.standings().work().await.unwrap();
    assert_eq!(standings(&rig).await, [Standing::Revoked; 2]);
}
