//! Who may take how much: ERC-7562's counts for senders and contracts, and each payer's device time.

use super::{Micros, Refused};
use alloy_primitives::Address;
use std::collections::HashMap;

/// Requests that a sender without a history may have waiting (ERC-7562, SAME_SENDER_MEMPOOL_COUNT).
pub const SENDER_COUNT: u64 = 4;
/// Requests that a contract without a history may have waiting (SAME_UNSTAKED_ENTITY_MEMPOOL_COUNT).
pub const CONTRACT_COUNT: u64 = 10;
/// Requests that a throttled sender or contract may have waiting (THROTTLED_ENTITY_MEMPOOL_COUNT).
pub const THROTTLED_COUNT: u64 = 4;
/// Weight of the inclusion rate in the count (INCLUSION_RATE_FACTOR).
pub const INCLUSION_RATE_FACTOR: u64 = 10;
/// One inclusion is expected for this many computed requests (MIN_INCLUSION_RATE_DENOMINATOR).
pub const MIN_INCLUSION_RATE_DENOMINATOR: u64 = 10;
/// Missing inclusions until an entity is throttled (THROTTLING_SLACK).
pub const THROTTLING_SLACK: u64 = 10;
/// Missing inclusions until it is banned (BAN_SLACK).
pub const BAN_SLACK: u64 = 50;
/// Most that inclusions add to the count (ERC-7562's cap of 10,000).
const INCLUDED_MAX: u64 = 10_000;
/// Every hour 1/24 of what is remembered is forgotten.
const DECAY_US: Micros = 3_600_000_000;

/// ERC-7562's judgement of a sender or contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As any other.
    Ok,
    /// Much was computed for it and little included.
    Throttled,
    /// Far too much was computed for it: it runs only when nobody else waits.
    Banned,
}

/// What is remembered of a sender or contract.
#[derive(Clone, Copy, Debug, Default)]
struct Entity {
    seen: u64,
    included: u64,
    waiting: u64,
    /// Transactions that had something computed, and were included or left.
    kept: u64,
    left: u64,
}

impl Entity {
    fn standing(self) -> Standing {
        let expected = self.seen / MIN_INCLUSION_RATE_DENOMINATOR;
        match expected {
            few if few <= self.included + THROTTLING_SLACK => Standing::Ok,
            some if some <= self.included + BAN_SLACK => Standing::Throttled,
            _ => Standing::Banned,
        }
    }

    fn allowed(self, base: u64) -> u64 {
        match self.standing() {
            Standing::Ok => {
                let rate = self.included.min(self.seen) * INCLUSION_RATE_FACTOR / self.seen.max(1);
                base + rate + self.included.min(INCLUDED_MAX)
            }
            Standing::Throttled => THROTTLED_COUNT,
            Standing::Banned => 0,
        }
    }
}

/// What became of transactions that had something computed, as a chance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds(f64);

impl Odds {
    /// Where nothing is known.
    pub(super) const GOOD: Self = Self(1.0);
    /// Never nothing: what nobody else wants shows who is better than that.
    const LEAST: f64 = 0.001;
    /// Weight of one more transaction.
    const WEIGHT: f64 = 1.0 / 64.0;

    pub(super) fn learn(&mut self, included: bool) {
        self.0 += Self::WEIGHT * (f64::from(u8::from(included)) - self.0);
    }

    pub(super) fn chance(self) -> f64 {
        self.0.clamp(Self::LEAST, 1.0)
    }
}

/// Standing of senders, or of contracts.
#[derive(Clone, Debug)]
pub struct Entities {
    known: HashMap<Address, Entity>,
    base: u64,
    max: usize,
    decayed_us: Micros,
}

impl Entities {
    /// Entities that start with `base` requests; at most `max` are remembered, and those with nothing waiting and the
    /// least computed are forgotten first.
    pub fn new(base: u64, max: usize) -> Self {
        Self { known: HashMap::new(), base, max: max.max(1), decayed_us: 0 }
    }

    /// Counts a request that waits.
    pub fn wait(&mut self, address: Address) {
        self.entry(address).waiting += 1;
    }

    /// How many requests may wait within the entity's quota.
    ///
    /// The zero address stands for who has none (an `eth_call`, a creation's contract): other bounds hold for those.
    pub fn allowed(&self, address: Address) -> u64 {
        if address.is_zero() {
            return u64::MAX;
        }
        self.known.get(&address).copied().unwrap_or_default().allowed(self.base)
    }

    /// A request waits no more.
    pub fn leave(&mut self, address: Address) {
        if let Some(entity) = self.known.get_mut(&address) {
            entity.waiting = entity.waiting.saturating_sub(1);
        }
    }

