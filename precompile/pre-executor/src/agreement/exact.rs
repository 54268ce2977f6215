//! Agreement of an exact model: equal bytes from a quorum.

use alloy_primitives::{Address, B256, Signature};
use foreblock_precompile::{Certificate, Committee, Outcome, RequestId, StatementDomain};
use std::collections::BTreeMap;

/// An outcome that counts, with what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// What the request resolves to.
    pub outcome: Outcome,
    /// At least a quorum of signatures over it.
    pub certificate: Certificate,
}

/// The outcome that a quorum of the committee signed for this request, if there is one yet.
///
/// `answers` may hold anything that came over the network: strangers, forged signatures, repetitions and statements for
/// other requests do not count. An operator that signed several outcomes counts for none of them: honest operators sign
/// one, and the others are needed by no quorum. Two quorums share an honest operator, so at most one outcome can win.
pub fn agree<'a>(
    id: RequestId,
    domain: &StatementDomain,
    committee: &Committee,
    answers: impl IntoIterator<Item = (&'a Outcome, Signature)>,
) -> Option<Agreed> {
    let mut signed: BTreeMap<Address, BTreeMap<B256, Signature>> = BTreeMap::new();
    let mut outcomes: BTreeMap<B256, &Outcome> = BTreeMap::new();
    for (outcome, signature) in answers {
        let digest = domain.digest(id, outcome);
        let Ok(operator) = signature.recover_address_from_prehash(&digest) else { continue };
        if committee.contains(operator) && signature.normalize_s().is_none() {
            signed.entry(operator).or_default().insert(digest, signature);
            outcomes.insert(digest, outcome);
        }
    }
    let votes = signed.values().filter(|statements| statements.len() == 1).flatten();
    let mut supporters: BTreeMap<B256, Vec<Signature>> = BTreeMap::new();
    for (digest, signature) in votes {
        supporters.entry(*digest).or_default().push(*signature);
    }
    let (digest, signatures) = supporters.into_iter().find(|(_, signatures)| signatures.len() >= committee.quorum())?;
    Some(Agreed { outcome: outcomes[&digest].clone(), certificate: Certificate::assemble(digest, signatures) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use proptest::prelude::*;

    fn signer(number: u8) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::with_last_byte(number)).unwrap()
    }

    fn answer(domain: &StatementDomain, id: RequestId, number: u8, text: u8) -> (Outcome, Signature) {
        let outcome = Outcome::Output(vec![text].into());
        let signature = signer(number).sign_hash_sync(&domain.digest(id, &outcome)).unwrap();
        (outcome, signature)
    }

    fn setting(n: u8) -> (RequestId, StatementDomain, Committee) {
        let committee = Committee::new((1..=n).map(|number| signer(number).address()));
        (B256::repeat_byte(1), StatementDomain::new(31_337), committee)
    }

    fn decide(n: u8, votes: &[(u8, u8)]) -> Option<Outcome> {
        let (id, domain, committee) = setting(n);
        let answers: Vec<_> = votes.iter().map(|(who, what)| answer(&domain, id, *who, *what)).collect();
        let agreed = agree(id, &domain, &committee, answers.iter().map(|(outcome, signature)| (outcome, *signature)))?;
        agreed.certificate.verify(domain.digest(id, &agreed.outcome), &committee).unwrap();
        Some(agreed.outcome)
    }

    #[test]
    fn a_quorum_decides_and_less_does_not() {
        let yes = Some(Outcome::Output(vec![b'y'].into()));
        for (name, n, votes, expected) in [
            ("one operator", 1, &[(1, b'y')][..], yes.clone()),
            ("three of four", 4, &[(1, b'y'), (3, b'y'), (4, b'y')], yes.clone()),
            ("a liar beside them", 4, &[(2, b'n'), (1, b'y'), (3, b'y'), (4, b'y')], yes.clone()),
            ("two of four", 4, &[(1, b'y'), (3, b'y')], None),
            ("two and two", 4, &[(1, b'y'), (2, b'n'), (3, b'y'), (4, b'n')], None),
            ("one thrice", 4, &[(1, b'y'), (1, b'y'), (1, b'y')], None),
            ("a stranger helps", 4, &[(1, b'y'), (2, b'y'), (9, b'y')], None),
            ("one says both", 4, &[(1, b'y'), (2, b'y'), (3, b'y'), (3, b'n')], None),
            ("one says both, others suffice", 4, &[(3, b'n'), (1, b'y'), (2, b'y'), (3, b'y'), (4, b'y')], yes),
        ] {
            assert_eq!(decide(n, votes), expected, "{name}");
        }
    }

    #[test]
    fn statements_for_another_request_or_chain_do_not_count() {
        let (id, domain, committee) = setting(1);
        for (name, (outcome, signature)) in [
            ("request", answer(&domain, B256::repeat_byte(2), 1, b'y')),
            ("chain", answer(&StatementDomain::new(1), id, 1, b'y')),
        ] {
            assert_eq!(agree(id, &domain, &committee, [(&outcome, signature)]), None, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        /// However f operators of 3f+1 lie, and in whatever order answers come, only the honest outcome wins.
        #[test]
        fn f_liars_never_win(f in 1u8..=2, lies in prop::collection::vec((0u8..2, b'a'..b'd'), 0..6), present in any::<u16>(), shuffle in any::<u64>()) {
            let n = 3 * f + 1;
            let mut votes: Vec<(u8, u8)> = (f + 1..=n).filter(|who| present >> who & 1 == 1).map(|who| (who, b'y')).collect();
            let honest = votes.len();
            votes.extend(lies.into_iter().map(|(who, what)| (1 + who % f, what)));
            let count = votes.len().max(1);
            votes.rotate_left(shuffle as usize % count);
            let decided = decide(n, &votes);
            prop_assert!(decided.is_none() || decided == Some(Outcome::Output(vec![b'y'].into())));
            prop_assert_eq!(decided.is_some(), honest >= usize::from(2 * f + 1));
        }
    }

    #[test]
    fn operators_that_equivocate_are_few_enough_to_ignore() {
        // f = 1 equivocates towards every outcome; the three honest ones still decide.
        let votes = [(1, b'y'), (1, b'n'), (2, b'y'), (3, b'y'), (4, b'y')];
        assert_eq!(decide(4, &votes), Some(Outcome::Output(vec![b'y'].into())));
    }
}
