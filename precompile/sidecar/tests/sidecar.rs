//! A client and a sidecar that is well, down, slow, late, started anew, of another chain or of another version.

use alloy_evm::{Evm, EvmEnv, EvmFactory};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolValue};
use foreblock_precompile::{
    ForeblockEvmFactory, MODEL_REGISTRY_ADDRESS, MemoryOutcomes, ModelSlot, Outcome, Outcomes, PRECOMPILE_ADDRESS,
    Profile, Request, RequestId,
    abi::{DType, IInference, Tensor},
    model_storage_key,
};
use foreblock_sidecar::{
    Answers, Client, ClientError, Patience, ServeError, Server, SidecarOutcomes, Welcome,
    frame::{Noted, Question, Reason, VERSION},
};
use revm::{
    context::{BlockEnv, CfgEnv, TxEnv, result::EVMError},
    database::{CacheDB, EmptyDB},
    primitives::hardfork::SpecId,
    state::AccountInfo,
};
use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const CHAIN: u64 = 7;
const MODEL: B256 = B256::repeat_byte(0x42);
const SENDER: Address = Address::repeat_byte(0xee);
const PATIENCE: Duration = Duration::from_secs(5);
const IMPATIENT: Patience = Patience { answer: Duration::from_millis(100), reconnect: Duration::from_millis(50) };

/// Outcomes in memory, given after a while.
#[derive(Default)]
struct Shelf {
    outcomes: MemoryOutcomes,
    wanted: Mutex<Vec<RequestId>>,
    delay_ms: AtomicU64,
    chain_id: AtomicU64,
}

impl Answers for Shelf {
    fn welcome(&self) -> Welcome {
        let other = self.chain_id.load(Relaxed);
        Welcome { chain_id: if other == 0 { CHAIN } else { other }, precompile: PRECOMPILE_ADDRESS }
    }

    fn lookup(&self, id: RequestId) -> Option<Outcome> {
        thread::sleep(Duration::from_millis(self.delay_ms.load(Relaxed)));
        self.outcomes.get(id)
    }

    fn wanted(&self, _: B256, model: B256, input: Bytes) -> Result<Noted, (Reason, String)> {
        self.wanted.lock().unwrap().push(Request::new(model, input).id);
        Ok(Noted::Queued)
    }

    fn list(&self, _: Vec<RequestId>) -> Result<Bytes, (Reason, String)> {
        Err((Reason::Missing, "nothing is certified here".into()))
    }

    fn status(&self) -> Bytes {
        Bytes::from_static(b"{}")
    }
}

struct Beside {
    folder: TempDir,
    shelf: Arc<Shelf>,
    server: Option<Server>,
}

impl Beside {
    fn start() -> Self {
        let mut beside = Self { folder: TempDir::new().unwrap(), shelf: Arc::default(), server: None };
        beside.up();
        beside
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("sidecar")
    }

    fn up(&mut self) {
        self.server = Some(Server::start(&self.path(), self.shelf.clone()).unwrap());
    }

    fn down(&mut self) {
        self.server = None;
    }

    fn client(&self) -> Client {
        Client::connect(&self.path(), CHAIN, PATIENCE).unwrap()
    }

    fn outcomes(&self) -> SidecarOutcomes {
        SidecarOutcomes::new(self.path(), CHAIN, IMPATIENT)
    }
}

fn input(byte: u8) -> Bytes {
    vec![Tensor { dtype: DType::U8, shape: vec![3], data: vec![byte; 3].into() }].abi_encode().into()
}

fn request(byte: u8) -> Request {
    Request::new(MODEL, input(byte))
}

fn answer() -> Outcome {
    Outcome::Output(input(9))
}

