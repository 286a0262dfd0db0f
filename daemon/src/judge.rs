//! Whether a peer may call a method: a pure verdict, before anything is done.

use cns_protocol::{Method, Role};

use crate::operator::Session;
use crate::peer::Peer;

/// What a method demands of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// The role.
    pub role: Role,
    /// Other roles, each of which does as well.
    pub others: &'static [Role],
    /// The operator session.
    pub operator: OperatorDemand,
}

/// Whether a method needs an operator at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorDemand {
    /// No.
    None,
    /// An open session of the same Unix user (§9.3.2-2).
    Session,
}

impl Demand {
    /// The demand of a method. Counter work needs an operator at work; the operator's own methods open the session.
    #[must_use]
    pub fn of<M: Method>() -> Self {
        let operator = match M::ROLE {
            Role::Counter if !M::NAME.starts_with("operator.") => OperatorDemand::Session,
            Role::Counter
            | Role::User
            | Role::Custodian
            | Role::Auditor
            | Role::Admin
            | Role::Web
            | Role::CallCentre
            | Role::IssuingBody
            | Role::NationalSystem => OperatorDemand::None,
        };
        Self { role: M::ROLE, others: M::OTHER_ROLES, operator }
    }
}

/// The verdict on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Refuse, and say why.
    Refuse(Reason),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The peer lacks this role.
    Role(Role),
    /// No operator is at work.
    NoOperator,
}

/// Judges a request: the role first, so that a stranger does not learn whether an operator is at work.
pub fn judge(peer: &Peer, demand: Demand, session: Option<&Session>) -> Verdict {
    if !peer.has(demand.role) && !demand.others.iter().any(|role| peer.has(*role)) {
        return Verdict::Refuse(Reason::Role(demand.role));
    }
    match (demand.operator, session) {
        (OperatorDemand::None, _) | (OperatorDemand::Session, Some(_)) => Verdict::Allow,
        (OperatorDemand::Session, None) => Verdict::Refuse(Reason::NoOperator),
    }
}

#[cfg(test)]
mod tests {
    use cns_protocol::operator::CounterKind;
    use cns_protocol::{
        audit, card, certificate, counter, custody, daemon, holder, key, key_pair, operator, order, pin,
        reader,
    };

    use super::*;

    fn peer(roles: &[Role]) -> Peer {
        Peer { uid: 1000, gids: vec![1000], roles: roles.to_vec() }
    }

    fn session() -> Session {
        Session {
            operator: "op1".into(),
            name: "Anna Serra".into(),
            counter: "Sportello 1".into(),
            counter_kind: CounterKind::HealthAuthority,
            reader: "vpcd:operator".into(),
            expires: "2026-01-01T00:00:00Z".into(),
            warning: None,
        }
    }

