//! The rounds of one question: who is asked what, and when it is decided.

use super::{Answer, Operator, Panel, Question, numbers::choose_outcome};
use crate::{
    Unavailable,
    agreement::{Agreed, Heard, SignedStatement, agree, contradiction, equivocation, fits},
};
use alloy_primitives::{Address, B256, Bytes};
use foreblock_precompile::{Committee, Outcome, RequestId};
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
        self.hear(
            |operator, question| operator.answer(question, true),
            |from| {
                let answers = from.said.into_iter().map(Result::ok);
                answers.enumerate().for_each(|(at, answer)| votes.add(at, from.operator, answer));
                votes.all_agreed()
            },
        );
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
        // From here on a commitment comes too late: answers are being shown.
        self.hear(
            |operator, question| operator.reveal(question),
            |from| {
                for (at, said) in from.said.into_iter().enumerate().take(self.inputs().len()) {
                    let Ok((answer, salt)) = said else { continue };
                    let id = self.inputs()[at].0;
                    let kept = |(who, commitment): &&(Address, B256)| {
                        *who == from.operator && fits(*commitment, id, &answer.outcome, salt, *who)
                    };
                    if committed[at].iter().find(kept).is_some() {
                        votes.add(at, from.operator, Some(answer));
                    }
                }
                votes.all_agreed()
            },
        );
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
        let ask = move |operator: &dyn Operator, question: &Question| {
            let endorse = |((id, _), chosen): (&(RequestId, _), &Option<Outcome>)| {
                let outcome = chosen.clone().ok_or_else(|| Unavailable("nothing was chosen".into()))?;
                let signature = Some(operator.endorse(question, *id, &outcome)?);
                Ok(Answer { outcome, signature })
            };
            question.inputs.iter().zip(&chosen).map(endorse).collect()
        };
        self.hear(ask, |from| {
            let answers = from.said.into_iter().map(Result::ok);
            answers.enumerate().for_each(|(at, answer)| votes.add(at, from.operator, answer));
            votes.all_agreed()
        });
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

    fn add(&mut self, at: usize, operator: Address, answer: Option<Answer>) {
        let (Some((id, _)), Some(Answer { outcome, signature: Some(signature) })) =
            (self.round.inputs().get(at), answer)
        else {
            return;
        };
        let statement = SignedStatement { id: *id, outcome, signature };
        let panel = self.round.panel;
        let local = panel.seats.iter().any(|seat| seat.operator.address() == operator && seat.operator.is_local());
        let heard = if local { Some(Heard::own(operator, statement)) } else { Heard::check(statement, &panel.domain) };
        let Some(heard) = heard else { return };
        self.heard[at].push(heard);
        if self.agreed[at].is_none() {
            self.agreed[at] = agree(*id, self.round.committee, &self.heard[at]);
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
