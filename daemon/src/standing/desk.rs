//! Those who ask from outside for a card that need be in no reader: web area, call centre, counter, issuing body.
//!
//! Judged in this order: the role, the rule, the form, and only then who the holder is. So a caller without a right learns
//! nothing of cards and holders, and a wrong user code and an unknown holder are one answer, after one time.

mod proof;

use std::time::Duration;

use cns_protocol::Role;
use cns_protocol::certificate::{
    Act, CardStanding, CertificateStanding, ChangeRequest, Channel, Standing, Status,
};
use cns_protocol::counter::Case;
use cns_protocol::operator::Session;
use tokio::time::timeout;

use crate::authority::Signer;
use crate::holder::{HolderError, Holders};
use crate::procedure::officer::Officer;
use crate::procedure::random::hexadecimal;
use crate::procedure::status::{StatusChange, StatusError};
use crate::procedure::steps::case_rule;
use crate::procedure::{ProcedureError, clock, identified, identity};
use crate::reader::Readers;
use crate::standing::concern::is_for_ever;
use crate::standing::rules::{Proof, Rule, Verdict, needs_paper, proof_to_look, rule};
use crate::standing::{Order, StandingError, Standings};

/// For so long a caller waits for the authority; it is told on without them.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the operator does where requests are signed on their card (§7): the daemon by itself can tell nothing.
pub(crate) const ASK_AGAIN: &str =
    "nothing more is told without the operator's card: ask again with `operator_pin`";

/// Why somebody outside is refused.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The channel's role is missing.
    #[error("this needs the role `{}`", .0.name())]
    Role(Role),
    /// The caller has several of the roles, and did not say which one counts.
    #[error("the caller has several roles: `channel` must say in which one it asks")]
    WhichChannel,
    /// At a counter an operator must be at work.
    #[error("no operator is at work")]
    NoOperator,
    /// Something in the request is missing or has the wrong form.
    #[error("the request's `{0}` is missing or does not fit")]
    Invalid(&'static str),
    /// The user code is wrong, or there is no such holder.
    #[error("codice fiscale, user code and names do not belong together, or there is no such holder")]
    Unproven {
        /// The rule that asks for them.
        paragraph: &'static str,
    },
    /// Too many wrong user codes came before.
    #[error("not looked at: too many wrong user codes came before")]
    Locked,
    /// No certificates of such a card are known.
    #[error("no certificates of such a card are known here")]
    NotKnown,
    /// The holder has several cards.
    #[error("the holder has several cards: {}", .0.join(", "))]
    SeveralCards(Vec<String>),
    /// Each request is signed on an operator's card (§7), and none is there.
    #[error("the authority wants each request signed on an operator's card")]
    OnlyOperators,
    /// A rule of the manual, the operator's card, or what a procedure would say as well.
    #[error(transparent)]
    Procedure(#[from] ProcedureError),
    /// Inside.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// The judge of user codes.
    #[error(transparent)]
    Holder(#[from] HolderError),
}

/// Who asks.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// The Unix user.
    pub user: u32,
    /// Its roles.
    pub roles: &'a [Role],
    /// The operator at work for it.
    pub session: Option<&'a Session>,
}

/// Where those outside are judged and served.
pub struct Desk<'a> {
    /// The certificates.
    pub standings: &'a Standings,
    /// The judge of user codes.
    pub holders: &'a Holders,
    /// Where an operator's card is.
    pub readers: &'a Readers,
}

