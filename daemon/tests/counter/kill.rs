//! SIGKILL between the chip's new PIN and its record: the built daemon, driven through its socket.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cns_protocol::counter::{Answer, AnswerStep, Case, List, Procedure, ProcedureState, Show, Start};
use cns_protocol::operator::Login;
use cns_protocol::{Client, audit, custody};
use cns_virtual_authority::{Authority as Certifier, InitOptions, serve};
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cns_virtual_card::{VirtualCard, envelopes, sample};
use der::DecodePem;
use sha2::{Digest, Sha256};
use tokio::runtime::Runtime;
use x509_cert::Certificate;

use crate::database;
use crate::rig::certifier::bind;
use crate::rig::{personalise, usual_answer};
use crate::running::{EVERYTHING, PATIENCE, Running, access, text};

const RESET_RETRY_COUNTER: u8 = 0x2C;
const OPERATOR: &str = "operator";
const SECRET: &str = "a secret of the tests";
pub(crate) const CITIZEN: &str = "citizen";

/// A counter whose daemon is a process.
pub(crate) struct Counter {
    pub(crate) running: Running,
    pub(crate) chip: Option<VirtualCard>,
    pub(crate) certifier: Arc<Certifier>,
    _operator: Plugged,
    /// The certifier's server, where there is one, and where it is.
    server: Option<(Runtime, SocketAddr)>,
    address: Option<SocketAddr>,
    pub(crate) codes: Vec<String>,
}

/// What a counter has.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    pub(crate) envelopes: usize,
    /// Whether the daemon knows a certifier.
    pub(crate) authority: bool,
    /// Whether requests to the certifier are signed on the operator's own card (§7).
    pub(crate) officer: bool,
    /// How certificates are asked for then: nothing, or `ir`.
    pub(crate) request: Option<&'a str>,
    /// The cards whose PUK is in custody.
    pub(crate) cards: &'a [&'a str],
    /// More lines of the configuration's section `custody`.
    pub(crate) custody: &'a str,
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self::configured(|_| String::new())
    }

    /// With more in the configuration.
    pub(crate) fn configured(more: impl FnOnce(&Running) -> String) -> Self {
        Self::built(&Setup { envelopes: 2, cards: &[sample::ID_CARD], ..Setup::default() }, more)
    }

    /// With more roles for the user of the tests.
    pub(crate) fn with_roles(setup: &Setup<'_>, roles: &[&str]) -> Self {
        Self::built(setup, |_| access(roles))
    }

    pub(crate) fn built(setup: &Setup<'_>, more: impl FnOnce(&Running) -> String) -> Self {
        let mut running = Running::prepare(&[OPERATOR, CITIZEN], "");
        let options = InitOptions { key_bits: 2048, ..InitOptions::new(SECRET) };
        let certifier = Arc::new(Certifier::init(&running.path("ca"), &options).unwrap());
        let (server, authority) = if setup.authority {
            let server = serve_certifier(&certifier, ([127, 0, 0, 1], 0).into());
            let url = format!("http://{}/pkix/signature", server.1);
            (Some(server), authority_section(&running, &url, setup))
        } else {
            (None, String::new())
        };
        let mut order = sample::personalisation().unwrap();
        order.holder.id_card = None;
        let operator = personalise(&certifier, &running.path("operator-card"), order);
        let chip = personalise(&certifier, &running.path("citizen-card"), sample::personalisation().unwrap());
        let certificates = certifier.list().unwrap();
        let digest = hex::encode(Sha256::digest(&certificates[0].certificate));
        if setup.officer {
            certifier.authorise(&certificates[0].certificate).unwrap();
        }
        let more = more(&running);
        let configured = format!(
            "{}{}{more}{authority}[operators]\ntrust_anchors = {:?}\n[[operator]]\nid = \"op1\"\nname = \"Anna Serra\"\n\
             certificate_sha256 = \"{digest}\"\ncounter = \"ASL di prova\"\ncounter_kind = \"health-authority\"\n\
             [custody]\ndatabase = {:?}\n{}",
            fs::read_to_string(running.path("cnsd.toml")).unwrap(),
            access(EVERYTHING),
            running.path("ca/ca.pem"),
            database::address(&running.path("state")),
            setup.custody,
        );
        fs::write(running.path("cnsd.toml"), configured).unwrap();
        running.launch();
        let operator = plug(operator, Endpoint::Unix(running.path(OPERATOR))).unwrap();
        let codes = fill_custody(&running, setup);
        let address = server.as_ref().map(|(_, address)| *address);
        Self { running, chip: Some(chip), certifier, _operator: operator, server, address, codes }
    }

    /// A client of an operator who is logged in.
    pub(crate) fn client(&self) -> Client {
        self.running.card_in(OPERATOR);
        let mut client = self.running.client();
        let reader = self.running.reader(OPERATOR);
        client.call(&Login { reader, insertion: None, pin: text("12345"), confirm_last_try: false }).unwrap();
        client
    }

    pub(crate) fn pin_in(&self, code: &str) -> String {
        self.printed(code, "PIN: ")
    }

    pub(crate) fn printed(&self, code: &str, what: &str) -> String {
        let letter = fs::read_to_string(self.running.path("letters").join(format!("{code}.txt"))).unwrap();
        letter.lines().find_map(|line| line.strip_prefix(what)).unwrap().to_owned()
    }

    /// Stops the certifier.
    pub(crate) fn authority_goes(&mut self) {
        let (runtime, _) = self.server.take().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(5));
    }

    /// Starts it again, where it was.
    pub(crate) fn authority_comes(&mut self) {
        let address = self.address.unwrap();
        self.server = Some(serve_certifier(&self.certifier, address));
    }
}

