//! A procedure at the counter: begun, answered, looked at, given up.

use std::time::Duration;

use cns_protocol::SecretText;
use cns_protocol::counter::{
    Answer, AnswerStep, Cancel, Case, Procedure, ProcedureState, Show, Start, Wants,
};
use cnsd::dispatch::ProgressSender;
use cnsd::procedure::ProcedureError;

use super::{Rig, UID, WAIT, secret, session, usual_answer};

impl Rig {
    /// The CMP transaction of the procedure that is open.
    pub async fn transaction(&self) -> String {
        let query = sqlx::query_as::<_, (String,)>("SELECT intent FROM procedures WHERE intent IS NOT NULL");
        let (intent,) = query.fetch_one(self.rooms().database.pool()).await.unwrap();
        let intent: serde_json::Value = serde_json::from_str(&intent).unwrap();
        intent["transaction"].as_str().unwrap().to_owned()
    }

    pub async fn start(&self, case: Case) -> Result<Procedure, ProcedureError> {
        self.start_as("op1", case).await
    }

    pub async fn start_as(&self, operator: &str, case: Case) -> Result<Procedure, ProcedureError> {
        let start = Start { reader: self.reader.clone(), case };
        self.rooms().procedures.start(UID, &session(operator), start).await
    }

    /// Answers a procedure's next step.
    pub async fn answer(&self, procedure: &Procedure, answer: Answer) -> Result<Procedure, ProcedureError> {
        let paragraph = procedure.next.as_ref().unwrap().paragraph.clone();
        self.answer_with(procedure, &paragraph, answer, None).await
    }

    pub async fn answer_with(
        &self,
        procedure: &Procedure,
        paragraph: &str,
        answer: Answer,
        pin: Option<&[u8]>,
    ) -> Result<Procedure, ProcedureError> {
        // The signature PIN is the card's at first (X1).
        let both = procedure.next.as_ref().is_some_and(|step| step.wants == Wants::Pins);
        self.answer_with_pins(procedure, paragraph, answer, [pin, pin.filter(|_| both)]).await
    }

    /// As [`Rig::answer_with`], with the card's PIN and the signature PIN.
    pub async fn answer_with_pins(
        &self,
        procedure: &Procedure,
        paragraph: &str,
        answer: Answer,
        pins: [Option<&[u8]>; 2],
    ) -> Result<Procedure, ProcedureError> {
        let [pin, signature_pin] = pins.map(|pin| pin.map(|pin| SecretText::new(secret(pin)).unwrap()));
        let step = AnswerStep {
            procedure: procedure.id.clone(),
            paragraph: paragraph.to_owned(),
            answer,
            pin,
            signature_pin,
            operator_pin: None,
        };
        self.rooms().procedures.answer(UID, &session("op1"), step, ProgressSender::nobody()).await
    }

    /// Answers as a citizen whom all is well with would have it, up to a step or to the end.
    pub async fn until(&self, mut procedure: Procedure, code: &str, paragraph: &str) -> Procedure {
        while let Some(step) = procedure.next.clone().filter(|step| step.paragraph != paragraph) {
            let answer = usual_answer(&step, code, self.wants_signature);
            procedure = self.answer(&procedure, answer).await.unwrap();
        }
        procedure
    }

    pub async fn show(&self, procedure: &Procedure) -> Procedure {
        self.rooms().procedures.show(&Show { procedure: procedure.id.clone() }).await.unwrap()
    }

    /// Changes what the database has of a procedure, as another program or a power cut would have left it.
    pub async fn rewrite(&self, id: &str, from: &str, to: &str) {
        let changed = sqlx::query(
            "UPDATE procedures SET document = replace(document, $2, $3) WHERE id = $1 AND document <> replace(document, $2, $3)",
        )
        .bind(id)
        .bind(from)
        .bind(to)
        .execute(self.rooms().database.pool())
        .await
        .unwrap();
        assert_eq!(changed.rows_affected(), 1, "{from}");
    }

    pub async fn cancel(&self, procedure: &Procedure) -> Result<Procedure, ProcedureError> {
        let cancel = Cancel { procedure: procedure.id.clone() };
        self.rooms().procedures.cancel(UID, &session("op1"), &cancel).await
    }

    /// Waits until a procedure is as a test wants it.
    pub async fn settled(&self, procedure: &Procedure) -> Procedure {
        let ends = tokio::time::Instant::now() + WAIT;
        loop {
            let now = self.show(procedure).await;
            if now.state != ProcedureState::Unsettled {
                return now;
            }
            assert!(tokio::time::Instant::now() < ends, "never settled: {now:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