impl Desk<'_> {
    /// How the certificates of a card stand.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub async fn status(&self, caller: Caller<'_>, request: Status) -> Result<CardStanding, DeskError> {
        let channel = channel_of(caller, request.channel)?;
        if channel == Channel::Counter && caller.session.is_none() {
            return Err(DeskError::NoOperator);
        }
        let (proof, paragraph) = proof_to_look(channel);
        let asked = proof::Asked {
            card: request.card,
            codice_fiscale: request.codice_fiscale,
            names: None,
            user_code: request.user_code,
        };
        let card = self.card(caller, (proof, paragraph), asked).await?;
        self.standings.of_card(&card).await?.ok_or(DeskError::NotKnown)
    }

    /// Changes how all certificates of a card stand, or says which of them the authority was not told yet.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub async fn change(
        &self,
        caller: Caller<'_>,
        act: Act,
        mut request: ChangeRequest,
    ) -> Result<CardStanding, DeskError> {
        let channel = channel_of(caller, request.channel)?;
        let rule = rule(act, channel).ok_or(DeskError::Invalid("channel"))?;
        let (paragraph, proof) = (rule.paragraph, judge_rule(rule, act, &request)?);
        if channel == Channel::Counter {
            check_counter(caller, act)?;
        }
        check_form(act, channel, paragraph, &mut request)?;
        if !self.standings.has_authority() {
            return Err(ProcedureError::NoStatusAuthority.into());
        }
        let officer = self.officer(caller, channel, &mut request)?;
        let asked = proof::Asked {
            card: request.card.take(),
            codice_fiscale: request.codice_fiscale.take(),
            names: Some((request.surname.take(), request.name.take())),
            user_code: request.user_code.take(),
        };
        let card = self.card(caller, (proof, paragraph), asked).await?;
        let holder = self.standings.holder(&card).await?.ok_or(DeskError::NotKnown)?;
        let identified = match (channel, request.identified.take()) {
            (Channel::Counter, Some(identified)) => Some(identified::check(identified, &holder)?),
            (Channel::Counter, None) => return Err(DeskError::Invalid("identified")),
            (Channel::Web | Channel::CallCentre | Channel::IssuingBody, _) => None,
        };
        self.refuse_revoked(&card, act).await?;
        let order = Order {
            request: hexadecimal::<8>()?,
            card: card.clone(),
            change: change(act, &request)?,
            reason: request.reason,
            channel,
            paragraph,
            user: Some(caller.user),
            operator: caller
                .session
                .filter(|_| channel == Channel::Counter)
                .map(|session| session.operator.clone()),
            identified,
            paper: request.paper.take(),
        };
        let by_officer = officer.is_some();
        self.carry_out(order, officer).await?;
        if by_officer && self.standings.is_pending(&card).await? {
            let said = format!("it was not told of all certificates of the card; {ASK_AGAIN}");
            return Err(ProcedureError::Status(StatusError::Failed(said)).into());
        }
        self.standings.of_card(&card).await?.ok_or(DeskError::NotKnown)
    }

    /// Writes the order down and tells the authority, which may take longer than the caller waits.
    async fn carry_out(&self, order: Order, officer: Option<Officer>) -> Result<(), DeskError> {
        self.standings.ask(&order).await?;
        let standings = self.standings.clone();
        let telling = tokio::spawn(async move {
            let signer: Option<&dyn Signer> = match &officer {
                Some(officer) => Some(officer),
                None => None,
            };
            standings.deliver(&order, signer).await
        });
        match timeout(PATIENCE, telling).await {
            Ok(Ok(told)) => match told?.officer {
                Some(error) => Err(ProcedureError::Status(error).into()),
                None => Ok(()),
            },
            Ok(Err(_)) => Err(ProcedureError::Internal.into()),
            // It goes on.
            Err(_) => Ok(()),
        }
    }

    /// Revocation is final (§9.7).
    async fn refuse_revoked(&self, card: &str, act: Act) -> Result<(), DeskError> {
        let Some(standing) = self.standings.of_card(card).await? else { return Err(DeskError::NotKnown) };
        let for_ever = |one: &CertificateStanding| {
            let told = one.change.as_ref();
            told.is_some_and(|told| is_for_ever(one.standing, (told.act, told.state, told.said.as_deref())))
        };
        let refused = match act {
            Act::Suspend => standing.certificates.iter().all(for_ever),
            Act::Reactivate => standing.certificates.iter().all(|one| one.standing == Standing::Revoked),
            Act::Revoke => false,
        };
        if !refused {
            return Ok(());
        }
        Err(ProcedureError::rule(
            "§9.7",
            "the card is revoked for ever",
            "la carta è revocata definitivamente",
        )
        .hinting("The holder may ask for a new card", "Il titolare può richiedere una nuova carta")
        .into())
    }

    /// The operator's card, where the authority wants its signature.
    fn officer(
        &self,
        caller: Caller<'_>,
        channel: Channel,
        request: &mut ChangeRequest,
    ) -> Result<Option<Officer>, DeskError> {
        if !self.standings.wants_officer() {
            return Ok(None);
        }
        let Some(session) = caller.session.filter(|_| channel == Channel::Counter) else {
            return Err(DeskError::OnlyOperators);
        };
        let pin = request.operator_pin.take().ok_or(ProcedureError::OfficerPin)?;
        let officer = Officer::new(self.readers, &session.reader, pin.into_secret());
        Ok(Some(officer.map_err(|error| ProcedureError::Status(StatusError::Officer(error)))?))
    }
}

