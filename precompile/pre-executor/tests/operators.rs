//! A panel of operators in front of real and scripted engines: what it returns, and what it never returns.

use alloy_primitives::{B256, Bytes, I256};
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolValue;
use foreblock_engine::{Catalog, Engine, engine::Config};
use foreblock_pre_executor::{
    Certified, Compute, Store, StoreLimits, Unavailable,
    agreement::Evidence,
    operators::{Fault, LocalOperator, Operator, Panel, PanelConfig, Question, Rule, parse_faults},
    schedule::Prior,
};
use foreblock_precompile::{
    Failure, FailureCode, ModelId, Outcome, Request, StatementDomain,
    abi::{DType, Tensor},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// An engine that answers what its script says.
struct Scripted(Box<dyn Fn(&Bytes) -> Outcome + Send + Sync>);

impl Compute for Scripted {
    fn run(&self, _: ModelId, inputs: &[Bytes]) -> Vec<Result<Outcome, Unavailable>> {
        inputs.iter().map(|input| Ok(self.0(input))).collect()
    }

    fn prior(&self, _: ModelId) -> Option<Prior> {
        None
    }
}

fn wad(value: i64) -> Outcome {
    let data = I256::try_from(value).unwrap().to_be_bytes::<32>().to_vec().into();
    Outcome::Output(vec![Tensor { dtype: DType::Wad, shape: vec![1], data }].abi_encode().into())
}

fn domain() -> StatementDomain {
    StatementDomain::new(31_337)
}

fn key(number: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::with_last_byte(number as u8)).unwrap()
}

struct Setting {
    panel: Panel,
    operators: Vec<Arc<LocalOperator>>,
}

fn panel(engines: Vec<Arc<dyn Compute>>, rule: Rule, faults: &str, patience: Duration) -> Setting {
    let operators: Vec<_> = engines
        .into_iter()
        .enumerate()
        .map(|(index, engine)| Arc::new(LocalOperator::new(key(index + 1), domain(), engine)))
        .collect();
    let faults = parse_faults(faults).unwrap();
    for (number, operator) in operators.iter().enumerate() {
        let own = faults.iter().filter(|(of, _)| *of == number + 1).map(|(_, fault)| *fault);
        operator.set_faults(own.collect());
    }
    let config = PanelConfig { patience, ..PanelConfig::default() };
    let seats = operators.iter().map(|operator| operator.clone() as Arc<dyn Operator>);
    let panel = Panel::new(config, domain(), seats, move |_| Some(rule.clone()), |_| None);
    Setting { panel, operators }
}

/// Operators whose engines answer these values.
fn answering(values: &[i64], rule: Rule, faults: &str) -> Setting {
    let engine = |value: &i64| {
        let value = *value;
        Arc::new(Scripted(Box::new(move |_| wad(value)))) as Arc<dyn Compute>
    };
    panel(values.iter().map(engine).collect(), rule, faults, Duration::from_millis(400))
}

fn ask(setting: &Setting) -> Result<Outcome, Unavailable> {
    let input = Bytes::from(Vec::<Tensor>::new().abi_encode());
    let answer = setting.panel.run(B256::ZERO, std::slice::from_ref(&input)).remove(0);
    if let Ok(outcome) = &answer {
        let id = Request::new(B256::ZERO, input).id;
        let Certified { certificate, signers, .. } = setting.panel.certified(id, outcome.clone());
        let verified = certificate.verify(domain().digest(id, outcome), &setting.panel.committee());
        assert_eq!(verified.expect("an outcome comes with a certificate that counts"), signers);
    }
    answer
}

#[test]
fn f_faulty_operators_change_nothing() {
    for (name, faults) in [
        ("all honest", ""),
        ("a liar", "2:lie"),
        ("a silent one", "1:silent"),
        ("a slow one", "3:slow=3s"),
        ("one that crashed", "4:crash@0"),
        ("one that flips", "1:flip=1"),
    ] {
        let start = Instant::now();
        assert_eq!(ask(&answering(&[7; 4], Rule::Exact, faults)), Ok(wad(7)), "{name}");
        assert!(start.elapsed() < Duration::from_secs(2), "{name}: nobody waits for the faulty one");
    }
}

#[test]
fn more_than_f_faulty_operators_give_no_answer_rather_than_a_wrong_one() {
    for (name, faults) in
        [("two liars", "1:lie,2:lie"), ("two silent", "1:silent,2:silent"), ("a liar and a crash", "1:lie,3:crash@0")]
    {
        let refused = ask(&answering(&[7; 4], Rule::Exact, faults)).unwrap_err();
        assert!(refused.to_string().contains("no 3 of 4 operators agree"), "{name}: {refused}");
    }
}

#[test]
fn an_operator_can_be_set_right_again() {
    let setting = answering(&[7; 4], Rule::Exact, "1:silent,2:lie");
    assert!(ask(&setting).is_err());
    setting.operators[0].set_faults(vec![]);
    assert_eq!(ask(&setting), Ok(wad(7)));
    setting.operators[3].set_faults(vec![Fault::Silent]);
    assert!(ask(&setting).is_err());
}

