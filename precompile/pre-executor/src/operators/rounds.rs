//! The rounds of one question: who is asked what, and when it is decided.

use super::{Answer, Operator, Panel, Question, numbers::choose_outcome};
use crate::{
    Unavailable,
    agreement::{Agreed, Heard, SignedStatement, agree, contradiction, equivocation, fits},
};
use alloy_primitives::{Address, B256, Bytes};
use foreblock_precompile::{Committee, Outcome, RequestId, StatementDomain};
use std::{
    cell::Cell,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    time::{Duration, Instant},
};

/// Least time to hear commitments after those of a quorum.
const GRACE: Duration = Duration::from_millis(100);

/// What came from one operator, for each input.
struct FromOne<T> {
    operator: Address,
    said: Vec<Result<T, Unavailable>>,
}

pub(super) struct Round<'a> {
    panel: &'a Panel,
    committee: &'a Committee,
    question: Arc<Question>,
    reason: Cell<Option<Unavailable>>,
}

impl<'a> Round<'a> {
    pub(super) fn new(panel: &'a Panel, committee: &'a Committee, question: Arc<Question>) -> Self {
        Self { panel, committee, question, reason: Cell::default() }
    }

    /// Why the operator that was heard last has no answer, where one has none.
    pub(super) fn reason(&self) -> Option<Unavailable> {
        self.reason.take()
    }

    pub(super) fn inputs(&self) -> &[(RequestId, Bytes)] {
        &self.question.inputs
    }

    pub(super) fn decide(&self) -> Vec<Option<Agreed>> {
        match (self.question.tolerances.is_empty(), self.panel.config.commit_first) {
            (true, false) => self.exact(),
            (true, true) => self.exact_after_commitments(),
            (false, _) => self.within_tolerances(),
        }
    }

    fn exact(&self) -> Vec<Option<Agreed>> {
        let mut votes = Votes::new(self);
        let domain = self.panel.domain.clone();
        let ask = move |operator: &dyn Operator, question: &Question| {
            let said = question.inputs.iter().zip(operator.answer(question, true));
            said.map(|((id, _), answer)| heard(operator, *id, answer?, &domain)).collect()
        };
        self.hear(ask, |from| votes.add_all(from));
        votes.end()
    }

    fn exact_after_commitments(&self) -> Vec<Option<Agreed>> {
        let quorum = self.committee.quorum();
        let mut committed: Vec<Vec<(Address, B256)>> = vec![Vec::new(); self.inputs().len()];
        // Who is late cannot commit any more, so a liar among the first must not be what keeps honest ones out.
        self.hear_all(
            |operator, question| operator.commit(question),
            |from| {
                for (known, said) in committed.iter_mut().zip(from.said) {
                    known.extend(said.ok().map(|commitment| (from.operator, commitment)));
                }
                committed.iter().all(|known| known.len() >= quorum)
            },
            GRACE,
        );
        let mut votes = Votes::new(self);
        let domain = self.panel.domain.clone();
        let ask = move |operator: &dyn Operator, question: &Question| {
            let revealed = question.inputs.iter().zip(operator.reveal(question));
            let signed = revealed.map(|((id, _), said)| {
                let (answer, salt) = said?;
                Ok((heard(operator, *id, answer, &domain)?, salt))
            });
            signed.collect()
        };
        // From here on a commitment comes too late: answers are being shown.
        self.hear(ask, |from| {
            for ((at, known), said) in committed.iter().enumerate().zip(from.said) {
                let Ok((heard, salt)) = said else { continue };
                let SignedStatement { id, outcome, .. } = heard.statement();
                let kept = |(who, commitment): &(Address, B256)| {
                    *who == from.operator && fits(*commitment, *id, outcome, salt, *who)
                };
                if known.iter().any(kept) {
                    votes.add(at, heard);
                }
            }
            votes.all_agreed()
        });
        votes.end()
    }