fn eventually(what: &str, check: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a transaction that asks `request(1)`, and a payment after it, are in a block that is built with these outcomes.
fn build(outcomes: Arc<dyn Outcomes>) -> (bool, bool) {
    let slot =
        ModelSlot { gas_per_run: 5_000, max_input_bytes: 2_048, max_output_bytes: 1_024, profile: Profile::ExactF32 };
    let mut db = CacheDB::new(EmptyDB::default());
    db.insert_account_info(SENDER, AccountInfo::from_balance(U256::from(10).pow(U256::from(20))));
    db.insert_account_info(MODEL_REGISTRY_ADDRESS, AccountInfo { nonce: 1, ..Default::default() });
    db.insert_account_storage(MODEL_REGISTRY_ADDRESS, model_storage_key(MODEL).into(), slot.pack()).unwrap();
    let cfg_env = CfgEnv::<SpecId>::default().with_spec_and_mainnet_gas_params(SpecId::PRAGUE);
    let block_env = BlockEnv { gas_limit: 30_000_000, number: U256::from(1), ..Default::default() };
    let mut evm = ForeblockEvmFactory::new(outcomes).create_evm(db, EvmEnv { cfg_env, block_env });
    let mut include = |nonce, to, data: Bytes| {
        let tx = TxEnv::builder().caller(SENDER).nonce(nonce).to(to).data(data).gas_limit(500_000).chain_id(Some(1));
        match evm.transact_commit(tx.build().unwrap()) {
            Ok(result) => result.is_success(),
            Err(EVMError::Transaction(_)) => false,
            Err(error) => panic!("{error}"),
        }
    };
    let ask = IInference::runCall { modelId: MODEL, input: input(1) }.abi_encode();
    let asked = include(0, PRECOMPILE_ADDRESS, ask.into());
    let paid = include(u64::from(asked), Address::repeat_byte(7), Bytes::new());
    (asked, paid)
}

#[test]
fn outcomes_come_in_the_order_in_which_they_were_asked_for() {
    let beside = Beside::start();
    let requests: Vec<Request> = (0..200).map(request).collect();
    for request in requests.iter().step_by(3) {
        beside.shelf.outcomes.insert(request.id, Outcome::Output(request.input.clone()));
    }
    let mut client = beside.client();
    assert_eq!((client.chain_id(), client.precompile()), (CHAIN, PRECOMPILE_ADDRESS));
    let ids: Vec<B256> = requests.iter().cycle().take(3_000).map(|request| request.id).collect();
    let found = client.lookup(&ids).unwrap();
    for (at, outcome) in found.into_iter().enumerate() {
        let expected = (at % 200 % 3 == 0).then(|| Outcome::Output(requests[at % 200].input.clone()));
        assert_eq!(outcome, expected, "{at}");
    }
    assert_eq!(client.status().unwrap(), Bytes::from_static(b"{}"));
    let refused = client.list(vec![ids[0]]).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(Reason::Missing, _)), "{refused}");
    let refused = client.examine(Bytes::from_static(b"{}")).unwrap_err();
    assert!(matches!(refused, ClientError::Refused(Reason::Unsupported, _)), "{refused}");
    assert_eq!(client.wanted(B256::ZERO, MODEL, input(1)).unwrap(), Noted::Queued, "refusals end nothing");
}

#[test]
fn a_sidecar_that_is_down_leaves_blocks_without_inferences_and_is_found_when_it_is_back() {
    let mut beside = Beside::start();
    beside.shelf.outcomes.insert(request(1).id, answer());
    let outcomes = Arc::new(beside.outcomes());
    assert_eq!(build(outcomes.clone()), (true, true));
    beside.down();
    assert_eq!(build(outcomes.clone()), (false, true), "the block goes on without the transaction");
    beside.up();
    eventually("the sidecar is found again", || outcomes.get(request(1).id).is_some());
    assert_eq!(build(outcomes), (true, true));
}

#[test]
fn a_restarted_sidecar_is_asked_again_on_a_new_connection_at_once() {
    let mut beside = Beside::start();
    beside.shelf.outcomes.insert(request(1).id, answer());
    let outcomes = beside.outcomes();
    assert!(outcomes.get(request(1).id).is_some());
    beside.down();
    beside.up();
    assert!(outcomes.get(request(1).id).is_some(), "the old connection was closed: no lookup is lost for it");
}

