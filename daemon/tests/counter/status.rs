//! §9.5 to §9.7 at the counter, and §9.3b: the certifier itself stands behind the seams, without the network between.

use std::sync::Arc;
use std::time::SystemTime;

use cns_protocol::audit::Phase;
use cns_protocol::card::KeyUse;
use cns_protocol::certificate::{Paper, PaperKind, Standing};
use cns_protocol::counter::{
    Answer, Applicant, Case, FieldValue, Procedure, ProcedureState, Reason, Sheet, SheetKind,
};
use cns_virtual_authority::{Authority as Certifier, Reason as Code, Status};
use cnsd::authority::Signer;
use cnsd::procedure::ProcedureError;
use cnsd::procedure::status::{Asked, Heard, StatusAuthority, StatusChange, StatusError, StatusSource};

use crate::rig::Rig;
use crate::rig::answers::report;

/// The certifier's own record of certificates; `refuses_after` changes it is as good as away.
pub(crate) struct Registry {
    pub(crate) certifier: Arc<Certifier>,
    changes: std::sync::atomic::AtomicUsize,
    refuses_after: usize,
}

impl Registry {
    pub(crate) fn link(rig: &Rig, refuses_after: usize) -> Arc<Self> {
        let registry =
            Arc::new(Self { certifier: Arc::clone(&rig.certifier), changes: 0.into(), refuses_after });
        let procedures = &rig.rooms().procedures;
        procedures.ask_status_of(registry.clone());
        procedures.change_status_by(registry.clone());
        registry
    }

    pub(crate) fn status_now(&self, certificate: &[u8]) -> Option<(String, Standing)> {
        let records = self.certifier.list().unwrap();
        let record = records.iter().find(|record| record.certificate == certificate)?;
        let status = match record.status {
            Status::Suspended { .. } => Standing::Suspended,
            Status::Revoked { .. } => Standing::Revoked,
            Status::Valid | Status::Unconfirmed => Standing::Good,
        };
        Some((record.serial.clone(), status))
    }
}

impl StatusSource for Registry {
    fn status(&self, certificate: Vec<u8>) -> Asked<'_, Heard> {
        Box::pin(async move {
            let found =
                self.status_now(&certificate).map(|(_, standing)| Heard { standing, at: SystemTime::now() });
            found.ok_or_else(|| StatusError::Unknown("not issued here".to_owned()))
        })
    }
}

impl StatusAuthority for Registry {
    fn has_issued(&self, certificate: &[u8], _: KeyUse, _: &str) -> bool {
        self.status_now(certificate).is_some()
    }

    fn change<'a>(
        &'a self,
        _: [u8; 16],
        certificate: Vec<u8>,
        change: StatusChange,
        _: Option<&'a dyn Signer>,
    ) -> Asked<'a, Standing> {
        Box::pin(async move {
            let number = self.changes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if number == self.refuses_after {
                return Err(StatusError::Failed("away".to_owned()));
            }
            let (serial, now) = self.status_now(&certificate).unwrap();
            if now == change.leads_to() {
                return Ok(now);
            }
            let code = match change {
                StatusChange::Suspend(_) => Code::CertificateHold,
                StatusChange::Reactivate => Code::RemoveFromCrl,
                StatusChange::Revoke(_) => Code::KeyCompromise,
            };
            self.certifier
                .revoke(&serial, code)
                .map(|_| change.leads_to())
                .map_err(|error| StatusError::Refused(error.to_string()))
        })
    }
}

fn statuses(rig: &Rig, registry: &Registry) -> Vec<Standing> {
    let contents = rig.rooms().readers.find_card(cns_virtual_card::sample::ID_CARD).unwrap();
    let held = [&contents.authentication_certificate, &contents.signature_certificate];
    held.into_iter().flatten().map(|held| registry.status_now(held).unwrap().1).collect()
}

async fn reason(rig: &Rig, case: Case, reason: Reason) -> Procedure {
    let started = rig.start(case).await.unwrap();
    let paragraph = if case == Case::Suspension { "§9.5" } else { "§9.7.1" };
    let ready = rig.until(started, "", paragraph).await;
    rig.answer(&ready, Answer::Reason(reason)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_certificates_of_the_card_are_suspended_reactivated_and_revoked() {
    let rig = Rig::new().await;
    // Two certificates: the second of them finds the authority away at first (X10).
    let first = rig.start(Case::Standard).await.unwrap();
    rig.until(first, &rig.codes[0], "").await;
    let registry = Registry::link(&rig, 1);

    let ready = reason(&rig, Case::Suspension, Reason::Loss).await;
    let away = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(away, ProcedureError::Status(StatusError::Failed(_))), "{away:?}");
    assert_eq!(statuses(&rig, &registry), [Standing::Suspended, Standing::Good]);
    let again = rig.answer(&ready, Answer::Confirmed).await.unwrap();
    assert_eq!(statuses(&rig, &registry), [Standing::Suspended; 2]);
    assert_eq!(
        registry.changes.load(std::sync::atomic::Ordering::Relaxed),
        3,
        "the first is not asked twice"
    );
    let done = rig.until(again, "", "").await;
    assert_eq!(done.state, ProcedureState::Done);

    // X12: a suspended card gets no codes before it is reactivated; both rules are named.
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3b"));
    assert!(refused.hint().is_some_and(|hint| hint.contains("§9.6.2")));
    let back = rig.start(Case::Reactivation).await.unwrap();
    rig.until(back, "", "").await;
    assert_eq!(statuses(&rig, &registry), [Standing::Good; 2]);
    let codes = rig.start(Case::NewCodes).await.unwrap();
    rig.cancel(&codes).await.unwrap();

    // Theft needs the report; a reason of the issuing body only is refused (§9.7.2).
    let ready = reason(&rig, Case::Revocation, Reason::Theft).await;
    assert_eq!(ready.next.as_ref().unwrap().paragraph, "§9.7.1-report");
    rig.until(ready, "", "").await;
    assert_eq!(statuses(&rig, &registry), [Standing::Revoked; 2]);
    let refused = rig.start(Case::NewCodes).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.3b"));
    let started = rig.start(Case::Revocation).await.unwrap();
    let ready = rig.until(started, "", "§9.7.1").await;
    let refused = rig.answer(&ready, Answer::Reason(Reason::Death)).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("§9.7.1"));
    let phases = rig.phases("certificate-status").await;
    let intentions = phases.iter().filter(|phase| **phase == Phase::Intention).count();
    // Four attempts, of which one was cut off; three changes of two certificates.
    assert_eq!((intentions, phases.len() - intentions), (4, 6), "{phases:?}");
}