    fn within_tolerances(&self) -> Vec<Option<Agreed>> {
        let (tolerances, quorum) = (&self.question.tolerances, self.committee.quorum());
        let mut said: Vec<Vec<(Address, Outcome)>> = vec![Vec::new(); self.inputs().len()];
        let mut chosen: Vec<Option<Outcome>> = vec![None; self.inputs().len()];
        self.hear(
            |operator, question| operator.answer(question, false),
            |from| {
                for (at, answer) in from.said.into_iter().enumerate().take(self.inputs().len()) {
                    let Ok(answer) = answer else { continue };
                    said[at].push((from.operator, answer.outcome));
                    if chosen[at].is_none() {
                        chosen[at] = choose_outcome(&said[at], tolerances, quorum);
                    }
                }
                chosen.iter().all(Option::is_some)
            },
        );
        self.endorsed(chosen)
    }

    /// The second step: those who stand for what was chosen sign it. Who does, they know themselves.
    fn endorsed(&self, chosen: Vec<Option<Outcome>>) -> Vec<Option<Agreed>> {
        let mut votes = Votes::new(self);
        votes.undecidable(chosen.iter().map(Option::is_none));
        let domain = self.panel.domain.clone();
        let ask = move |operator: &dyn Operator, question: &Question| {
            let endorse = |((id, _), chosen): (&(RequestId, _), &Option<Outcome>)| {
                let outcome = chosen.clone().ok_or_else(|| Unavailable("nothing was chosen".into()))?;
                let signature = Some(operator.endorse(question, *id, &outcome)?);
                heard(operator, *id, Answer { outcome, signature }, &domain)
            };
            question.inputs.iter().zip(&chosen).map(endorse).collect()
        };
        self.hear(ask, |from| votes.add_all(from));
        votes.end()
    }

    /// Asks, and hears until `decided` or until the time is over: all operators at once, or a quorum, and the others when
    /// the answer is late. Only who belongs to the committee is asked.
    fn hear<T: Send + 'static>(
        &self,
        ask: impl Fn(&dyn Operator, &Question) -> Vec<Result<T, Unavailable>> + Send + Sync + 'static,
        decided: impl FnMut(FromOne<T>) -> bool,
    ) {
        self.hear_all(ask, decided, Duration::ZERO);
    }

    /// The same, and hears the rest for as long again as the decision took, at least for `grace`, if that is not zero.
    fn hear_all<T: Send + 'static>(
        &self,
        ask: impl Fn(&dyn Operator, &Question) -> Vec<Result<T, Unavailable>> + Send + Sync + 'static,
        mut decided: impl FnMut(FromOne<T>) -> bool,
        grace: Duration,
    ) {
        let ask = Arc::new(ask);
        let (to, answers): (Sender<FromOne<T>>, Receiver<FromOne<T>>) = channel();
        let ask_one = |seat: &super::seat::Seat, to: &Sender<FromOne<T>>| {
            let (ask, to) = (ask.clone(), to.clone());
            seat.ask(&self.question, move |operator, question| {
                let said = ask(operator, question);
                // Whoever asked may have what it needs already, and be gone.
                let _ = to.send(FromOne { operator: operator.address(), said });
            });
        };
        let mut seats: Vec<_> =
            self.panel.seats.iter().filter(|seat| self.committee.contains(seat.operator.address())).collect();
        let turn = self.panel.turn() % seats.len().max(1);
        seats.rotate_left(turn);
        let first = if self.panel.config.hedge { self.committee.quorum().min(seats.len()) } else { seats.len() };
        let (now, mut later) = seats.split_at(first);
        now.iter().for_each(|seat| ask_one(seat, &to));

        let started = Instant::now();
        let hedge_at = started + self.panel.hedge_after();
        let mut to = Some(to);
        loop {
            if later.is_empty() {
                // With the last sender gone, silence of all who were asked ends the wait.
                to = None;
            }
            let until = if later.is_empty() { self.question.deadline } else { hedge_at.min(self.question.deadline) };
            match answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(from) => {
                    self.panel.note_latency(started.elapsed());
                    let useless = from.said.iter().all(Result::is_err);
                    if let Some(reason) = from.said.iter().find_map(|said| said.as_ref().err()) {
                        self.reason.set(Some(reason.clone()));
                    }
                    if decided(from) {
                        // What has come beside is evidence, if it differs.
                        drop(to.take());
                        let wait = if grace.is_zero() { grace } else { grace.max(started.elapsed()) };
                        let end = (Instant::now() + wait).min(self.question.deadline);
                        while let Ok(late) = answers.recv_timeout(end.saturating_duration_since(Instant::now())) {
                            decided(late);
                        }
                        return;
                    }
                    if useless && let (Some(to), Some((next, rest))) = (&to, later.split_first()) {
                        ask_one(next, to);
                        later = rest;
                    }
                }
                Err(RecvTimeoutError::Timeout) if !later.is_empty() && Instant::now() < self.question.deadline => {
                    if let Some(to) = &to {
                        later.iter().for_each(|seat| ask_one(seat, to));
                    }
                    later = &[];
                }
                Err(_) => return,
            }
        }
    }
}