#[test]
fn a_liar_leaves_evidence() {
    let setting = answering(&[7; 4], Rule::Exact, "2:lie");
    let liar = key(2).address();
    // The quorum may be there before the liar's statement is; it is heard in one of a few questions.
    for _ in 0..50 {
        ask(&setting).unwrap();
        if !setting.panel.evidence().is_empty() {
            break;
        }
    }
    let evidence = setting.panel.evidence();
    assert!(!evidence.is_empty());
    for evidence in evidence {
        assert!(matches!(evidence.evidence, Evidence::Contradiction { .. }), "{evidence:?}");
        assert_eq!(evidence.evidence.operator(), liar);
    }
}

#[test]
fn within_a_tolerance_the_medoid_is_signed_by_all_who_stand_for_it() {
    let rule = Rule::Tolerance(vec![10.0]);
    for (name, values, faults, possible) in [
        ("close", [100, 104, 102, 108], "", &[102, 104][..]),
        ("one far off", [100, 104, 102, 900], "", &[102]),
        ("one silent", [100, 104, 102, 108], "4:silent", &[102]),
    ] {
        let outcome = ask(&answering(&values, rule.clone(), faults)).unwrap();
        // Of four answers the first three to come may decide, so more than one choice is right; none is made up.
        let chosen: Vec<_> = values.iter().filter(|value| wad(**value) == outcome).collect();
        assert_eq!(chosen.len(), 1, "{name}: {outcome:?} was computed by somebody");
        assert!(possible.contains(chosen[0]) || values.len() == 4 && faults.is_empty() && name == "close", "{name}");
    }
    assert!(ask(&answering(&[100, 120, 140, 160], rule.clone(), "")).is_err(), "nobody is close to anybody");
    assert!(ask(&answering(&[100, 104, 900, 904], rule, "")).is_err(), "two camps");
}

#[test]
fn failures_need_a_quorum_too() {
    let failing = |fails: bool| -> Arc<dyn Compute> {
        Arc::new(Scripted(Box::new(move |_| match fails {
            true => Outcome::Failed(Failure::new(FailureCode::WrongShape, "expected [1,16]")),
            false => wad(7),
        })))
    };
    for rule in [Rule::Exact, Rule::Tolerance(vec![10.0])] {
        let patience = Duration::from_millis(400);
        let setting = panel([true, true, true, false].map(failing).into(), rule.clone(), "", patience);
        assert!(matches!(ask(&setting), Ok(Outcome::Failed(_))), "{rule:?}: three say that it fails");
        let setting = panel([true, false, false, false].map(failing).into(), rule.clone(), "", patience);
        assert_eq!(ask(&setting), Ok(wad(7)), "{rule:?}: one alone cannot staple a failure on");
        let setting = panel([true, true, false, false].map(failing).into(), rule.clone(), "", patience);
        assert!(ask(&setting).is_err(), "{rule:?}: two and two");
    }
}

#[test]
fn four_real_engines_agree_on_a_real_model() {
    let engine = || Engine::new(Catalog::new(None), Config::default());
    let one = engine();
    let model = one.catalog().find("volatility").unwrap().manifest.id();
    let data: Vec<u8> = (0..16i64)
        .flat_map(|day| I256::try_from((day - 8) * 3_000_000_000_000_000).unwrap().to_be_bytes::<32>())
        .collect();
    let tensor = Tensor { dtype: DType::Wad, shape: vec![1, 16], data: data.into() };
    let input = Bytes::from(vec![tensor].abi_encode());
    let alone = one.run(model, std::slice::from_ref(&input)).remove(0).unwrap();

    let engines: Vec<Arc<dyn Compute>> = (0..4).map(|_| Arc::new(engine()) as Arc<dyn Compute>).collect();
    let setting = panel(engines, Rule::Exact, "3:lie", Duration::from_secs(20));
    let agreed = setting.panel.run(model, std::slice::from_ref(&input)).remove(0).unwrap();
    assert_eq!(agreed, alone);
    assert!(matches!(agreed, Outcome::Output(_)));
}

#[test]
fn what_an_operator_endorsed_it_stands_by_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("endorsed");
    let start = |value: i64| {
        let engine = Arc::new(Scripted(Box::new(move |_| wad(value))));
        LocalOperator::new(key(1), domain(), engine).remembering(Store::open(&kept, StoreLimits::default()).unwrap())
    };
    let (question, _wanted) = Question::new(B256::ZERO, &[Bytes::from("input")], &[10.0], Duration::from_secs(10));
    let id = question.inputs[0].0;
    let signature = {
        let operator = start(100);
        assert_eq!(operator.answer(&question, false)[0].as_ref().unwrap().outcome, wad(100));
        operator.endorse(&question, id, &wad(104)).unwrap()
    };
    // Its engine answers something else now, from where what it signed is out of reach.
    let operator = start(93);
    assert_eq!(operator.answer(&question, false)[0].as_ref().unwrap().outcome, wad(104), "its word stands");
    let second = operator.endorse(&question, id, &wad(95)).unwrap_err();
    assert!(second.0.contains("a second outcome"), "{second}");
    assert_eq!(operator.endorse(&question, id, &wad(104)).unwrap(), signature);
}
