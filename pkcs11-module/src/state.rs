//! What lives from `C_Initialize` to `C_Finalize`: slots, sessions, and what the daemon last told.
//!
//! No lock is held while the daemon works with a card, but for that of the one connection that waits for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cns_protocol::Role;
use cns_protocol::daemon::Status;
use cns_protocol::pin;
use cns_protocol::reader::{Reader, Readers};
use cns_protocol::watch::{Watch, Watcher};
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE, CK_SLOT_ID};

use crate::daemon::{CallError, KNOWN, Link};
use crate::error::Error;
use crate::ffi::application_lock::{ApplicationLock, Turn};
use crate::object::Object;
use crate::session::Session;
use crate::token::{Change, Handles, Slot, Token};

/// The initialised module.
pub(crate) struct Module {
    socket: PathBuf,
    /// The connection for questions about all readers.
    questions: Mutex<Link>,
    /// How often the daemon was waited for in vain.
    vain: AtomicU64,
    /// Tells whether an answer would be another than the last. Never held while the daemon is reached.
    watch: Mutex<Option<Watch>>,
    tables: Mutex<Tables>,
    closed: AtomicBool,
    /// The application's own lock, where it allows no other.
    turns: Option<ApplicationLock>,
}

/// The slots and sessions.
#[derive(Default)]
pub(crate) struct Tables {
    slots: Vec<Slot>,
    sessions: BTreeMap<CK_SESSION_HANDLE, Session>,
    last_session: CK_SESSION_HANDLE,
    handles: Handles,
    told: Told,
    /// Whether this process is a counter's, as the daemon told over a connection.
    counter: Option<(u64, bool)>,
    /// Whether the slots were counted and are about to be fetched (PKCS#11 v2.40 §5.5 `C_GetSlotList`).
    pub(crate) counted: bool,
}

/// The newest answer about the readers: of which connection, of which daemon, and its change counter.
#[derive(Default, PartialEq, Eq)]
struct Told {
    epoch: u64,
    instance: String,
    change: u64,
}

/// Which card to work with, and through which connection.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) slot: CK_SLOT_ID,
    pub(crate) reader: String,
    pub(crate) insertion: u64,
    pub(crate) link: Arc<Mutex<Link>>,
}

impl Module {
    /// A module that asked the daemon nothing yet. `readers` are those that had slots before.
    pub(crate) fn new(socket: PathBuf, readers: &[String], turns: Option<ApplicationLock>) -> Self {
        let slots = readers.iter().map(|reader| Slot::new(reader, &socket)).collect();
        Self {
            questions: Mutex::new(Link::new(&socket)),
            vain: AtomicU64::new(0),
            watch: Mutex::new(None),
            tables: Mutex::new(Tables { slots, ..Tables::default() }),
            closed: AtomicBool::new(false),
            turns,
            socket,
        }
    }