    #[test]
    fn the_table() {
        use Role::{Admin, Auditor, Counter, Custodian, User};
        let allow = Verdict::Allow;
        let lacks = |role| Verdict::Refuse(Reason::Role(role));
        let staff: &[Role] = &[User, Counter];
        #[rustfmt::skip]
        let table: &[(&[Role], Demand, bool, Verdict)] = &[
            (&[],          Demand::of::<daemon::Status>(),      false, lacks(User)),
            (&[User],      Demand::of::<daemon::Status>(),      false, allow),
            (&[User],      Demand::of::<reader::List>(),        false, allow),
            (&[User],      Demand::of::<card::Show>(),          false, allow),
            (&[User],      Demand::of::<card::Report>(),        false, allow),
            (&[User],      Demand::of::<card::Trace>(),         false, lacks(Admin)),
            (&[Admin],     Demand::of::<card::Trace>(),         false, allow),
            (&[User],      Demand::of::<pin::Verify>(),         false, allow),
            (&[User],      Demand::of::<key::Sign>(),           false, allow),
            (&[Counter],   Demand::of::<key::Sign>(),           true,  lacks(User)),
            (&[User],      Demand::of::<operator::Login>(),     false, lacks(Counter)),
            (staff,        Demand::of::<operator::Login>(),     false, allow),
            (staff,        Demand::of::<operator::Logout>(),    false, allow),
            (staff,        Demand::of::<operator::Status>(),    false, allow),
            (&[User],      Demand::of::<key_pair::GenerateKey>(), true, lacks(Counter)),
            (staff,        Demand::of::<key_pair::GenerateKey>(), true, allow),
            (&[User],      Demand::of::<key_pair::LoadCertificate>(), true, lacks(Counter)),
            (&[User],      Demand::of::<counter::RemoveSignature>(), true, lacks(Counter)),
            (staff,        Demand::of::<custody::Import>(),     true,  lacks(Custodian)),
            (&[Custodian], Demand::of::<custody::Import>(),     false, allow),
            (&[Custodian], Demand::of::<custody::Assign>(),     false, allow),
            (&[Custodian], Demand::of::<custody::AssignEnvelopes>(), false, allow),
            (staff,        Demand::of::<custody::AssignEnvelopes>(), true,  lacks(Custodian)),
            (&[Custodian], Demand::of::<custody::ReturnEnvelopes>(), false, allow),
            (staff,        Demand::of::<custody::ReturnEnvelopes>(), true,  allow),
            (&[User],      Demand::of::<custody::ReturnEnvelopes>(), true,  lacks(Custodian)),
            (staff,        Demand::of::<custody::VoidEnvelopes>(), true,  allow),
            (&[User],      Demand::of::<custody::VoidEnvelopes>(), true,  lacks(Custodian)),
            (&[Admin],     Demand::of::<custody::DecideVoid>(), true,  lacks(Custodian)),
            (staff,        Demand::of::<custody::DecideVoid>(), true,  allow),
            (&[Auditor],   Demand::of::<custody::VoidRequests>(), false, lacks(Custodian)),
            (staff,        Demand::of::<custody::ShowEnvelope>(), true,  lacks(Custodian)),
            (&[Custodian], Demand::of::<custody::EnvelopeChoices>(), false, lacks(Auditor)),
            (&[Custodian], Demand::of::<audit::List>(),         false, lacks(Auditor)),
            (&[Auditor],   Demand::of::<audit::List>(),         false, allow),
            (&[Auditor],   Demand::of::<custody::Stock>(),      false, lacks(Custodian)),
            (&[Custodian], Demand::of::<custody::RotateKey>(),  false, lacks(Admin)),
            (&[Admin],     Demand::of::<custody::RotateKey>(),  false, allow),
            (&[Admin],     Demand::of::<custody::DecideRotation>(), false, allow),
            (&[Custodian], Demand::of::<custody::DecideRotation>(), false, allow),
            (staff,        Demand::of::<custody::DecideRotation>(), true,  lacks(Admin)),
            (&[Custodian], Demand::of::<custody::RotationRequests>(), false, allow),
            (&[Auditor],   Demand::of::<custody::RotationRequests>(), false, lacks(Admin)),
            (&[Custodian], Demand::of::<custody::Keys>(),       false, lacks(Admin)),
            (&[Custodian], Demand::of::<custody::Verify>(),     false, lacks(Admin)),
            (&[Custodian], Demand::of::<custody::Backup>(),     false, lacks(Admin)),
            (staff,        Demand::of::<custody::Erase>(),      true,  lacks(Custodian)),
            (&[Admin],     Demand::of::<custody::Erase>(),      false, lacks(Custodian)),
            (&[Custodian], Demand::of::<custody::Erase>(),      false, allow),
            (&[Admin],     Demand::of::<audit::Verify>(),       false, lacks(Auditor)),
            (&[Auditor],   Demand::of::<audit::Rotate>(),       false, lacks(Admin)),
            (&[Admin],     Demand::of::<audit::Rotate>(),       false, allow),
        ];
        check(table);
    }

