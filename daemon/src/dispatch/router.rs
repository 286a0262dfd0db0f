//! From a method's name to its handler: who may call it, in what kind of frame, and how its parameters are read.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use cns_protocol::frame::{Body, LockedWriter};
use cns_protocol::rpc::Request;
use cns_protocol::{ErrorKind, Method, RpcError};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::ProgressSender;
use crate::card::CardError;
use crate::judge::{Demand, Reason, Verdict, judge};
use crate::login::Logins;
use crate::operator::Session;
use crate::peer::Peer;

/// Who calls: one connection.
#[derive(Clone)]
pub struct Caller {
    /// The peer.
    pub peer: Arc<Peer>,
    /// The connection's logins.
    pub logins: Arc<Logins>,
    /// What ends with the connection.
    pub at_end: Arc<AtEnd>,
}

/// What is to be done when a connection ends.
#[derive(Default)]
pub struct AtEnd(Mutex<BTreeMap<String, Box<dyn FnOnce() + Send>>>);

impl AtEnd {
    /// Lets something be done, in place of what was to be done under this name.
    pub fn set(&self, name: String, what: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, Box::new(what));
    }

    /// Does it.
    pub fn run(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.into_values().for_each(|what| what());
    }
}

/// One request that was judged and may go on.
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// The operator session that the verdict counted on.
    pub session: Option<Session>,
    /// Where the work says how far it has come.
    pub progress: ProgressSender,
}

impl Call {
    /// The operator at work.
    ///
    /// # Errors
    /// When there is none; methods that demand one never see that.
    pub fn operator(&self) -> Result<&Session, RpcError> {
        self.session.as_ref().ok_or_else(no_operator)
    }
}

/// An answer as JSON.
pub enum Encoded {
    /// Without secrets.
    Plain(Box<RawValue>),
    /// With secrets, in locked memory.
    Locked(LockedWriter),
}

impl Encoded {
    fn of<M: Method>(answer: &M::Answer) -> Result<Self, RpcError> {
        let unwritable = || RpcError::new(ErrorKind::Internal, "the answer cannot be written");
        if !M::ANSWERS_SECRET {
            return to_raw_value(answer).map(Self::Plain).map_err(|_| unwritable());
        }
        let mut writer = LockedWriter::new().map_err(CardError::Memory)?;
        serde_json::to_writer(&mut writer, answer).map_err(|_| unwritable())?;
        Ok(Self::Locked(writer))
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(raw) => raw.serialize(serializer),
            Self::Locked(writer) => {
                let raw: &RawValue = serde_json::from_slice(writer.written()).map_err(S::Error::custom)?;
                raw.serialize(serializer)
            }
        }
    }
}

/// The work that a request asks for; it owns all that it needs, so that it outlives its client.
pub type Work = Pin<Box<dyn Future<Output = Result<Encoded, RpcError>> + Send>>;

/// What becomes of a request's work when its client goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnHangUp {
    /// It is finished: a card is never left between intention and outcome.
    Finish,
    /// It is dropped: it only waits.
    Drop,
}

/// Work that may begin.
pub struct Begun {
    /// The work.
    pub work: Work,
    /// What becomes of it when its client goes away.
    pub on_hang_up: OnHangUp,
}

/// Reads a request's parameters and makes the work of them.
type Begin = Box<dyn Fn(Call, &Request<'_>) -> Result<Work, RpcError> + Send + Sync>;

struct Route {
    demand: Demand,
    carries_secret: bool,
    on_hang_up: OnHangUp,
    begin: Begin,
}

/// Where open operator sessions are looked up, by Unix user.
pub type Sessions = Box<dyn Fn(u32) -> Option<Session> + Send + Sync>;

/// Every method with its handler.
pub struct Router {
    routes: BTreeMap<&'static str, Route>,
    sessions: Sessions,
}

impl Router {
    /// A router without methods.
    #[must_use]
    pub fn new(sessions: Sessions) -> Self {
        Self { routes: BTreeMap::new(), sessions }
    }

    /// Adds a method: its name, role and parameters are those of the handler's request type.
    pub fn add<D, M, F, W>(&mut self, daemon: &Arc<D>, handler: F)
    where
        D: Send + Sync + 'static,
        M: Method + Send + 'static,
        F: Fn(Arc<D>, Call, M) -> W + Send + Sync + 'static,
        W: Future<Output = Result<M::Answer, RpcError>> + Send + 'static,
    {
        self.insert(daemon, OnHangUp::Finish, handler);
    }

    /// Adds a method that only waits.
    pub fn add_waiting<D, M, F, W>(&mut self, daemon: &Arc<D>, handler: F)
    where
        D: Send + Sync + 'static,
        M: Method + Send + 'static,
        F: Fn(Arc<D>, Call, M) -> W + Send + Sync + 'static,
        W: Future<Output = Result<M::Answer, RpcError>> + Send + 'static,
    {
        self.insert(daemon, OnHangUp::Drop, handler);
    }

    fn insert<D, M, F, W>(&mut self, daemon: &Arc<D>, on_hang_up: OnHangUp, handler: F)
    where
        D: Send + Sync + 'static,
        M: Method + Send + 'static,
        F: Fn(Arc<D>, Call, M) -> W + Send + Sync + 'static,
        W: Future<Output = Result<M::Answer, RpcError>> + Send + 'static,
    {
        let daemon = Arc::clone(daemon);
        let begin = move |call: Call, request: &Request<'_>| -> Result<Work, RpcError> {
            let answer = handler(Arc::clone(&daemon), call, request.params::<M>()?);
            Ok(Box::pin(async move { Encoded::of::<M>(&answer.await?) }))
        };
        let route = Route {
            demand: Demand::of::<M>(),
            carries_secret: M::CARRIES_SECRET,
            on_hang_up,
            begin: Box::new(begin),
        };
        self.routes.insert(M::NAME, route);
    }

    /// The names of all methods, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.routes.keys().copied()
    }

    /// What a method demands of its caller.
    #[must_use]
    pub fn demand(&self, name: &str) -> Option<Demand> {
        self.routes.get(name).map(|route| route.demand)
    }

    /// Judges a request and reads its parameters; `body` is the frame that it came in.
    ///
    /// # Errors
    /// When there is no such method, the peer may not call it, or the parameters do not fit.
    pub fn begin(
        &self,
        caller: &Caller,
        body: &Body,
        request: &Request<'_>,
        progress: ProgressSender,
    ) -> Result<Begun, RpcError> {
        let Some((_, route)) = self.routes.get_key_value(request.method.as_ref()) else {
            return Err(RpcError::new(ErrorKind::MethodNotFound, "no such method")
                .hint("`rpc.discover` lists the methods of this daemon"));
        };
        let session = (self.sessions)(caller.peer.uid);
        match judge(&caller.peer, route.demand, session.as_ref()) {
            Verdict::Allow => {}
            Verdict::Refuse(reason) => return Err(refusal(reason)),
        }
        if route.carries_secret && matches!(body, Body::Bulk(_)) {
            let sentence = "a request that can carry a PIN must fit in locked memory: its frame is too large";
            return Err(RpcError::new(ErrorKind::InvalidRequest, sentence));
        }
        let call = Call { caller: caller.clone(), session, progress };
        Ok(Begun { work: (route.begin)(call, request)?, on_hang_up: route.on_hang_up })
    }
}