    /// Waits until no other call of the application is under way, where its own lock is the only one that may be used.
    pub(crate) fn turn(&self) -> Result<Option<Turn<'_>>, Error> {
        self.turns.as_ref().map(ApplicationLock::turn).transpose()
    }

    /// The daemon's socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The readers in the order of their slots.
    pub(crate) fn reader_names(&self) -> Vec<String> {
        self.tables().slots.iter().map(|slot| slot.reader.clone()).collect()
    }

    /// The slots and sessions. Not to be held during a call to the daemon.
    pub(crate) fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }

    /// Asks the daemon about all readers and brings the slots up to date. Without a daemon all slots are empty; one that
    /// does not answer in time says nothing about them.
    pub(crate) fn refresh(&self) -> Result<(), Error> {
        let vain = self.vain.load(Ordering::Acquire);
        let mut questions = lock(&self.questions);
        if self.vain.load(Ordering::Acquire) != vain {
            // Another thread has found out meanwhile. Each waiting its own time, the last would wait for ever.
            return Err(Error::DeviceError);
        }
        let answer = questions.readers();
        if matches!(answer, Err(CallError::Late)) {
            self.vain.fetch_add(1, Ordering::AcqRel);
        }
        let epoch = questions.epoch();
        drop(questions);
        self.learn(epoch, answer)
    }

    /// As [`Module::refresh`], but asks only when the daemon has something new to tell, has gone, or a minute is over.
    fn refresh_if_changed(&self) -> Result<(), Error> {
        {
            let mut watch = lock(&self.watch);
            if watch.as_mut().is_some_and(Watch::is_silent) {
                return Ok(());
            }
            *watch = None;
        }
        // Not under the lock: a daemon that does not take the connection would keep every thread waiting, also those
        // that come when another one has found out.
        let watcher = Watcher::connect(&self.socket);
        self.refresh()?;
        // Where the daemon takes no more connections it is asked each time.
        let watching = watcher.and_then(|watcher| watcher.watch(self.tables().change(), KNOWN)).ok();
        *lock(&self.watch) = watching;
        Ok(())
    }

    /// Takes over an answer about all readers.
    pub(crate) fn learn(&self, epoch: u64, answer: Result<Readers, CallError>) -> Result<(), Error> {
        match answer {
            Ok(readers) => self.tables().update(&self.socket, epoch, readers),
            Err(CallError::Absent) => self.tables().vacate(&self.socket),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether the daemon takes this process for a counter's, which may have keys made. Asked once for each connection.
    pub(crate) fn is_counter(&self) -> bool {
        let mut questions = lock(&self.questions);
        let known = self.tables().counter.filter(|(epoch, _)| *epoch == questions.epoch());
        if let Some((_, is_counter)) = known {
            return is_counter;
        }
        let status = questions.work(&Status {});
        let is_counter = status.is_ok_and(|status| status.roles.contains(&Role::Counter));
        self.tables().counter = Some((questions.epoch(), is_counter));
        is_counter
    }

    /// Brings the slots up to date for a call on a session that needs no card: mostly without asking the daemon.
    pub(crate) fn refresh_session(&self, handle: CK_SESSION_HANDLE) -> Result<(), Error> {
        self.tables().session(handle)?;
        self.refresh_if_changed()?;
        if self.tables().session(handle).is_err() { Err(Error::DeviceRemoved) } else { Ok(()) }
    }

    /// Ends the login of a slot's connection, whether or not the daemon can still be told.
    pub(crate) fn log_out(place: &Place) {
        Self::log_out_on(&mut lock(&place.link), place);
    }

    /// The same for who holds the connection already.
    pub(crate) fn log_out_on(link: &mut Link, place: &Place) {
        if link.is_open() {
            // Closing the connection ends the login as well: the call only makes sure that it has ended on return.
            drop(link.tell(&pin::Logout { reader: place.reader.clone() }));
            link.close();
        }
    }

    /// What a failed call means for the state here, and to the application.
    pub(crate) fn failed(&self, place: &Place, error: CallError) -> Error {
        let lost_connection = error.lost_connection();
        let error = Error::from(error);
        if lost_connection || error == Error::UserNotLoggedIn {
            let mut tables = self.tables();
            if let Ok(token) = tables.token_at(place) {
                token.lose_login();
                tables.sessions_of(place.slot).for_each(Session::lose_login);
            }
        }
        if error == Error::DeviceRemoved {
            // The slots learn of it now; if the daemon fails meanwhile, the next call finds out.
            self.refresh().unwrap_or_default();
        }
        error
    }

    /// Whether `C_Finalize` was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// `C_Finalize`: ends all sessions and logins.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let places = {
            let mut tables = self.tables();
            tables.sessions.clear();
            let slots = CK_SLOT_ID::try_from(tables.slots.len()).unwrap_or(0);
            (0..slots).filter_map(|slot| tables.end_login(slot)).collect::<Vec<_>>()
        };
        places.iter().for_each(Self::log_out);
    }

    /// Closes this process's connections, or its copies of them in a child of the process that opened them, without
    /// waiting for anybody.
    pub(crate) fn abandon(&self) {
        if let Some(turns) = &self.turns {
            turns.abandon();
        }
        if let Ok(mut watch) = self.watch.try_lock() {
            *watch = None;
        }
        if let Ok(mut questions) = self.questions.try_lock() {
            questions.close();
        }
        if let Ok(tables) = self.tables.try_lock() {
            for slot in &tables.slots {
                if let Ok(mut link) = slot.link.try_lock() {
                    link.close();
                }
            }
        }
    }
}