    #[test]
    fn the_table_of_systems_outside() {
        use Role::{Admin, CallCentre, Counter, Custodian, IssuingBody, User, Web};
        let (allow, no_operator) = (Verdict::Allow, Verdict::Refuse(Reason::NoOperator));
        let lacks = |role| Verdict::Refuse(Reason::Role(role));
        let staff: &[Role] = &[User, Counter];
        #[rustfmt::skip]
        check(&[
            (staff,        Demand::of::<order::Execute>(),      false, no_operator),
            (staff,        Demand::of::<order::Execute>(),      true,  allow),
            (&[User],      Demand::of::<order::Receipt>(),      true,  lacks(Counter)),
            (&[Admin],     Demand::of::<order::Certificates>(), false, allow),
            (&[User],      Demand::of::<order::Certificates>(), false, lacks(Custodian)),
            (&[Web],        Demand::of::<holder::VerifyUserCode>(), false, allow),
            (&[CallCentre], Demand::of::<holder::VerifyUserCode>(), false, allow),
            (staff,        Demand::of::<holder::VerifyUserCode>(), true, lacks(Web)),
            (&[Web],        Demand::of::<certificate::Suspend>(), false, allow),
            (&[CallCentre], Demand::of::<certificate::Suspend>(), false, allow),
            (&[IssuingBody], Demand::of::<certificate::Revoke>(), false, allow),
            // Whether an operator is at work is asked where the caller acts as a counter.
            (staff,        Demand::of::<certificate::Revoke>(), false, allow),
            (&[User],      Demand::of::<certificate::Status>(), true, lacks(Web)),
            (&[User, Custodian, Admin], Demand::of::<certificate::Suspend>(), true, lacks(Web)),
        ]);
    }

    #[test]
    fn the_table_of_the_counter() {
        use Role::{Admin, Counter, User};
        let (allow, no_operator) = (Verdict::Allow, Verdict::Refuse(Reason::NoOperator));
        let lacks = |role| Verdict::Refuse(Reason::Role(role));
        let staff: &[Role] = &[User, Counter];
        #[rustfmt::skip]
        let table: &[(&[Role], Demand, bool, Verdict)] = &[
            (&[User],      Demand::of::<counter::Start>(),      true,  lacks(Counter)),
            (&[Admin],     Demand::of::<counter::Start>(),      true,  lacks(Counter)),
            (staff,        Demand::of::<counter::Start>(),      false, no_operator),
            (staff,        Demand::of::<counter::Start>(),      true,  allow),
            (staff,        Demand::of::<counter::AnswerStep>(), false, no_operator),
            (staff,        Demand::of::<counter::AnswerStep>(), true,  allow),
            (staff,        Demand::of::<counter::Show>(),       false, no_operator),
            (staff,        Demand::of::<counter::List>(),       false, no_operator),
            (staff,        Demand::of::<counter::Cancel>(),     false, no_operator),
            (staff,        Demand::of::<counter::Next>(),       false, no_operator),
            (staff,        Demand::of::<counter::Sheet>(),      false, no_operator),
            (staff,        Demand::of::<counter::Cases>(),      false, no_operator),
            (staff,        Demand::of::<key_pair::GenerateKey>(), false, no_operator),
            (staff,        Demand::of::<key_pair::LoadCertificate>(), false, no_operator),
            (staff,        Demand::of::<counter::RemoveSignature>(), false, no_operator),
            (staff,        Demand::of::<counter::Cases>(),      true,  allow),
        ];
        check(table);
    }

    fn check(table: &[(&[Role], Demand, bool, Verdict)]) {
        let open = session();
        for (row, (roles, demand, at_work, expected)) in table.iter().enumerate() {
            let verdict = judge(&peer(roles), *demand, at_work.then_some(&open));
            assert_eq!(verdict, *expected, "row {row}: {roles:?}, {demand:?}");
        }
    }
}