/// What shows a theft or loss is judged, kept with the procedure, printed, and in no record.
#[tokio::test(flavor = "multi_thread")]
async fn a_theft_is_reported_with_number_authority_and_date() {
    let rig = Rig::new().await;
    Registry::link(&rig, usize::MAX);
    let ready = reason(&rig, Case::Revocation, Reason::Theft).await;
    let confirmed = rig.answer(&ready, Answer::Confirmed).await.unwrap_err();
    assert!(matches!(confirmed, ProcedureError::WrongAnswer { .. }), "{confirmed:?}");
    let declared = Paper { kind: PaperKind::SelfDeclaration, number: None, issuer: None, ..report() };
    for wrong in [
        Paper { number: None, ..report() },
        Paper { number: Some("  ".to_owned()), ..report() },
        Paper { issuer: None, ..report() },
        Paper { issuer: Some("x".repeat(65)), ..report() },
        Paper { date: "2099-01-01".to_owned(), ..report() },
        Paper { date: "yesterday".to_owned(), ..report() },
        Paper { date: String::new(), ..declared.clone() },
        Paper { number: Some("1".to_owned()), ..declared.clone() },
    ] {
        let refused = rig.answer(&ready, Answer::Paper(wrong)).await.unwrap_err();
        assert_eq!(refused.paragraph(), Some("§9.7.1-report"), "{refused:?}");
        assert!(refused.italian().is_some_and(|text| text.contains("denuncia")));
    }
    let fields = |values: [(&str, &str); 4]| {
        Answer::Fields(values.map(|(name, text)| (name.to_owned(), FieldValue::Text(text.to_owned()))).into())
    };
    let told = fields([
        ("paper", "report"),
        ("paper_number", " 2026/77 "),
        ("paper_issuer", "Questura di prova"),
        ("paper_date", "2026-01-15"),
    ]);
    let ready = rig.answer(&ready, told).await.unwrap();
    assert_eq!(ready.done.last().unwrap().outcome, "collected: report to the police");
    let sheet = Sheet { procedure: ready.id.clone(), kind: SheetKind::Request };
    let html = rig.rooms().procedures.sheet(&sheet).await.unwrap().html;
    assert!(html.contains("denuncia n. 2026/77 del 15/01/2026, presentata a: Questura di prova."), "{html}");
    let query = "SELECT document FROM procedures WHERE id = $1";
    let (kept,): (String,) =
        sqlx::query_as(query).bind(&ready.id).fetch_one(rig.rooms().database.pool()).await.unwrap();
    assert!(
        kept.contains(
            r#""paper":{"kind":"report","number":"2026/77","issuer":"Questura di prova","date":"2026-01-15"}"#
        ),
        "{kept}"
    );
    assert!(rig.entries().await.iter().all(|entry| !entry.text.contains("2026/77")));
    // A self-declaration has a date alone: the empty lines of a form are none.
    rig.cancel(&ready).await.unwrap();
    let ready = reason(&rig, Case::Revocation, Reason::Loss).await;
    let told = fields([
        ("paper", "self-declaration"),
        ("paper_number", ""),
        ("paper_issuer", " "),
        ("paper_date", "2026-01-15"),
    ]);
    let ready = rig.answer(&ready, told).await.unwrap();
    assert_eq!(ready.done.last().unwrap().outcome, "collected: self-declaration");
    assert_eq!(rig.until(ready, "", "").await.state, ProcedureState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_changes_no_status_and_a_parent_only_a_minors() {
    let rig = Rig::new().await;
    Registry::link(&rig, usize::MAX);
    let started = rig.start(Case::Suspension).await.unwrap();
    let ready = rig.until(started, "", "§6.1").await;
    for (applicant, paragraph) in [(Applicant::Delegate, "§6.1"), (Applicant::Parent, "§6.4.1")] {
        let refused = rig.answer(&ready, Answer::Applicant(applicant)).await.unwrap_err();
        assert_eq!(refused.paragraph(), Some(paragraph));
        assert!(refused.italian().is_some_and(|text| !text.is_empty()));
    }
    let ready = rig.answer(&ready, Answer::Applicant(Applicant::Guardian)).await.unwrap();
    assert_eq!(ready.next.as_ref().unwrap().paragraph, "§6.4.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_authority_the_status_is_neither_checked_nor_changed_and_that_is_said() {
    let rig = Rig::new().await;
    let refused = rig.start(Case::Suspension).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::NoStatusAuthority), "{refused:?}");
    let started = rig.start(Case::Standard).await.unwrap();
    assert!(started.warnings.iter().any(|warning| warning.contains("§9.3b")), "{:?}", started.warnings);
}