#[test]
fn a_slow_sidecar_costs_its_patience_once_and_then_nothing() {
    let beside = Beside::start();
    beside.shelf.outcomes.insert(request(1).id, answer());
    beside.shelf.delay_ms.store(1_000, Relaxed);
    let outcomes = SidecarOutcomes::new(
        beside.path(),
        CHAIN,
        Patience { answer: Duration::from_millis(100), reconnect: Duration::from_secs(60) },
    );
    let start = Instant::now();
    for byte in 1..50 {
        assert_eq!(outcomes.get(request(byte).id), None);
    }
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[test]
fn a_late_answer_is_never_taken_for_another_requests() {
    let beside = Beside::start();
    beside.shelf.outcomes.insert(request(1).id, answer());
    beside.shelf.delay_ms.store(300, Relaxed);
    let outcomes = beside.outcomes();
    assert_eq!(outcomes.get(request(1).id), None, "too late");
    beside.shelf.delay_ms.store(0, Relaxed);
    // The late answer arrives on a connection that nobody reads any more.
    for _ in 0..100 {
        assert_eq!(outcomes.get(request(2).id), None);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(outcomes.get(request(1).id), Some(answer()));
}

#[test]
fn a_sidecar_of_another_chain_is_refused_by_either_side() {
    let beside = Beside::start();
    beside.shelf.outcomes.insert(request(1).id, answer());
    let refused = Client::connect(&beside.path(), CHAIN + 1, PATIENCE).unwrap_err();
    assert!(matches!(&refused, ClientError::Refused(Reason::Chain, words) if words.contains('7')), "{refused}");
    assert_eq!(SidecarOutcomes::new(beside.path(), CHAIN + 1, IMPATIENT).get(request(1).id), None);
    assert!(Client::connect(&beside.path(), 0, PATIENCE).is_ok(), "0 is any chain");
}

#[test]
fn another_version_of_the_schema_is_refused_in_words() {
    let beside = Beside::start();
    for version in [0, VERSION + 1, u16::MAX] {
        let refused = Client::greet(&beside.path(), version, CHAIN, PATIENCE).unwrap_err();
        let words = refused.to_string();
        assert!(matches!(refused, ClientError::Refused(Reason::Version, _)), "{words}");
        assert!(words.contains(&version.to_string()) && words.contains(&VERSION.to_string()), "{words}");
    }
}

#[test]
fn two_clients_on_one_sidecar_do_not_disturb_each_other() {
    let beside = Beside::start();
    for byte in 0..100 {
        beside.shelf.outcomes.insert(request(byte).id, Outcome::Output(input(byte)));
    }
    let path = beside.path();
    let ask = |first: u8, path: &Path| {
        let mut client = Client::connect(path, CHAIN, PATIENCE).unwrap();
        for round in 0..2_000u32 {
            let byte = first + (round % 50) as u8;
            assert_eq!(client.lookup_one(request(byte).id).unwrap(), Some(Outcome::Output(input(byte))));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| ask(0, &path));
        scope.spawn(|| ask(50, &path));
    });
    eventually("both connections end", || beside.server.as_ref().unwrap().connections() == 0);
}

#[test]
fn a_stale_socket_is_replaced_one_that_is_served_is_not_and_no_other_file_is_touched() {
    let mut beside = Beside::start();
    let path = beside.path();
    let taken = Server::start(&path, beside.shelf.clone()).unwrap_err();
    assert!(matches!(taken, ServeError::Taken(_)), "{taken}");
    assert!(beside.client().status().is_ok(), "who listens goes on");
    beside.down();
    // What a killed process leaves behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    beside.up();
    assert!(beside.client().status().is_ok());
    beside.down();
    std::fs::write(&path, "a file").unwrap();
    let refused = Server::start(&path, beside.shelf.clone()).unwrap_err();
    assert!(matches!(refused, ServeError::NoSocket(_)), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}

#[test]
fn the_builder_tells_of_what_it_misses_and_nothing_misshapen_is_included() {
    let beside = Beside::start();
    let outcomes = Arc::new(beside.outcomes());
    assert_eq!(build(outcomes.clone()), (false, true));
    assert_eq!(*beside.shelf.wanted.lock().unwrap(), [request(1).id]);
    // No list can carry this: a block that used it would be invalid.
    beside.shelf.outcomes.insert(request(1).id, Outcome::Output(Bytes::from_static(b"not tensors")));
    assert_eq!(build(outcomes), (false, true));
}

#[test]
fn bytes_that_are_no_frame_end_the_connection_and_nothing_else() {
    let beside = Beside::start();
    let mut good = beside.client();
    let mut early = Vec::new();
    Question::Status.write(&mut early);
    let hello = |body: &[u8]| [&(body.len() as u32 + 1).to_be_bytes()[..], &[1], body].concat();
    for (name, bytes) in [
        ("nothing", vec![]),
        ("an empty frame", vec![0; 4]),
        ("a frame beyond the bound", vec![0xff; 64]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("a question before the hello", early),
        ("another magic", hello(b"nope\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")),
        ("half a hello", hello(b"fbsc\x00\x01")),
        ("a frame that does not end", vec![0, 0, 1, 0, 1]),
    ] {
        let mut stream = UnixStream::connect(beside.path()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(answer.is_empty() || answer[4] == 0xff, "{name}: {answer:?}");
        assert!(good.status().is_ok(), "{name}");
    }
}

mod frames {
    use foreblock_sidecar::frame::{Answer, Question};
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = u8> {
        prop_oneof![0u8..8, 0x80u8..0x88, Just(0xffu8)]
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_written_the_same(kind in kinds(), body in prop::collection::vec(any::<u8>(), 0..200)) {
            let frame = [&[kind][..], &body].concat();
            let mut out = Vec::new();
            if let Ok(question) = Question::read(&frame) {
                question.write(&mut out);
                prop_assert_eq!(&out[4..], &frame[..]);
            }
            out.clear();
            // Words that are not UTF-8 are shown, not kept.
            if let Some(answer) = Answer::read(&frame).ok().filter(|_| kind != 0xff) {
                answer.write(&mut out);
                prop_assert_eq!(&out[4..], &frame[..]);
            }
        }
    }
}
