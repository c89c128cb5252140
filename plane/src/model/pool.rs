//! A server's address pool: the addresses that can be assigned, and the next one to assign.
//!
//! Owns the arithmetic. It must not do any I/O, or know about peers. The caller stores the free addresses and
//! implements [`Runs`] for them. They are stored as runs, so that the lowest free address is always the beginning of
//! the first run, whatever the size of the pool.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The addresses of one family from `first` to `last` (inclusive), as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run {
    /// The lowest address.
    pub(crate) first: u128,
    /// The highest address; never below `first`.
    pub(crate) last: u128,
}

impl Run {
    /// Returns all addresses in a network, including its network address and its broadcast address.
    #[must_use]
    pub(crate) fn of(net: &IpNet) -> Self {
        Self {
            first: number(net.network()),
            last: number(net.broadcast()),
        }
    }

    /// Returns the run that consists of one address.
    #[must_use]
    pub(crate) fn one(address: IpAddr) -> Self {
        let first = number(address);
        Self { first, last: first }
    }

    /// Returns the addresses that both runs have in common, if there are any.
    #[must_use]
    pub(crate) fn common(self, other: Self) -> Option<Self> {
        Self::checked(self.first.max(other.first), self.last.min(other.last))
    }

    fn checked(first: u128, last: u128) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }
}

/// Returns an address as a number, which is meaningful only within the address's family.
#[must_use]
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// A network from which a server assigns addresses. The server itself has the first host address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool(IpNet);

impl Pool {
    /// Creates a pool from a network; host bits are cleared.
    #[must_use]
    pub(crate) fn new(net: IpNet) -> Self {
        Self(net.trunc())
    }

    /// Returns the network.
    #[must_use]
    pub(crate) const fn net(&self) -> IpNet {
        self.0
    }

    /// Returns the server's own address: the address after the network address. Networks without a network address (/31
    /// in RFC 3021, /127 in RFC 6164, single addresses) use their lowest address. The lowest address of a larger IPv6
    /// network is the Subnet-Router anycast address (RFC 4291, section 2.6.1).
    #[must_use]
    pub(crate) fn server_address(&self) -> IpAddr {
        let host_bits = self.0.max_prefix_len() - self.0.prefix_len();
        let first = number(self.0.network());
        self.address(if host_bits <= 1 { first } else { first + 1 })
    }

    /// Returns the addresses that can be assigned to peers, or `None` if the server needs all of them.
    #[must_use]
    pub(crate) fn assignable(&self) -> Option<Run> {
        let all = Run::of(&self.0);
        let host_bits = self.0.max_prefix_len() - self.0.prefix_len();
        let first = number(self.server_address()).checked_add(1)?;
        // IPv6 has no broadcast address.
        let last = if host_bits > 1 && self.0.addr().is_ipv4() {
            all.last - 1
        } else {
            all.last
        };
        Run::checked(first, last)
    }

    /// Returns whether an address can be assigned to a peer from this pool.
    #[must_use]
    pub(crate) fn is_assignable(&self, address: IpAddr) -> bool {
        let wanted = Run::one(address);
        self.0.contains(&address) && self.assignable().is_some_and(|all| all.common(wanted).is_some())
    }

    /// Returns the next address to assign: the lowest address of the first free run.
    #[must_use]
    pub(crate) fn lowest(&self, first_free: Option<Run>) -> Option<IpAddr> {
        first_free.map(|run| self.address(run.first))
    }

    /// Returns the address with this number, in the pool's family.
    #[must_use]
    pub(crate) fn address(&self, number: u128) -> IpAddr {
        match self.0 {
            IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
            IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
        }
    }
}

/// The free addresses in a pool, as runs that are neither overlapping nor adjacent.
pub(crate) trait Runs {
    /// The error type of reads and writes.
    type Error;

    /// Returns the last run that begins at or below `number`.
    fn at_or_below(&self, number: u128) -> Result<Option<Run>, Self::Error>;
    /// Returns the run that begins at `number`.
    fn beginning_at(&self, number: u128) -> Result<Option<Run>, Self::Error>;
    /// Adds a run.
    fn insert(&mut self, run: Run) -> Result<(), Self::Error>;
    /// Removes the run that begins at `first`.
    fn remove(&mut self, first: u128) -> Result<(), Self::Error>;
}