fn serve_certifier(certifier: &Arc<Certifier>, address: SocketAddr) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(bind(&address.to_string()));
    let address = listener.local_addr().unwrap();
    let served = Arc::clone(certifier);
    runtime.spawn(async move { serve(listener, served, std::future::pending()).await.unwrap() });
    (runtime, address)
}

fn authority_section(running: &Running, url: &str, setup: &Setup<'_>) -> String {
    if setup.officer {
        let anchors = running.path("ca/ca.pem");
        let request = setup.request.map(|form| format!("request = {form:?}\n")).unwrap_or_default();
        return format!(
            "[authority]\nurl = {url:?}\nprotection = \"operator\"\ntrust_anchors = {anchors:?}\n{request}"
        );
    }
    let secret_file = running.path("cmp-secret");
    fs::write(&secret_file, SECRET).unwrap();
    fs::set_permissions(&secret_file, fs::Permissions::from_mode(0o600)).unwrap();
    format!(
        "[authority]\nurl = {url:?}\nsecret_file = {secret_file:?}\ntrust_anchors = {:?}\n",
        running.path("ca/ca.pem")
    )
}

/// Gives custody the PUKs of these cards.
pub(crate) fn import_cards(running: &Running, cards: &[&str]) -> Recipient {
    let mut client = running.client();
    let pem = client.call(&custody::ImportCertificate {}).unwrap().pem;
    let recipient = Recipient::from_certificate(&Certificate::from_pem(pem).unwrap()).unwrap();
    let mut content = Content::with_capacity(Kind::Cards, 400).unwrap();
    for card in cards {
        content
            .push_object(&[
                ("id_card", card.as_bytes()),
                ("codice_fiscale", b"RSSMRA80A01H501U"),
                ("puk", sample::PUK),
            ])
            .unwrap();
    }
    client.call(&custody::Import { file: recipient.seal(&content).unwrap() }).unwrap();
    recipient
}

fn fill_custody(running: &Running, setup: &Setup<'_>) -> Vec<String> {
    let recipient = import_cards(running, setup.cards);
    let mut client = running.client();
    let letters = running.path("letters");
    let file = envelopes::print(setup.envelopes, 5, &recipient, &letters).unwrap();
    client.call(&custody::Import { file }).unwrap();
    let name = |entry: fs::DirEntry| entry.path().file_stem().unwrap().to_str().unwrap().to_owned();
    let codes: Vec<_> = fs::read_dir(letters).unwrap().map(|entry| name(entry.unwrap())).collect();
    client.call(&custody::Assign { operator: "op1".to_owned(), codes: codes.clone() }).unwrap();
    codes
}

/// Answers step by step until a paragraph is next, or to the end.
pub(crate) fn until(client: &mut Client, mut procedure: Procedure, code: &str, paragraph: &str) -> Procedure {
    while let Some(step) = procedure.next.clone().filter(|step| step.paragraph != paragraph) {
        let answer = usual_answer(&step, code, false);
        procedure = client.call(&step_of(&procedure, &step.paragraph, answer)).unwrap();
    }
    procedure
}

pub(crate) fn step_of(procedure: &Procedure, paragraph: &str, answer: Answer) -> AnswerStep {
    AnswerStep {
        procedure: procedure.id.clone(),
        paragraph: paragraph.to_owned(),
        answer,
        pin: None,
        signature_pin: None,
        operator_pin: None,
    }
}

