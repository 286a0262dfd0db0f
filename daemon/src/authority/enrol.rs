//! Enrolment: a certificate for a key that the chip made.
//!
//! One enrolment has one transactionID, however often its messages are sent: where an answer is lost, the same message
//! goes out again, and an authority that says that it knows the transaction is asked what became of it. A procedure that
//! begins again after a crash comes with the same transaction and the same key.

use std::time::{Duration, Instant, SystemTime};

use cns_protocol::card::Holder as CardHolder;
use crmf::request::CertReqMsg;
use der::{Decode, Encode};
use tokio::time::sleep;
use x509_cert::request::CertReq;

use crate::authority::cmp::{Enrolled, Received, Waiting};
use crate::authority::{
    Authority, AuthorityError, CmpClient, CmpError, Expected, Holder, IssuedCertificate, Profile, Signer,
    SignerError, checks,
};
use crate::config::RequestForm;
use crate::procedure::certifier::{Certifier, CertifierError, Enrolment};

/// How long to wait for an authority that does not say how long.
const POLL_PAUSE: u32 = 1;

impl Authority {
    /// Asks for the certificate of a request (PKCS#10 or CertReqMsg, DER), checks it, and tells the authority that it
    /// came, or that it is not wanted. An authority that wants time is polled for as long as is configured.
    ///
    /// A repetition with the same request and `transaction` brings the same certificate.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn certify(
        &self,
        request: &[u8],
        transaction: [u8; 16],
        expected: &Expected<'_>,
        officer: Option<&dyn Signer>,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let client = self.client(officer)?;
        let received = self.obtain(&client, request, transaction).await?;
        let verdict = checks::check_issued(
            &received.issued.der,
            expected.public_key,
            &expected.holder,
            self.anchors(),
            SystemTime::now(),
            expected.profile,
        );
        if !received.confirmed {
            let confirmation = client.cert_conf(&received, verdict.as_ref().err()).await;
            // Whether or not the authority can be told, a certificate that is refused here stays refused.
            match (&verdict, confirmation) {
                (Ok(()), confirmation) => {
                    let (message, sent) = confirmation?;
                    match client.read_pkiconf(&self.post(&message).await?, &sent) {
                        // The first confirmation had come, and its answer was lost.
                        Err(CmpError::Refused(refusal)) if refusal.names("certConfirmed") => {}
                        confirmed => confirmed?,
                    }
                }
                (Err(_), Ok((message, _))) => drop(self.post(&message).await),
                (Err(_), Err(error)) => tracing::warn!(%error, "the authority was not told of the refusal"),
            }
        }
        verdict?;
        Ok(received.issued)
    }

    async fn obtain(
        &self,
        client: &CmpClient<'_>,
        request: &[u8],
        transaction: [u8; 16],
    ) -> Result<Received, AuthorityError> {
        let until = Instant::now() + self.wait;
        let (message, sent) = client.request(request, transaction).await?;
        let mut enrolled = match client.read_certificate(&self.post(&message).await?, &sent) {
            Err(CmpError::Refused(refusal)) if refusal.names("transactionIdInUse") => {
                self.ask_again(client, &client.lost(&sent)).await?
            }
            enrolled => enrolled?,
        };
        let mut polled = false;
        loop {
            match enrolled {
                Enrolled::Certificate(received) => return Ok(*received),
                Enrolled::Waiting(waiting) => {
                    let pause = waiting.check_after.unwrap_or(POLL_PAUSE).max(POLL_PAUSE);
                    let pause_time = Duration::from_secs(pause.into());
                    if until.saturating_duration_since(Instant::now()) < pause_time {
                        return Err(CmpError::Waiting(waiting.check_after).into());
                    }
                    // The first pollReq right after "waiting" learns how long (RFC 9810 §5.3.22).
                    if polled || waiting.check_after.is_some() {
                        sleep(pause_time).await;
                    }
                    polled = true;
                    enrolled = self.ask_again(client, &waiting).await?;
                }
            }
        }
    }

    async fn ask_again(&self, client: &CmpClient<'_>, waiting: &Waiting) -> Result<Enrolled, AuthorityError> {
        let (message, sent) = client.poll(waiting).await?;
        Ok(client.read_certificate(&self.post(&message).await?, &sent)?)
    }
}

impl Certifier for Authority {
    fn form(&self) -> RequestForm {
        self.request
    }

    fn wants_officer(&self) -> bool {
        Authority::wants_officer(self)
    }

    fn enrol<'a>(
        &'a self,
        transaction: [u8; 16],
        request: Vec<u8>,
        officer: Option<&'a dyn Signer>,
    ) -> Enrolment<'a> {
        Box::pin(async move {
            let asked = Asked::read(&request).map_err(|error| CertifierError::Failed(error.to_string()))?;
            let expected = Expected {
                public_key: &asked.public_key,
                holder: asked.subject.holder(),
                profile: Profile::Signature,
            };
            match self.certify(&request, transaction, &expected, officer).await {
                Ok(issued) => Ok(issued.der),
                Err(AuthorityError::Certificate(fault)) => Err(CertifierError::Unfit(fault.to_string())),
                Err(error @ AuthorityError::Cmp(CmpError::Refused(_))) => {
                    Err(CertifierError::Refused(error.to_string()))
                }
                Err(AuthorityError::Cmp(CmpError::Signer(SignerError::Card(error)))) => {
                    Err(CertifierError::Officer(error))
                }
                Err(error) => Err(CertifierError::Failed(error.to_string())),
            }
        })
    }

    fn check(&self, certificate: &[u8], request: &[u8], holder: &CardHolder) -> Result<(), CertifierError> {
        let asked = Asked::read(request).map_err(|error| CertifierError::Unfit(error.to_string()))?;
        let holder = Holder {
            codice_fiscale: &holder.codice_fiscale,
            given_name: &holder.name,
            surname: &holder.surname,
        };
        let (key, now) = (&asked.public_key, SystemTime::now());
        checks::check_issued(certificate, key, &holder, self.anchors(), now, Profile::Signature)
            .map_err(|fault| CertifierError::Unfit(fault.to_string()))
    }
}

/// What a request asks for: the certificate must say the same before the authority is told that it is welcome.
struct Asked {
    public_key: Vec<u8>,
    subject: checks::Subject,
}

impl Asked {
    fn read(request: &[u8]) -> Result<Self, AuthorityError> {
        let (key, subject) = match CertReq::from_der(request) {
            Ok(pkcs10) => (Some(pkcs10.info.public_key), Some(pkcs10.info.subject)),
            Err(_) => {
                let template =
                    CertReqMsg::from_der(request).map_err(AuthorityError::Request)?.cert_req.cert_template;
                (template.subject_public_key_info, template.subject)
            }
        };
        let incomplete = || AuthorityError::Request(der::ErrorKind::Failed.into());
        let (key, subject) = (key.ok_or_else(incomplete)?, subject.ok_or_else(incomplete)?);
        Ok(Self {
            public_key: key.to_der().map_err(AuthorityError::Request)?,
            subject: checks::Subject::read(&subject),
        })
    }
}