impl Tables {
    /// Takes over the daemon's list.
    fn update(&mut self, socket: &Path, epoch: u64, readers: Readers) {
        let restarted = readers.instance != self.told.instance;
        if epoch < self.told.epoch || (!restarted && readers.change < self.told.change) {
            return; // another thread's answer is newer
        }
        // The first answer tells what is there, not what happened.
        let is_first = self.told == Told::default();
        self.told = Told { epoch, instance: readers.instance, change: readers.change };
        let mut listed: BTreeMap<String, Reader> = BTreeMap::new();
        for reader in readers.readers {
            if !self.slots.iter().any(|slot| slot.reader == reader.name) {
                self.slots.push(Slot::new(&reader.name, socket));
            }
            listed.insert(reader.name.clone(), reader);
        }
        let Self { slots, sessions, handles, .. } = self;
        for (slot, id) in slots.iter_mut().zip(0..) {
            if restarted {
                slot.reconnect(socket);
            }
            let change = match listed.remove(&slot.reader) {
                Some(reader) => slot.update(reader, restarted, handles),
                None => slot.vacate(handles),
            };
            if change == Change::Replaced {
                sessions.retain(|_, session| session.slot != id);
            } else if restarted {
                sessions.values_mut().filter(|session| session.slot == id).for_each(Session::lose_login);
            }
            slot.event &= !is_first;
        }
    }

    /// There is no daemon: nothing is in any slot.
    fn vacate(&mut self, socket: &Path) {
        let Self { slots, sessions, handles, .. } = self;
        for (slot, id) in slots.iter_mut().zip(0..) {
            slot.reconnect(socket);
            if slot.vacate(handles) == Change::Replaced {
                sessions.retain(|_, session| session.slot != id);
            }
        }
    }

    /// The change counter of the newest answer.
    pub(crate) fn change(&self) -> u64 {
        self.told.change
    }

    /// All slots with their numbers.
    pub(crate) fn slots(&mut self) -> impl Iterator<Item = (CK_SLOT_ID, &mut Slot)> {
        (0..).zip(self.slots.iter_mut())
    }

    /// A slot.
    pub(crate) fn slot(&self, id: CK_SLOT_ID) -> Result<&Slot, Error> {
        usize::try_from(id).ok().and_then(|index| self.slots.get(index)).ok_or(Error::SlotIdInvalid)
    }

    /// A slot, to be changed.
    pub(crate) fn slot_mut(&mut self, id: CK_SLOT_ID) -> Result<&mut Slot, Error> {
        usize::try_from(id).ok().and_then(|index| self.slots.get_mut(index)).ok_or(Error::SlotIdInvalid)
    }

    /// Opens a session.
    pub(crate) fn open(&mut self, session: Session) -> CK_SESSION_HANDLE {
        self.last_session = self.last_session.wrapping_add(1);
        self.sessions.insert(self.last_session, session);
        self.last_session
    }

    /// Closes a session; answers its slot.
    pub(crate) fn close(&mut self, handle: CK_SESSION_HANDLE) -> Result<CK_SLOT_ID, Error> {
        let session = self.sessions.remove(&handle).ok_or(Error::SessionHandleInvalid)?;
        if let Ok(token) = self.slot_mut(session.slot).and_then(Slot::token_mut) {
            token.end_sessions(|ended| ended == handle);
        }
        Ok(session.slot)
    }

    /// Makes an object in a session; `object` gets the number that its handle will be.
    pub(crate) fn make(
        &mut self,
        session: CK_SESSION_HANDLE,
        object: impl FnOnce(CK_OBJECT_HANDLE) -> Result<Object, Error>,
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        self.session(session)?;
        let handle = self.number();
        self.keep(session, handle, object(handle)?)?;
        Ok(handle)
    }

    /// The handle of an object that is going to be made.
    pub(crate) fn number(&mut self) -> CK_OBJECT_HANDLE {
        self.handles.next()
    }

    /// Takes over an object that was made in a session.
    pub(crate) fn keep(
        &mut self,
        session: CK_SESSION_HANDLE,
        handle: CK_OBJECT_HANDLE,
        object: Object,
    ) -> Result<(), Error> {
        let slot = self.session(session)?.slot;
        self.slot_mut(slot)?.token_mut().map_err(|_| Error::DeviceRemoved)?.take(session, handle, object);
        Ok(())
    }