fn refusal(reason: Reason) -> RpcError {
    match reason {
        Reason::Role(role) => {
            RpcError::new(ErrorKind::Forbidden, format!("this needs the role `{}`", role.name()))
                .hint("The administrator gives roles to users and groups under [[access]] in cnsd.toml")
        }
        Reason::NoOperator => no_operator(),
    }
}

fn no_operator() -> RpcError {
    RpcError::new(ErrorKind::NoOperator, "no operator is at work")
        .hint("Log in with the operator's smart card first (`operator.login`)")
        .paragraph("§9.3.2-2")
        .italian("Nessun operatore è autenticato. Autenticarsi con la propria smart card di operatore")
}

#[cfg(test)]
mod tests {
    use cns_protocol::pin::{Done, Logout, Verify};
    use cns_protocol::{Role, counter};

    use super::*;

    fn caller(roles: &[Role]) -> Caller {
        let peer = Peer { uid: 1000, gids: Vec::new(), roles: roles.to_vec() };
        Caller { peer: Arc::new(peer), logins: Arc::default(), at_end: Arc::default() }
    }

    fn router() -> Router {
        let mut router = Router::new(Box::new(|_| None));
        let daemon = Arc::new(());
        router.add(&daemon, async |_, _, _: Verify| Ok(Done {}));
        router.add(&daemon, async |_, _, _: Logout| Ok(Done {}));
        router.add(&daemon, async |_, _, _: counter::List| Ok(Vec::new()));
        router
    }

    fn begin(router: &Router, text: &str, roles: &[Role]) -> Result<Begun, ErrorKind> {
        let mut body = Body::zeroed(text.len()).unwrap();
        body.bytes_mut().copy_from_slice(text.as_bytes());
        let request = Request::read(body.bytes()).map_err(|error| error.kind)?;
        router.begin(&caller(roles), &body, &request, ProgressSender::nobody()).map_err(|error| error.kind)
    }

    fn request(method: &str, params: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
    }

    #[test]
    fn requests_are_judged_before_their_parameters_are_read() {
        let router = router();
        let verify = request("pin.verify", r#"{"reader":"r","pin":"12345"}"#);
        assert!(begin(&router, &verify, &[Role::User]).is_ok());
        assert_eq!(begin(&router, &verify, &[]).err(), Some(ErrorKind::Forbidden));
        assert_eq!(begin(&router, &request("pin.verify", "[]"), &[]).err(), Some(ErrorKind::Forbidden));
        assert_eq!(
            begin(&router, &request("pin.verify", "[]"), &[Role::User]).err(),
            Some(ErrorKind::InvalidParams)
        );
        assert_eq!(
            begin(&router, &request("pin.guess", "{}"), &[Role::User]).err(),
            Some(ErrorKind::MethodNotFound)
        );
        assert_eq!(
            begin(&router, &request("counter.list", "{}"), &[Role::Counter]).err(),
            Some(ErrorKind::NoOperator)
        );
    }

    #[test]
    fn a_pin_in_a_frame_outside_locked_memory_is_refused() {
        let router = router();
        let padding = " ".repeat(cns_protocol::frame::MAX_LOCKED_BODY);
        let verify = request("pin.verify", &format!(r#"{{{padding}"reader":"r","pin":"12345"}}"#));
        assert_eq!(begin(&router, &verify, &[Role::User]).err(), Some(ErrorKind::InvalidRequest));
        let logout = request("pin.logout", &format!(r#"{{{padding}"reader":"r"}}"#));
        assert!(begin(&router, &logout, &[Role::User]).is_ok(), "no secret, no limit but the frame's");
    }
}
