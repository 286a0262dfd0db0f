//! One reader of the daemon and the card that is put into it again and again.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cns_protocol::reader::ReaderState;
use cns_virtual_card::VirtualCard;
use cns_virtual_card::fault::{FaultyCard, Outcome};
use cnsd::card::{CardError, CardSession};
use cnsd::reader::TimeLimits;

use crate::plugged::Reader;

/// What a test waits for at most; nothing here takes a second on an idle machine.
const WAIT: Duration = Duration::from_secs(60);

/// A reader and its card. In contrast to the plug of the virtual card it comes and goes without any pause.
pub(crate) struct Lane {
    reader: Reader,
    card: Arc<Mutex<FaultyCard>>,
    plug: Option<(UnixStream, JoinHandle<()>)>,
}

impl Lane {
    pub(crate) fn new(card: VirtualCard, limit: Duration) -> Self {
        let limits = TimeLimits { command: limit, key_generation: limit, ..TimeLimits::default() };
        let card = Arc::new(Mutex::new(FaultyCard::from(card)));
        Self { reader: Reader::start_with(limits), card, plug: None }
    }

    pub(crate) fn card(&self) -> MutexGuard<'_, FaultyCard> {
        self.card.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the card out, if it is in.
    pub(crate) fn take_out(&mut self) {
        if let Some((stream, thread)) = self.plug.take() {
            stream.shutdown(Shutdown::Both).ok();
            thread.join().unwrap();
        }
    }

    /// Puts the card in, and waits until the daemon has read it or given it up.
    pub(crate) async fn put_in(&mut self) -> ReaderState {
        self.take_out();
        let before = self.reader.readers.list().readers[0].insertion;
        self.card().insert();
        let stream = UnixStream::connect(&self.reader.socket).unwrap();
        let served = stream.try_clone().unwrap();
        let card = Arc::clone(&self.card);
        let thread = std::thread::spawn(move || serve(served, &card));
        self.plug = Some((stream, thread));
        let mut list = self.reader.readers.list();
        let read = async {
            loop {
                let reader = &list.readers[0];
                let over = !matches!(reader.state, ReaderState::Empty | ReaderState::Reading);
                let gone = matches!(reader.state, ReaderState::Empty) && reader.insertion > before + 1;
                if reader.insertion > before && (over || gone) {
                    return reader.state.clone();
                }
                list = self.reader.readers.wait(list.change, Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(WAIT, read).await.expect("the reader's owner is stuck")
    }

    /// Runs a job on the card.
    pub(crate) async fn run(
        &self,
        job: impl FnOnce(&mut CardSession<'_>) -> Result<(), CardError> + Send + 'static,
    ) -> Result<(), CardError> {
        let outcome = self.reader.readers.run(&self.reader.name, None, job);
        tokio::time::timeout(WAIT, outcome).await.expect("the reader's owner is stuck")
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.reader.readers.stop();
        if let Some((stream, _)) = self.plug.take() {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn serve(mut stream: UnixStream, card: &Mutex<FaultyCard>) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut frame).is_err() {
            break;
        }
        let (outcome, delay) = {
            let mut card = card.lock().unwrap_or_else(PoisonError::into_inner);
            let outcome = match frame.as_slice() {
                [1 | 2] => {
                    card.reset();
                    Outcome::Silence
                }
                [4] => Outcome::Answer(card.answer_to_reset()),
                [] | [_] => Outcome::Silence,
                command => card.execute(command),
            };
            (outcome, card.take_delay())
        };
        std::thread::sleep(delay);
        match outcome {
            Outcome::Answer(answer) => {
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                if stream.write_all(&[&length, &answer[..]].concat()).is_err() {
                    break;
                }
            }
            Outcome::Silence => {}
            Outcome::Gone => break,
        }
    }
    stream.shutdown(Shutdown::Both).ok();
}