    /// Puts what `change` makes of an object that the application made into its place.
    pub(crate) fn modify(
        &mut self,
        session: CK_SESSION_HANDLE,
        handle: CK_OBJECT_HANDLE,
        change: impl FnOnce(&Object) -> Result<Object, Error>,
    ) -> Result<(), Error> {
        let slot = self.session(session)?.slot;
        let token = self.slot_mut(slot)?.token_mut().map_err(|_| Error::DeviceRemoved)?;
        let changed = change(token.visible_object(handle).ok_or(Error::ObjectHandleInvalid)?)?;
        token.replace(handle, changed);
        Ok(())
    }

    /// Takes over a key pair without a certificate, of the card at a place.
    pub(crate) fn take_key_pair(
        &mut self,
        place: &Place,
        objects: [Object; 3],
    ) -> Result<[CK_OBJECT_HANDLE; 2], Error> {
        self.token_at(place)?;
        let Self { slots, handles, .. } = self;
        let slot = usize::try_from(place.slot).ok().and_then(|index| slots.get_mut(index));
        let token = slot.ok_or(Error::DeviceRemoved)?.token_mut().map_err(|_| Error::DeviceRemoved)?;
        Ok(token.take_key_pair(objects, handles))
    }

    /// Destroys an object.
    pub(crate) fn destroy(
        &mut self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Result<(), Error> {
        let slot = self.session(session)?.slot;
        self.slot_mut(slot)?.token_mut().map_err(|_| Error::DeviceRemoved)?.destroy(object)
    }

    /// Closes all sessions of a slot.
    pub(crate) fn close_all(&mut self, slot: CK_SLOT_ID) {
        self.sessions.retain(|_, session| session.slot != slot);
        if let Ok(token) = self.slot_mut(slot).and_then(Slot::token_mut) {
            token.end_sessions(|_| true);
        }
    }

    /// All sessions of a slot.
    pub(crate) fn sessions_of(&mut self, slot: CK_SLOT_ID) -> impl Iterator<Item = &mut Session> {
        self.sessions.values_mut().filter(move |session| session.slot == slot)
    }

    /// A session.
    pub(crate) fn session(&self, handle: CK_SESSION_HANDLE) -> Result<&Session, Error> {
        self.sessions.get(&handle).ok_or(Error::SessionHandleInvalid)
    }

    /// A session, to be changed.
    pub(crate) fn session_mut(&mut self, handle: CK_SESSION_HANDLE) -> Result<&mut Session, Error> {
        self.sessions.get_mut(&handle).ok_or(Error::SessionHandleInvalid)
    }

    /// The token that a session is with.
    pub(crate) fn token_of(&self, handle: CK_SESSION_HANDLE) -> Result<&Token, Error> {
        self.slot(self.session(handle)?.slot)?.token().map_err(|_| Error::DeviceRemoved)
    }

    /// Which card a session is with.
    pub(crate) fn place_of(&self, handle: CK_SESSION_HANDLE) -> Result<Place, Error> {
        let id = self.session(handle)?.slot;
        let slot = self.slot(id)?;
        slot.token().map_err(|_| Error::DeviceRemoved)?;
        let (reader, insertion, link) = (slot.reader.clone(), slot.insertion, Arc::clone(&slot.link));
        Ok(Place { slot: id, reader, insertion, link })
    }

    /// The token at a place, unless it was replaced since.
    pub(crate) fn token_at(&mut self, place: &Place) -> Result<&mut Token, Error> {
        let slot = self.slot_mut(place.slot)?;
        if slot.insertion != place.insertion {
            return Err(Error::DeviceRemoved);
        }
        slot.token_mut().map_err(|_| Error::DeviceRemoved)
    }

    /// Forgets a slot's login and the operations that need it; answers where the daemon has to be told.
    pub(crate) fn end_login(&mut self, id: CK_SLOT_ID) -> Option<Place> {
        let Self { slots, handles, sessions, .. } = self;
        let slot = usize::try_from(id).ok().and_then(|index| slots.get_mut(index))?;
        let token = slot.token_mut().ok()?;
        token.puk = None;
        if !token.logged_in {
            return None;
        }
        token.log_out(handles);
        for session in sessions.values_mut().filter(|session| session.slot == id) {
            session.sign = None;
            session.sign_recover = None;
            session.decrypt = None;
            session.found = None;
        }
        let (reader, insertion, link) = (slot.reader.clone(), slot.insertion, Arc::clone(&slot.link));
        Some(Place { slot: id, reader, insertion, link })
    }
}

/// A lock that outlives a panic: what it guards is checked by its users, and the panic was reported as an error.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
