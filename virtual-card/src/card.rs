//! The chip: what it keeps, what it forgets without power, and the path of one command through it.

use std::collections::VecDeque;
use std::path::Path;

use cns_apdu::StatusWord;
use cns_apdu::access::{AccessConditions, Condition, DfOperation, EfOperation};
use cns_apdu::command::{PinReference, SearchFrom};
use cns_apdu::file_map::{Fid, FilePath, MASTER_FILE};
use cns_apdu::object::{ObjectAddress, ObjectClass};
use cns_apdu::transmit::Transport;
use rsa::RsaPrivateKey;

use crate::access;
use crate::filesystem::{Directory, File, FileSystem};
use crate::generation::{Generation, Habits};
use crate::handler::{self, Answer};
use crate::keys;
use crate::memory::{Memory, Snapshot, Tear};
use crate::objects::{ObjectOperation, ObjectReference, SecurityObject};
use crate::personalise::{self, CreateError, Personalisation};
use crate::secure_messaging::Demand;
use crate::session::{KeyChoice, Session};
use crate::state::{Behaviour, CardState, StateDirectory, StateError};
use crate::timing::Work;

/// A CNS chip in software.
pub struct VirtualCard {
    pub(crate) state: CardState,
    memory: Memory,
    pub(crate) session: Session,
    powered: bool,
    /// Numbers to be given out in place of random ones.
    planned_randomness: VecDeque<u8>,
    /// Keys to be generated in place of random ones.
    pub(crate) planned_keys: VecDeque<RsaPrivateKey>,
    /// Private keys in computable form; emptied whenever an object changes.
    pub(crate) ready_keys: Vec<(ObjectReference, RsaPrivateKey)>,
    /// What was done since somebody asked, as far as it would take a real chip's time.
    pub(crate) work: Work,
}

impl VirtualCard {
    /// Makes a card that lives in memory only.
    ///
    /// # Errors
    /// The personalisation is not possible.
    pub fn create(personalisation: Personalisation) -> Result<Self, CreateError> {
        let state = personalise::personalise(personalisation)?;
        Ok(Self::with(state, None))
    }

    /// Makes a card that lives in the directory `path`, which must not hold one yet.
    ///
    /// # Errors
    /// The personalisation is not possible, or the directory cannot be written.
    pub fn create_in(path: &Path, personalisation: Personalisation) -> Result<Self, CreateError> {
        personalise::check(&personalisation)?;
        let storage = StateDirectory::create(path)?;
        let state = personalise::personalise(personalisation)?;
        storage.write(&state)?;
        Ok(Self::with(state, Some(storage)))
    }

    /// Whether a card can be made at `path`: nothing is there, or an empty directory.
    ///
    /// # Errors
    /// Something is there.
    pub fn check_free(path: &Path) -> Result<(), StateError> {
        StateDirectory::check_free(path)
    }