/// What an operator signed, and who signed it. Operators' threads find that out side by side: recovering a key takes longer
/// than all else that agreement needs.
fn heard(
    operator: &dyn Operator,
    id: RequestId,
    answer: Answer,
    domain: &StatementDomain,
) -> Result<Heard, Unavailable> {
    let refused = |what: &str| Unavailable(format!("operator {}, request {id}: {what}", operator.address()));
    let signature = answer.signature.ok_or_else(|| refused("it gives an answer that it does not sign"))?;
    let statement = SignedStatement { id, outcome: answer.outcome, signature };
    if operator.is_local() {
        return Ok(Heard::own(operator.address(), statement));
    }
    Heard::check(statement, domain).ok_or_else(|| refused("its signature is none"))
}

/// Statements on each input, and what they decide.
struct Votes<'a> {
    round: &'a Round<'a>,
    heard: Vec<Vec<Heard>>,
    agreed: Vec<Option<Agreed>>,
    undecidable: Vec<bool>,
}

impl<'a> Votes<'a> {
    fn new(round: &'a Round<'a>) -> Self {
        let count = round.inputs().len();
        Self { round, heard: vec![Vec::new(); count], agreed: vec![None; count], undecidable: vec![false; count] }
    }

    fn undecidable(&mut self, which: impl Iterator<Item = bool>) {
        self.undecidable = which.collect();
    }

    /// What one operator said; whether all is decided with that.
    fn add_all(&mut self, from: FromOne<Heard>) -> bool {
        for (at, said) in from.said.into_iter().enumerate() {
            if let Ok(heard) = said {
                self.add(at, heard);
            }
        }
        self.all_agreed()
    }

    fn add(&mut self, at: usize, heard: Heard) {
        self.heard[at].push(heard);
        if self.agreed[at].is_none() {
            self.agreed[at] = agree(self.round.inputs()[at].0, self.round.committee, &self.heard[at]);
        }
    }

    fn all_agreed(&self) -> bool {
        self.agreed.iter().zip(&self.undecidable).all(|(agreed, undecidable)| *undecidable || agreed.is_some())
    }

    /// What was decided; what operators signed against themselves is kept.
    fn end(self) -> Vec<Option<Agreed>> {
        let exact = self.round.question.tolerances.is_empty();
        for ((heard, agreed), (_, input)) in self.heard.iter().zip(&self.agreed).zip(self.round.inputs()) {
            let twice = heard
                .iter()
                .enumerate()
                .flat_map(|(at, one)| heard[at + 1..].iter().filter_map(move |other| equivocation(one, other)));
            let against = agreed.iter().filter(|_| exact).flat_map(|agreed| {
                heard.iter().filter_map(move |said| contradiction(self.round.committee, said, agreed))
            });
            self.round.panel.keep_evidence(self.round.question.model, input, twice.chain(against));
        }
        self.agreed
    }
}