/// In which role a caller asks.
fn channel_of(caller: Caller<'_>, named: Option<Channel>) -> Result<Channel, DeskError> {
    if let Some(channel) = named {
        let has = caller.roles.contains(&channel.role());
        return if has { Ok(channel) } else { Err(DeskError::Role(channel.role())) };
    }
    let mut own = Channel::ALL.into_iter().filter(|channel| caller.roles.contains(&channel.role()));
    match (own.next(), own.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(DeskError::WhichChannel),
        (None, _) => Err(DeskError::Role(Role::Web)),
    }
}

/// What the manual's rule asks for, if it allows the act for the reason that is stated.
fn judge_rule(rule: &'static Rule, act: Act, request: &ChangeRequest) -> Result<Proof, ProcedureError> {
    let (proof, reasons, must_state) = match rule.verdict {
        Verdict::May { proof, reasons, must_state } => (proof, reasons, must_state),
        Verdict::MayNot { message, italian, hint } => {
            return Err(ProcedureError::rule(rule.paragraph, message, italian).hinting(hint.0, hint.1));
        }
    };
    match request.reason {
        None if must_state => Err(ProcedureError::rule(
            rule.paragraph,
            "the reason must be stated",
            "è necessario indicare il motivo",
        )),
        Some(reason) if !reasons.contains(&reason) && act != Act::Reactivate => Err(ProcedureError::rule(
            rule.paragraph,
            "this is no reason for which it may be asked here",
            "questo motivo non è ammesso in questo caso",
        )),
        None | Some(_) => Ok(proof),
    }
}

/// An operator must be at work, at a counter of a kind that may do this.
fn check_counter(caller: Caller<'_>, act: Act) -> Result<(), DeskError> {
    let session = caller.session.ok_or(DeskError::NoOperator)?;
    let case = match act {
        Act::Suspend => Case::Suspension,
        Act::Reactivate => Case::Reactivation,
        Act::Revoke => Case::Revocation,
    };
    match case_rule(case).closed_by(session.counter_kind) {
        None => Ok(()),
        Some(paragraph) => Err(ProcedureError::rule(
            paragraph,
            "this kind of counter does not serve this case",
            "questo tipo di sportello non tratta questo caso",
        )
        .into()),
    }
}

/// What must be in the request beside who asks and for whom; texts are trimmed.
fn check_form(
    act: Act,
    channel: Channel,
    paragraph: &'static str,
    request: &mut ChangeRequest,
) -> Result<(), ProcedureError> {
    if act == Act::Reactivate && !request.reason_gone {
        return Err(ProcedureError::rule(
            paragraph,
            "the holder must state that the reason for the suspension has gone",
            "il titolare deve dichiarare che sono venuti meno i motivi della sospensione",
        ));
    }
    let needed = needs_paper(act, channel, request.reason);
    request.paper = identity::check_collected(request.paper.as_ref(), needed, clock::today())?;
    Ok(())
}

fn change(act: Act, request: &ChangeRequest) -> Result<StatusChange, DeskError> {
    match act {
        Act::Suspend => Ok(StatusChange::Suspend(request.reason)),
        Act::Reactivate => Ok(StatusChange::Reactivate),
        Act::Revoke => Ok(StatusChange::Revoke(request.reason.ok_or(DeskError::Invalid("reason"))?)),
    }
}