    /// Opens the card in the directory `path`; no other process can until this value is dropped.
    ///
    /// # Errors
    /// The directory holds no card, a damaged one, or one that is in use.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let (storage, state) = StateDirectory::open(path)?;
        Ok(Self::with(state, Some(storage)))
    }

    /// A copy in memory of a card that lives elsewhere.
    pub(crate) fn without_storage(state: CardState) -> Self {
        Self::with(state, None)
    }

    fn with(state: CardState, storage: Option<StateDirectory>) -> Self {
        let start = start(&state);
        Self {
            state,
            memory: Memory::new(storage),
            session: Session::at(start),
            powered: true,
            planned_randomness: VecDeque::new(),
            planned_keys: VecDeque::new(),
            ready_keys: Vec::new(),
            work: Work::default(),
        }
    }

    /// Supplies power; gives the answer to reset.
    pub fn power_on(&mut self) -> Vec<u8> {
        self.reset();
        self.powered = true;
        self.answer_to_reset()
    }

    /// Takes the power away: everything volatile is lost.
    pub fn power_off(&mut self) {
        self.reset();
        self.powered = false;
    }

    /// Resets the chip: everything volatile is lost.
    pub fn reset(&mut self) {
        self.session = Session::at(start(&self.state));
    }

    /// The answer to reset, without resetting.
    #[must_use]
    pub fn answer_to_reset(&self) -> Vec<u8> {
        self.state.generation.answer_to_reset().to_vec()
    }

    /// The generation of chip that this is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.state.generation
    }

    /// The switches that it was made with.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        self.state.behaviour
    }

    /// Gives out `bytes` before any random ones: for reproducible exchanges.
    pub fn plan_randomness(&mut self, bytes: &[u8]) {
        self.planned_randomness.extend(bytes);
    }

    /// Generates these keys, one after the other, before any random ones: generating takes a test's time. One of another
    /// length than the command asks for is passed over.
    pub fn plan_keys(&mut self, keys: impl IntoIterator<Item = RsaPrivateKey>) {
        self.planned_keys.extend(keys);
    }

    /// Forgets the keys of [`VirtualCard::plan_keys`] that were not generated.
    pub fn forget_planned_keys(&mut self) {
        self.planned_keys.clear();
    }

    /// Executes one command whose writes are cut off: gives the answer when the command does not write that often.
    /// Otherwise the power is lost in that write; the chip gets power again with [`VirtualCard::power_on`] and finds
    /// what its memory holds.
    pub fn transmit_torn(&mut self, command: &[u8], tear: Tear) -> Option<Vec<u8>> {
        self.memory.tear(tear, &self.state);
        let answer = self.transmit(command);
        if !self.memory.mend() {
            return Some(answer);
        }
        self.go_back();
        self.power_off();
        None
    }

    /// Wears the memory out: `writes` more are done, every other one is refused with 6581.
    pub fn wear_out_after(&mut self, writes: u32) {
        self.memory.wear_out_after(writes, &self.state);
    }

    /// Fills the memory, so that `bytes` are left for files and objects, their headers included; what needs more is
    /// refused with 6A84. Lasts until the card is opened anew.
    pub fn leave_memory(&mut self, bytes: usize) {
        self.state.files.leave_memory(bytes);
    }

    /// What the chip keeps without power.
    ///
    /// # Errors
    /// The state cannot be written down.
    pub fn snapshot(&self) -> Result<Snapshot, StateError> {
        Snapshot::of(&self.state)
    }

    /// Makes the chip what it was; the session is lost.
    ///
    /// # Errors
    /// The snapshot cannot be read, or the card's directory not be written.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), StateError> {
        let state = snapshot.state()?;
        // Keys that are the same stay ready: making them so takes longer than all the rest.
        self.ready_keys.retain(|(reference, _)| {
            [reference.clone(), reference.of_class(ObjectClass::KeyExponent)].iter().all(|part| {
                let body =
                    |files: &FileSystem| files.object(part).map(|object| object.body.expose().to_vec());
                body(&self.state.files) == body(&state.files)
            })
        });
        self.state = state;
        self.reset();
        self.store()
    }

    /// What the chip did since the last call, as far as it would take a real chip's time.
    pub fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// Executes one command APDU and gives the response APDU: any bytes at all are answered.
    pub fn transmit(&mut self, command: &[u8]) -> Vec<u8> {
        if !self.powered {
            return StatusWord::INTERNAL_ERROR.to_bytes().to_vec();
        }
        let receive = if self.behaviour().t0 { handler::receive_over_t0 } else { handler::receive };
        let Answer { mut data, status } = receive(self, command).unwrap_or_else(Answer::from);
        data.extend_from_slice(&status.to_bytes());
        data
    }

    /// Random bytes; the planned ones first.
    pub(crate) fn random(&mut self, length: usize) -> Result<Vec<u8>, StatusWord> {
        let mut bytes = vec![0; length];
        keys::random(&mut bytes).map_err(|_| StatusWord::EXECUTION_ERROR)?;
        let planned = length.min(self.planned_randomness.len());
        bytes
            .iter_mut()
            .zip(self.planned_randomness.drain(..planned))
            .for_each(|(byte, given)| *byte = given);
        Ok(bytes)
    }

    pub(crate) fn files(&self) -> &FileSystem {
        &self.state.files
    }

    pub(crate) fn current_directory(&self) -> Result<&Directory, StatusWord> {
        self.files().directory(&self.session.directory).ok_or(StatusWord::FILE_NOT_FOUND)
    }

    /// The path of the current file: the elementary file if one is selected, else the directory.
    pub(crate) fn current_path(&self) -> FilePath {
        match self.session.file {
            Some(identifier) => self.session.directory.child(identifier),
            None => self.session.directory.clone(),
        }
    }

    /// The current file, elementary or directory.
    pub(crate) fn current_file(&self) -> Result<&File, StatusWord> {
        self.files().file(&self.current_path()).ok_or(StatusWord::FILE_NOT_FOUND)
    }

    /// The current elementary file: 6986 if there is none.
    pub(crate) fn current_ef(&self) -> Result<&File, StatusWord> {
        self.session.file.ok_or(StatusWord::NO_CURRENT_FILE)?;
        self.current_file()
    }

    /// Checks the access condition of `operation` on the current elementary file.
    pub(crate) fn authorise_current_ef(&mut self, operation: EfOperation) -> Result<(), StatusWord> {
        let file = self.current_file()?;
        if !self.files().is_active(&self.current_path()) {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        self.require_protection(&Demand::of_ef(file, &self.session.directory, operation))?;
        let condition = AccessConditions(file.access).ef(operation);
        self.authorise(condition, &self.session.directory.clone())
    }

    /// Checks the access condition of `operation` on the directory `path` or what it holds.
    pub(crate) fn authorise_directory(
        &mut self,
        path: &FilePath,
        operation: DfOperation,
    ) -> Result<(), StatusWord> {
        let file = self.files().file(path).ok_or(StatusWord::FILE_NOT_FOUND)?;
        if !self.files().is_active(path) {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        self.require_protection(&Demand::of_df(file, path, operation))?;
        let condition = AccessConditions(file.access).df(operation);
        self.authorise(condition, path)
    }

    /// Makes `directory`, and in it `file`, current.
    pub(crate) fn enter(&mut self, directory: FilePath, file: Option<Fid>) {
        self.session.status.enter(&directory);
        self.session.directory = directory;
        self.session.file = file;
        self.session.record = None;
    }

    /// Refuses with 6982 unless `condition`, which guards something in `directory`, is satisfied.
    pub(crate) fn authorise(&mut self, condition: Condition, directory: &FilePath) -> Result<(), StatusWord> {
        let granted = access::authorise(&self.state.files, &mut self.session.status, condition, directory);
        if granted { Ok(()) } else { Err(StatusWord::SECURITY_NOT_SATISFIED) }
    }

    /// Checks the access condition of `operation` on an object; plain commands on an object that demands
    /// secure messaging get 6E00, as real cards answer.
    pub(crate) fn authorise_object(
        &mut self,
        reference: &ObjectReference,
        operation: ObjectOperation,
    ) -> Result<(), StatusWord> {
        let object = self.object(reference)?;
        self.require_protection(&Demand::of_object(object, reference, operation))?;
        if matches!(operation, ObjectOperation::Use | ObjectOperation::Present) {
            return self.authorise_use(reference);
        }
        self.authorise(object.condition(operation), &reference.directory)
    }

    /// Checks access condition and use counter of an object that is used, and takes one use.
    pub(crate) fn authorise_use(&mut self, reference: &ObjectReference) -> Result<(), StatusWord> {
        let object = self.object(reference)?;
        if object.has_limited_uses() && object.uses_left == 0 {
            return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
        }
        self.authorise(object.condition(ObjectOperation::Use), &reference.directory)?;
        self.take_use(reference)
    }

    /// Counts one use of an object that has a limit, and makes that last before the use.
    fn take_use(&mut self, reference: &ObjectReference) -> Result<(), StatusWord> {
        let object = self.state.files.object_mut(reference).ok_or(StatusWord::OBJECT_NOT_FOUND)?;
        if !object.has_limited_uses() {
            return Ok(());
        }
        object.uses_left = object.uses_left.saturating_sub(1);
        self.commit()
    }

    pub(crate) fn object(&self, reference: &ObjectReference) -> Result<&SecurityObject, StatusWord> {
        self.files().object(reference).ok_or(StatusWord::OBJECT_NOT_FOUND)
    }

    pub(crate) fn object_mut(
        &mut self,
        reference: &ObjectReference,
    ) -> Result<&mut SecurityObject, StatusWord> {
        self.ready_keys.clear();
        self.state.files.object_mut(reference).ok_or(StatusWord::OBJECT_NOT_FOUND)
    }

    /// Sets the tries left of an object, and makes that last before anything else happens.
    pub(crate) fn set_tries(&mut self, reference: &ObjectReference, tries: u8) -> Result<(), StatusWord> {
        let object = self.state.files.object_mut(reference).ok_or(StatusWord::OBJECT_NOT_FOUND)?;
        if object.tries_left == tries {
            return Ok(());
        }
        object.tries_left = tries;
        self.commit()
    }

    /// Takes one try of an object, and makes that last, before anything is compared: cutting the power never
    /// gives a try back. Gives the tries that are left if the comparison fails.
    pub(crate) fn take_try(&mut self, reference: &ObjectReference) -> Result<u8, StatusWord> {
        let object = self.object(reference)?;
        let left = if object.is_limited() { object.tries_left.saturating_sub(1) } else { object.tries_left };
        self.set_tries(reference, left)?;
        Ok(left)
    }

    /// Resolves the key of a security environment: 6985 if none was chosen, 6984 if there is none of that number where
    /// the chip looks for it now.
    pub(crate) fn chosen_key(&self, choice: Option<&KeyChoice>) -> Result<ObjectReference, StatusWord> {
        match choice.ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)? {
            KeyChoice::Found(reference) => Ok(reference.clone()),
            KeyChoice::Named(address) => {
                self.find_object(*address, true).map_err(|_| StatusWord::INVALID_OBJECT)
            }
        }
    }

    /// The key of a security environment; it may have been deleted since.
    pub(crate) fn key_object(&self, reference: &ObjectReference) -> Result<&SecurityObject, StatusWord> {
        self.files().object(reference).ok_or(StatusWord::CONDITIONS_NOT_SATISFIED)
    }

    /// The private key whose modulus `reference` is, in computable form.
    pub(crate) fn ready_key(&mut self, reference: &ObjectReference) -> Result<&RsaPrivateKey, StatusWord> {
        let place = match self.ready_keys.iter().position(|(owner, _)| owner == reference) {
            Some(place) => place,
            None => {
                let exponent = self.object(&reference.of_class(ObjectClass::KeyExponent))?;
                let key = keys::private_key(&self.object(reference)?.body, &exponent.body)?;
                self.ready_keys.push((reference.clone(), key));
                self.ready_keys.len() - 1
            }
        };
        self.ready_keys.get(place).map(|(_, key)| key).ok_or(StatusWord::INTERNAL_ERROR)
    }

    /// The answer to a wrong PIN, PUK or authentication.
    pub(crate) fn wrong_value(&self, tries_left: u8) -> StatusWord {
        if self.state.behaviour.strict_incard {
            StatusWord::VERIFICATION_FAILED
        } else {
            StatusWord::retries_left(tries_left)
        }
    }

    /// How this chip takes commands and answers them.
    pub(crate) fn habits(&self) -> &'static Habits {
        &self.state.generation.chip().habits
    }

    /// Resolves P2 of a command on a PIN or an authentication key: 6A88 if there is no such object, and if it is to be
    /// searched upward on a chip that does not.
    pub(crate) fn find_test_object(&self, reference: PinReference) -> Result<ObjectReference, StatusWord> {
        let upward = reference.search == SearchFrom::CurrentDf;
        if upward && !self.habits().searches_upward {
            return Err(StatusWord::OBJECT_NOT_FOUND);
        }
        self.find_object(ObjectAddress::new(ObjectClass::Test, reference.id), upward)
    }

    /// Resolves a reference with its backtracking bit: from the current directory upward, or from the MF.
    pub(crate) fn find_object(
        &self,
        address: ObjectAddress,
        backtracking: bool,
    ) -> Result<ObjectReference, StatusWord> {
        let current = &self.session.directory;
        let from = if backtracking { current.clone() } else { self.files().root_of(current) };
        self.files().find_object(&from, address).ok_or(StatusWord::OBJECT_NOT_FOUND)
    }

    /// Brings every change so far to where power loss cannot reach it.
    pub(crate) fn commit(&mut self) -> Result<(), StatusWord> {
        self.work.writes = self.work.writes.saturating_add(1);
        self.memory.write(&self.state).map_err(|_| {
            self.go_back();
            StatusWord::MEMORY_FAILURE
        })
    }

    /// Takes up what the memory holds, after a write that was not done. Where even that cannot be read, the chip goes
    /// on with what it has until it is opened anew.
    fn go_back(&mut self) {
        if let Some(mut state) = self.memory.held() {
            state.files.keep_limit_of(&self.state.files);
            self.state = state;
            self.ready_keys.clear();
        }
    }

    /// Writes the state to its directory, if it has one, as a bureau does.
    pub(crate) fn store(&mut self) -> Result<(), StateError> {
        self.memory.store_as_bureau(&self.state)
    }
}

/// The directory that is current after a reset.
fn start(state: &CardState) -> FilePath {
    let chip = state.generation.chip();
    chip.start.map_or(MASTER_FILE, |application| chip.root(application))
}

impl Transport for VirtualCard {
    type Error = std::convert::Infallible;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, Self::Error> {
        Ok(self.transmit(command))
    }
}
