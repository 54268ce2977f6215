//! Agreement of an exact model: equal bytes from a quorum.

use super::Heard;
use alloy_primitives::Address;
use foreblock_precompile::{Certificate, Committee, Outcome, RequestId};
use std::collections::BTreeMap;

/// An outcome that counts, with what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The request.
    pub id: RequestId,
    /// What it resolves to.
    pub outcome: Outcome,
    /// At least a quorum of signatures over it.
    pub certificate: Certificate,
    /// Whose they are, in the certificate's order.
    pub signers: Vec<Address>,
}

/// The outcome that a quorum of the committee signed for this request, if there is one yet.
///
/// Strangers, repetitions and statements for other requests do not count. An operator that signed several outcomes counts
/// for none of them: honest operators sign one, and the others are needed by no quorum. Two quorums share an honest
/// operator, so at most one outcome can win.
pub fn agree<'a>(id: RequestId, committee: &Committee, heard: impl IntoIterator<Item = &'a Heard>) -> Option<Agreed> {
    // Each operator's statement; `None` once it has made two that differ.
    let mut said: BTreeMap<Address, Option<&Heard>> = BTreeMap::new();
    for heard in heard {
        if heard.statement().id != id || !committee.contains(heard.operator()) {
            continue;
        }
        let kept = said.entry(heard.operator()).or_insert(Some(heard));
        if kept.is_some_and(|kept| kept.statement().outcome != heard.statement().outcome) {
            *kept = None;
        }
    }
    let votes: Vec<&Heard> = said.into_values().flatten().collect();
    votes.iter().find_map(|candidate| {
        let outcome = &candidate.statement().outcome;
        let supporters: Vec<&Heard> =
            votes.iter().copied().filter(|vote| vote.statement().outcome == *outcome).collect();
        (supporters.len() >= committee.quorum()).then(|| Agreed {
            id,
            outcome: outcome.clone(),
            certificate: Certificate { signatures: supporters.iter().map(|vote| vote.statement().signature).collect() },
            signers: supporters.iter().map(|vote| vote.operator()).collect(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::SignedStatement;
    use alloy_primitives::{B256, Signature, U256};
    use alloy_signer::SignerSync;
    use alloy_signer_local::PrivateKeySigner;
    use foreblock_precompile::StatementDomain;
    use proptest::prelude::*;

    fn signer(number: u8) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::with_last_byte(number)).unwrap()
    }

    fn said(domain: &StatementDomain, id: RequestId, number: u8, text: u8) -> SignedStatement {
        let outcome = Outcome::Output(vec![text].into());
        let signature = signer(number).sign_hash_sync(&domain.digest(id, &outcome)).unwrap();
        SignedStatement { id, outcome, signature }
    }

    fn setting(n: u8) -> (RequestId, StatementDomain, Committee) {
        let committee = Committee::new((1..=n).map(|number| signer(number).address()));
        (B256::repeat_byte(1), StatementDomain::new(31_337), committee)
    }

    fn decide(n: u8, votes: &[(u8, u8)]) -> Option<Outcome> {
        let (id, domain, committee) = setting(n);
        let heard: Vec<_> =
            votes.iter().map(|(who, what)| Heard::check(said(&domain, id, *who, *what), &domain).unwrap()).collect();
        let agreed = agree(id, &committee, &heard)?;
        let signers = agreed.certificate.verify(domain.digest(id, &agreed.outcome), &committee).unwrap();
        assert_eq!(signers, agreed.signers);
        Some(agreed.outcome)
    }

    #[test]
    fn a_quorum_decides_and_less_does_not() {
        let yes = Some(Outcome::Output(vec![b'y'].into()));
        for (name, n, votes, expected) in [
            ("one operator", 1, &[(1, b'y')][..], yes.clone()),
            ("three of four", 4, &[(1, b'y'), (3, b'y'), (4, b'y')], yes.clone()),
            ("reordered", 4, &[(4, b'y'), (1, b'y'), (3, b'y')], yes.clone()),
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
    fn forged_truncated_and_replayed_statements_do_not_count() {
        let (id, domain, committee) = setting(1);
        let good = said(&domain, id, 1, b'y');
        let other_registry = {
            let digest = StatementDomain::at(31_337, Default::default()).digest(id, &good.outcome);
            SignedStatement { signature: signer(1).sign_hash_sync(&digest).unwrap(), ..good.clone() }
        };
        let forged = SignedStatement { outcome: Outcome::Output(vec![b'n'].into()), ..good.clone() };
        let truncated = {
            let r = good.signature.r() >> 128;
            SignedStatement { signature: Signature::new(r, good.signature.s(), good.signature.v()), ..good.clone() }
        };
        for (name, statement) in [
            ("another request", said(&domain, B256::repeat_byte(2), 1, b'y')),
            ("another chain", said(&StatementDomain::new(1), id, 1, b'y')),
            ("another registry", other_registry),
            ("forged", forged),
            ("truncated", truncated),
        ] {
            let heard = Heard::check(statement, &domain);
            assert_eq!(agree(id, &committee, &heard), None, "{name}");
        }
        assert!(agree(id, &committee, &Heard::check(good, &domain)).is_some());
    }

    #[test]
    fn the_second_form_of_a_signature_is_none() {
        let (id, domain, _) = setting(1);
        let good = said(&domain, id, 1, b'y');
        const ORDER: U256 = U256::from_be_slice(&alloy_primitives::hex!(
            "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
        ));
        let twin = Signature::new(good.signature.r(), ORDER - good.signature.s(), !good.signature.v());
        assert_eq!(Heard::check(SignedStatement { signature: twin, ..good }, &domain), None);
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