/// A card that obeys RESET RETRY COUNTER and keeps its answer to itself.
struct Gated {
    obeyed: Receiver<()>,
    let_go: Sender<()>,
    thread: JoinHandle<VirtualCard>,
}

impl Gated {
    fn plug(chip: VirtualCard, socket: PathBuf) -> Self {
        let (obeyed_sender, obeyed) = channel();
        let (let_go, held) = channel();
        let thread = std::thread::spawn(move || gate(chip, &socket, &obeyed_sender, &held));
        Self { obeyed, let_go, thread }
    }
}

fn gate(mut chip: VirtualCard, socket: &Path, obeyed: &Sender<()>, held: &Receiver<()>) -> VirtualCard {
    let mut stream = UnixStream::connect(socket).unwrap();
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut frame).unwrap();
        let answer = match frame.as_slice() {
            [0] => {
                chip.power_off();
                continue;
            }
            [1 | 2] => {
                chip.power_on();
                continue;
            }
            [4] => chip.answer_to_reset(),
            command => chip.transmit(command),
        };
        if frame.get(1) == Some(&RESET_RETRY_COUNTER) {
            assert_eq!(answer, [0x90, 0x00], "the chip has the new PIN");
            obeyed.send(()).unwrap();
            held.recv().unwrap();
            return chip;
        }
        stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    }
}

#[test]
fn a_daemon_killed_after_the_pin_was_set_and_before_it_was_recorded_settles() {
    let mut counter = Counter::new();
    let (first, second) = (counter.codes[0].clone(), counter.codes[1].clone());
    let citizen = counter.running.path(CITIZEN);
    let gated = Gated::plug(counter.chip.take().unwrap(), citizen.clone());
    counter.running.card_in(CITIZEN);
    let mut client = counter.client();
    let reader = counter.running.reader(CITIZEN);
    let started = client.call(&Start { reader: reader.clone(), case: Case::Standard }).unwrap();
    let ready = until(&mut client, started, &first, "§9.3.2-7");

    let step = step_of(&ready, "§9.3.2-7", Answer::Confirmed);
    let waiting = std::thread::spawn(move || client.call(&step).is_err());
    gated.obeyed.recv_timeout(PATIENCE).unwrap();
    counter.running.kill();
    assert!(waiting.join().unwrap(), "the operator's program lost its connection");
    gated.let_go.send(()).unwrap();
    let chip = gated.thread.join().unwrap();

    // The next daemon finds the intent. The card comes back; nobody asks for anything.
    counter.running.launch();
    let mut client = counter.client();
    let found = client.call(&List {}).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].state, &found[0].envelope), (ProcedureState::Unsettled, &Some(first.clone())));
    let card = plug(chip, Endpoint::Unix(citizen)).unwrap();
    let show = Show { procedure: ready.id.clone() };
    let ends = Instant::now() + PATIENCE;
    let settled = loop {
        let now = client.call(&show).unwrap();
        if now.state == ProcedureState::Open {
            break now;
        }
        assert!(Instant::now() < ends, "{now:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(settled.next.as_ref().unwrap().paragraph, "§9.3.2-8");

    let mut verify = vec![0x00, 0x20, 0x00, 0x90, 0x08];
    verify.extend_from_slice(counter.pin_in(&first).as_bytes());
    verify.resize(13, 0xFF);
    let answer = card.with_card(|card| card.card().transmit(&verify));
    assert_eq!(answer, [0x90, 0x00], "the PIN is the envelope's");
    let summary = card.with_card(|card| card.card().summary());
    assert_eq!((summary.pin_tries, summary.puk_tries), (3, 3), "no try was burnt");

    let done = until(&mut client, settled, "", "");
    assert_eq!(done.state, ProcedureState::Done);
    let stock = client.call(&custody::Stock {}).unwrap();
    assert_eq!((stock.used, stock.assigned, stock.reserved, stock.void), (1, 1, 0, 0));
    // The used envelope cannot serve another time; the other one can.
    let again = client.call(&Start { reader, case: Case::NewCodes }).unwrap();
    let again = until(&mut client, again, "", "§9.3.2-6");
    assert!(client.call(&step_of(&again, "§9.3.2-6", Answer::Envelope(first))).is_err());
    client.call(&step_of(&again, "§9.3.2-6", Answer::Envelope(second))).unwrap();
    client.call(&audit::Verify {}).unwrap();
    assert!(counter.running.terminate().success());
}