    /// A request was computed.
    pub fn computed(&mut self, address: Address) {
        self.entry(address).seen += 1;
    }

    /// A transaction was included.
    pub fn included(&mut self, address: Address) {
        self.entry(address).included += 1;
    }

    /// A transaction that had something computed was included, or left. True if it is the first that is known of the entity.
    pub(super) fn resolved(&mut self, address: Address, included: bool) -> bool {
        let entity = self.entry(address);
        *(if included { &mut entity.kept } else { &mut entity.left }) += 1;
        entity.kept + entity.left == 1
    }

    /// Chance that a transaction is included once it was computed; `others` where little is known of the entity.
    pub(super) fn odds(&self, address: Address, others: Odds) -> Odds {
        /// Transactions that `others` count for.
        const OTHERS: f64 = 4.0;
        let entity = self.known.get(&address).copied().unwrap_or_default();
        let resolved = (entity.kept + entity.left) as f64;
        Odds((entity.kept as f64 + OTHERS * others.0) / (resolved + OTHERS))
    }

    /// Requests that wait.
    pub fn waiting(&self, address: Address) -> usize {
        self.known.get(&address).map_or(0, |entity| entity.waiting as usize)
    }

    /// The judgement.
    pub fn standing(&self, address: Address) -> Standing {
        self.known.get(&address).copied().unwrap_or_default().standing()
    }

    /// Forgets 1/24 of everything for each hour that passed.
    pub fn decay(&mut self, now_us: Micros) {
        while now_us.saturating_sub(self.decayed_us) >= DECAY_US {
            self.decayed_us += DECAY_US;
            for entity in self.known.values_mut() {
                entity.seen = entity.seen * 23 / 24;
                entity.included = entity.included * 23 / 24;
                entity.kept = entity.kept * 23 / 24;
                entity.left = entity.left * 23 / 24;
            }
            self.known
                .retain(|_, entity| entity.seen + entity.included + entity.waiting + entity.kept + entity.left > 0);
        }
    }

    fn entry(&mut self, address: Address) -> &mut Entity {
        if self.known.len() >= self.max && !self.known.contains_key(&address) {
            make_room(&mut self.known, |entity| entity.waiting == 0, |entity| entity.seen);
        }
        self.known.entry(address).or_default()
    }
}

/// What a payer paid, locks and was computed for, all in gas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Gas of included transactions.
    pub paid: u64,
    /// Gas that pending transactions lock.
    pub locked: u64,
    /// Gas of computed requests.
    pub spent: u64,
    /// Gas of requests that wait.
    pub promised: u64,
}

impl Account {
    fn is_idle(&self) -> bool {
        self.locked == 0 && self.promised == 0
    }
}

/// Every payer's device time: what is computed for it stays within what it paid and has locked.
#[derive(Clone, Debug)]
pub struct Payers {
    accounts: HashMap<Address, Account>,
    max: usize,
}

impl Payers {
    /// At most `max` payers are remembered; those with nothing pending and the least debt are forgotten first.
    pub fn new(max: usize) -> Self {
        Self { accounts: HashMap::new(), max: max.max(1) }
    }

    /// Where a payer stands.
    pub fn account(&self, payer: Address) -> Account {
        self.accounts.get(&payer).copied().unwrap_or_default()
    }

    /// A pending transaction locks `gas`.
    pub fn lock(&mut self, payer: Address, gas: u64) {
        if self.accounts.len() >= self.max && !self.accounts.contains_key(&payer) {
            make_room(&mut self.accounts, Account::is_idle, |account| account.spent.saturating_sub(account.paid));
        }
        let account = self.accounts.entry(payer).or_default();
        account.locked = account.locked.saturating_add(gas);
    }

    /// The transaction is gone.
    pub fn unlock(&mut self, payer: Address, gas: u64) {
        self.change(payer, |account| account.locked = account.locked.saturating_sub(gas));
    }

    /// The transaction was included and paid `gas`.
    pub fn pay(&mut self, payer: Address, gas: u64) {
        self.change(payer, |account| account.paid = account.paid.saturating_add(gas));
    }

    /// Sets `gas` aside for a request that waits.
    ///
    /// # Errors
    /// [`Refused::PayerSpent`] where the payer's funds do not cover it.
    pub fn promise(&mut self, payer: Address, gas: u64) -> Result<(), Refused> {
        let Account { paid, locked, spent, promised } = self.account(payer);
        let spent = spent.saturating_add(promised);
        if spent.saturating_add(gas) > paid.saturating_add(locked) {
            return Err(Refused::PayerSpent { spent, paid, locked, asked: gas });
        }
        self.change(payer, |account| account.promised += gas);
        Ok(())
    }