/// Removes `wanted` from the free addresses. Returns false and changes nothing unless all of its addresses are free.
pub(crate) fn take<R: Runs>(runs: &mut R, wanted: Run) -> Result<bool, R::Error> {
    let Some(around) = runs.at_or_below(wanted.first)?.filter(|run| run.last >= wanted.last) else {
        return Ok(false);
    };
    runs.remove(around.first)?;
    let below = wanted
        .first
        .checked_sub(1)
        .and_then(|last| Run::checked(around.first, last));
    let above = wanted
        .last
        .checked_add(1)
        .and_then(|first| Run::checked(first, around.last));
    for rest in [below, above].into_iter().flatten() {
        runs.insert(rest)?;
    }
    Ok(true)
}

/// Makes the addresses in `given` free again. None of them may already be free.
pub(crate) fn give_back<R: Runs>(runs: &mut R, given: Run) -> Result<(), R::Error> {
    let mut free = given;
    if let Some(before) = given.first.checked_sub(1)
        && let Some(below) = runs.at_or_below(before)?
        && below.last == before
    {
        runs.remove(below.first)?;
        free.first = below.first;
    }
    if let Some(after) = given.last.checked_add(1)
        && let Some(above) = runs.beginning_at(after)?
    {
        runs.remove(above.first)?;
        free.last = above.last;
    }
    runs.insert(free)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct InMemory(BTreeMap<u128, u128>);

    impl Runs for InMemory {
        type Error = Infallible;

        fn at_or_below(&self, number: u128) -> Result<Option<Run>, Infallible> {
            let found = self.0.range(..=number).next_back();
            Ok(found.map(|(first, last)| Run {
                first: *first,
                last: *last,
            }))
        }

        fn beginning_at(&self, number: u128) -> Result<Option<Run>, Infallible> {
            Ok(self.0.get(&number).map(|last| Run {
                first: number,
                last: *last,
            }))
        }

        fn insert(&mut self, run: Run) -> Result<(), Infallible> {
            self.0.insert(run.first, run.last);
            Ok(())
        }

        fn remove(&mut self, first: u128) -> Result<(), Infallible> {
            self.0.remove(&first);
            Ok(())
        }
    }

    fn pool(text: &str) -> Pool {
        Pool::new(text.parse().unwrap())
    }

    fn fresh(pool: &Pool) -> InMemory {
        let mut runs = InMemory::default();
        if let Some(all) = pool.assignable() {
            runs.insert(all).unwrap();
        }
        runs
    }

    fn next(pool: &Pool, runs: &mut InMemory) -> Option<IpAddr> {
        let lowest = runs.0.keys().next().copied()?;
        let address = pool.address(lowest);
        assert!(take(runs, Run::one(address)).unwrap());
        Some(address)
    }

    fn all(text: &str) -> (String, Vec<String>) {
        let pool = pool(text);
        let mut runs = fresh(&pool);
        let given = std::iter::from_fn(|| next(&pool, &mut runs))
            .map(|a| a.to_string())
            .collect();
        (pool.server_address().to_string(), given)
    }

    fn expect(net: &str, server: &str, peers: &[&str]) {
        let peers = peers.iter().map(|address| (*address).to_owned()).collect();
        assert_eq!(all(net), (server.to_owned(), peers), "{net}");
    }

    #[test]
    fn small_pools_assign_all_their_assignable_addresses_and_no_others() {
        expect("10.8.0.0/32", "10.8.0.0", &[]);
        expect("10.8.0.0/31", "10.8.0.0", &["10.8.0.1"]);
        expect("10.8.0.5/30", "10.8.0.5", &["10.8.0.6"]);
        expect(
            "10.8.0.0/29",
            "10.8.0.1",
            &["10.8.0.2", "10.8.0.3", "10.8.0.4", "10.8.0.5", "10.8.0.6"],
        );
        expect("255.255.255.254/31", "255.255.255.254", &["255.255.255.255"]);
        expect("fd00::/128", "fd00::", &[]);
        expect("fd00::/127", "fd00::", &["fd00::1"]);
        expect("fd00::/126", "fd00::1", &["fd00::2", "fd00::3"]);
        let top = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        expect(&format!("{top}/128"), top, &[]);
    }

    #[test]
    fn reserved_addresses_are_never_assigned() {
        for (net, address) in [
            ("10.8.0.0/24", "10.8.0.0"),
            ("10.8.0.0/24", "10.8.0.1"),
            ("10.8.0.0/24", "10.8.0.255"),
            ("10.8.0.0/24", "10.8.1.2"),
            ("10.8.0.0/24", "fd00::2"),
            ("fd00::/64", "fd00::"),
            ("fd00::/64", "fd00::1"),
            // The IPv6 address that has the same number as 0.0.0.2.
            ("0.0.0.0/8", "::2"),
        ] {
            assert!(!pool(net).is_assignable(address.parse().unwrap()), "{address} of {net}");
        }
        assert!(pool("10.8.0.0/24").is_assignable("10.8.0.254".parse().unwrap()));
        assert!(pool("fd00::/64").is_assignable("fd00::ffff:ffff:ffff:ffff".parse().unwrap()));
    }

    #[derive(Debug, Clone)]
    enum Act {
        Next,
        Wanted(u8),
        Block(u8, u8),
        GiveBack(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => Just(Act::Next),
            2 => any::<u8>().prop_map(Act::Wanted),
            1 => (any::<u8>(), 0u8..4).prop_map(|(at, bits)| Act::Block(at, bits)),
            3 => any::<usize>().prop_map(Act::GiveBack),
        ]
    }

    /// Returns whether all of `wanted` is free.
    fn is_free(runs: &impl Runs<Error = Infallible>, wanted: Run) -> bool {
        let Ok(around) = runs.at_or_below(wanted.first);
        around.is_some_and(|run| run.last >= wanted.last)
    }

    proptest! {
        /// Compares the runs with a naive model, a set of used addresses. An address remains in use until it is given
        /// back (even if its peer is disabled, because disabling does not give it back). No address is assigned twice,
        /// and the next address is always the lowest free one.
        #[test]
        fn the_free_runs_agree_with_a_naive_model_of_used_addresses(
            net in prop_oneof![
                (24u8..=32).prop_map(|p| format!("10.8.0.0/{p}")),
                (120u8..=128).prop_map(|p| format!("fd00::/{p}")),
            ],
            acts in prop::collection::vec(act(), 0..300),
        ) {
            let pool = pool(&net);
            let base = number(pool.net().network());
            let assignable: BTreeSet<u128> = match pool.assignable() {
                Some(run) => (run.first..=run.last).collect(),
                None => BTreeSet::new(),
            };
            let mut runs = fresh(&pool);
            let mut used = BTreeSet::new();
            let mut held: Vec<Run> = Vec::new();
            for act in acts {
                match act {
                    Act::Next => {
                        let lowest = assignable.difference(&used).next().copied();
                        prop_assert_eq!(next(&pool, &mut runs).map(number), lowest);
                        if let Some(lowest) = lowest {
                            used.insert(lowest);
                            held.push(Run { first: lowest, last: lowest });
                        }
                    }
                    Act::Wanted(at) => wanted(&mut runs, &assignable, &mut used, &mut held, base + u128::from(at), 1)?,
                    Act::Block(at, bits) => {
                        let size = 1u128 << bits;
                        let first = (base + u128::from(at)) / size * size;
                        wanted(&mut runs, &assignable, &mut used, &mut held, first, size)?;
                    }
                    Act::GiveBack(which) if !held.is_empty() => {
                        let run = held.swap_remove(which % held.len());
                        give_back(&mut runs, run).unwrap();
                        used.retain(|n| *n < run.first || *n > run.last);
                    }
                    Act::GiveBack(_) => {}
                }
                let free: BTreeSet<u128> = runs.0.iter().flat_map(|(first, last)| *first..=*last).collect();
                let expected: BTreeSet<u128> = assignable.difference(&used).copied().collect();
                prop_assert_eq!(free, expected);
            }
        }
    }

    fn wanted(
        runs: &mut InMemory,
        assignable: &BTreeSet<u128>,
        used: &mut BTreeSet<u128>,
        held: &mut Vec<Run>,
        first: u128,
        size: u128,
    ) -> Result<(), TestCaseError> {
        let run = Run {
            first,
            last: first + size - 1,
        };
        let expected = (run.first..=run.last).all(|n| assignable.contains(&n) && !used.contains(&n));
        prop_assert_eq!(is_free(runs, run), expected);
        prop_assert_eq!(take(runs, run).unwrap(), expected);
        if expected {
            used.extend(run.first..=run.last);
            held.push(run);
        }
        Ok(())
    }
}