    /// Something is computed for this payer at once.
    ///
    /// # Errors
    /// [`Refused::PayerSpent`] where the payer's funds do not cover it.
    pub fn charge(&mut self, payer: Address, gas: u64) -> Result<(), Refused> {
        self.promise(payer, gas)?;
        self.spend(payer, gas);
        Ok(())
    }

    /// The request is not computed for this payer.
    pub fn release(&mut self, payer: Address, gas: u64) {
        self.change(payer, |account| account.promised = account.promised.saturating_sub(gas));
    }

    /// The request was computed for this payer.
    pub fn spend(&mut self, payer: Address, gas: u64) {
        self.change(payer, |account| {
            account.promised = account.promised.saturating_sub(gas);
            account.spent = account.spent.saturating_add(gas);
        });
    }

    fn change(&mut self, payer: Address, change: impl FnOnce(&mut Account)) {
        if let Some(account) = self.accounts.get_mut(&payer) {
            change(account);
        }
    }
}

/// Removes a sixteenth of those that may go, cheapest first: the scan is paid once for many insertions.
fn make_room<V>(map: &mut HashMap<Address, V>, may_go: impl Fn(&V) -> bool, worth: impl Fn(&V) -> u64) {
    let mut gone: Vec<_> = map.iter().filter(|(_, v)| may_go(v)).map(|(k, v)| (worth(v), *k)).collect();
    gone.sort_unstable();
    for (_, address) in gone.into_iter().take(map.len() / 16 + 1) {
        map.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Address = Address::repeat_byte(7);

    #[test]
    fn standing_follows_erc_7562() {
        let mut entities = Entities::new(CONTRACT_COUNT, 16);
        for _ in 0..109 {
            entities.computed(WHO);
        }
        assert_eq!(entities.standing(WHO), Standing::Ok, "10 expected, slack 10");
        entities.computed(WHO);
        assert_eq!(entities.standing(WHO), Standing::Throttled, "11 expected");
        for _ in 0..400 {
            entities.computed(WHO);
        }
        assert_eq!(entities.standing(WHO), Standing::Banned, "51 expected, slack 50");
        (0..40).for_each(|_| entities.included(WHO));
        assert_eq!(entities.standing(WHO), Standing::Throttled, "inclusions restore it");
        entities.decay(48 * DECAY_US);
        assert_eq!(entities.standing(WHO), Standing::Ok, "and so does time");
    }

    #[test]
    fn quota_grows_with_inclusions() {
        let mut entities = Entities::new(SENDER_COUNT, 16);
        assert_eq!(entities.allowed(WHO), 4);
        (0..2).for_each(|_| {
            entities.computed(WHO);
            entities.included(WHO);
        });
        assert_eq!(entities.allowed(WHO), 16, "4 + rate 10 + 2 included");
    }

    #[test]
    fn odds_are_an_entitys_own_where_there_is_enough_to_tell() {
        let mut entities = Entities::new(SENDER_COUNT, 16);
        let mut newcomers = Odds::GOOD;
        (0..200).for_each(|_| newcomers.learn(false));
        assert!(entities.odds(WHO, newcomers).chance() < 0.05, "as newcomers are");
        assert!(entities.resolved(WHO, true), "the first");
        (0..39).for_each(|_| assert!(!entities.resolved(WHO, true)));
        assert!(entities.odds(WHO, newcomers).chance() > 0.9);
        (0..400).for_each(|_| assert!(!entities.resolved(WHO, false)));
        assert!(entities.odds(WHO, Odds::GOOD).chance() < 0.11, "it cancels what it has computed");
    }

    #[test]
    fn a_payer_gets_what_it_paid_and_locked() {
        let mut payers = Payers::new(16);
        payers.lock(WHO, 100);
        assert!(payers.promise(WHO, 60).is_ok());
        assert!(matches!(payers.promise(WHO, 60), Err(Refused::PayerSpent { spent: 60, locked: 100, asked: 60, .. })));
        payers.spend(WHO, 60);
        payers.unlock(WHO, 100);
        payers.lock(WHO, 100);
        assert!(payers.promise(WHO, 60).is_err(), "a replaced transaction locks no second time");
        payers.pay(WHO, 60);
        assert!(payers.promise(WHO, 60).is_ok());
    }

    #[test]
    fn at_the_bound_the_deepest_debt_is_remembered() {
        let mut payers = Payers::new(4);
        for byte in 0..8 {
            let payer = Address::repeat_byte(byte);
            payers.lock(payer, 100);
            let _ = payers.promise(payer, 10 + u64::from(7 - byte));
            payers.spend(payer, 10 + u64::from(7 - byte));
            payers.unlock(payer, 100);
        }
        assert!(payers.accounts.len() <= 4);
        assert_eq!(payers.account(Address::ZERO).spent, 17);
    }
}
