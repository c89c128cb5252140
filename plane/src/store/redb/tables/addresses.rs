//! The addresses of a server: their owners, and the free addresses in its pools.
//!
//! Owns two tables: the spans in use, ordered by first address, each with its owner (spans never overlap), and the free
//! runs in the pools. Lookups in both take logarithmic time.

use crate::model::pool::{self, Pool, Run, Runs};
use crate::model::records::SERVER_ITSELF;
use crate::store::transaction::{ReadSpans, WriteSpans};
use ipnet::IpNet;
use wgctl::{PeerId, ServerId};

use crate::store::error::StoreError;
use crate::store::redb::row_key;
use crate::store::redb::rows::{Order, Rows, Span, WriteRows};
use crate::store::redb::schema::fixed;
use crate::store::table::Table;

const fn family(net: &IpNet) -> u8 {
    match net {
        IpNet::V4(_) => 4,
        IpNet::V6(_) => 6,
    }
}

/// Returns the key prefix for one of a server's address families.
fn family_key(server: &ServerId, family: u8) -> Vec<u8> {
    row_key::of(server, &[family])
}

fn span_key(server: &ServerId, family: u8, first: u128) -> Vec<u8> {
    let mut key = family_key(server, family);
    key.extend_from_slice(&first.to_be_bytes());
    key
}

fn first_of(key: &[u8]) -> u128 {
    u128::from_be_bytes(row_key::tail(key))
}

/// Returns the row with the highest first address that is not above `first`.
fn at_or_below(
    rows: &impl Rows,
    table: Table,
    server: &ServerId,
    family: u8,
    first: u128,
) -> Result<Option<(u128, Vec<u8>)>, StoreError> {
    let span = Span::under(&family_key(server, family)).to(span_key(server, family, first));
    let found = rows.some(table, span, Order::Down, 1)?;
    Ok(found.into_iter().next().map(|(key, value)| (first_of(&key), value)))
}

/// The free runs in one of a server's address families, for [`crate::model::pool`].
struct FreeRuns<'a, R> {
    rows: &'a R,
    server: &'a ServerId,
    family: u8,
}

impl<R: WriteRows> Runs for FreeRuns<'_, R> {
    type Error = StoreError;

    fn at_or_below(&self, number: u128) -> Result<Option<Run>, StoreError> {
        let found = at_or_below(self.rows, Table::FreeRuns, self.server, self.family, number)?;
        found.map(|(first, last)| run(first, &last)).transpose()
    }

    fn beginning_at(&self, number: u128) -> Result<Option<Run>, StoreError> {
        let key = span_key(self.server, self.family, number);
        self.rows.look(Table::FreeRuns, &key, |last| run(number, last))
    }

    fn insert(&mut self, run: Run) -> Result<(), StoreError> {
        let key = span_key(self.server, self.family, run.first);
        self.rows.put(Table::FreeRuns, &key, &run.last.to_be_bytes())
    }

    fn remove(&mut self, first: u128) -> Result<(), StoreError> {
        self.rows
            .erase(Table::FreeRuns, &span_key(self.server, self.family, first))
    }
}

fn run(first: u128, last: &[u8]) -> Result<Run, StoreError> {
    Ok(Run {
        first,
        last: u128::from_be_bytes(fixed(last)?),
    })
}

impl<R: Rows> ReadSpans for R {
    fn owner_within(
        &self,
        server: &ServerId,
        net: &IpNet,
        except: Option<&PeerId>,
    ) -> Result<Option<PeerId>, StoreError> {
        let wanted = Run::of(net);
        let family = family(net);
        let mut from = wanted.last;
        // The search goes down from the end of the network. Spans never overlap, so it ends at the first span that
        // ends before the network begins. Only the spans of `except` are skipped.
        while let Some((first, value)) = at_or_below(self, Table::Spans, server, family, from)? {
            let (last, owner) = value.split_at_checked(16).unwrap_or_default();
            let owner = PeerId::from_bytes(fixed(owner)?);
            if u128::from_be_bytes(fixed(last)?) < wanted.first {
                return Ok(None);
            }
            if except != Some(&owner) {
                return Ok(Some(owner));
            }
            match first.checked_sub(1) {
                Some(below) => from = below,
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    fn first_free(&self, server: &ServerId, pool: &Pool) -> Result<Option<Run>, StoreError> {
        let span = Span::under(&family_key(server, family(&pool.net())));
        let lowest = self.some(Table::FreeRuns, span, Order::Up, 1)?;
        lowest.first().map(|(key, last)| run(first_of(key), last)).transpose()
    }
}

impl<R: WriteRows> WriteSpans for R {
    fn open_pool(&self, server: &ServerId, pool: &Pool) -> Result<(), StoreError> {
        let family = family(&pool.net());
        if let Some(all) = pool.assignable() {
            let mut free = FreeRuns {
                rows: self,
                server,
                family,
            };
            free.insert(all)?;
        }
        let own = wgctl::address::host(pool.server_address());
        put_span(self, server, &own, &SERVER_ITSELF)
    }

    fn claim(&self, server: &ServerId, pools: &[Pool], net: &IpNet, owner: &PeerId) -> Result<(), StoreError> {
        for common in in_pools(pools, net) {
            let mut free = FreeRuns {
                rows: self,
                server,
                family: family(net),
            };
            if !pool::take(&mut free, common)? {
                return Err(StoreError::Broken("an address that is not free was assigned"));
            }
        }
        put_span(self, server, net, owner)
    }

    fn release(&self, server: &ServerId, pools: &[Pool], net: &IpNet) -> Result<(), StoreError> {
        for common in in_pools(pools, net) {
            let mut free = FreeRuns {
                rows: self,
                server,
                family: family(net),
            };
            pool::give_back(&mut free, common)?;
        }
        self.erase(Table::Spans, &span_key(server, family(net), Run::of(net).first))
    }
}

/// Returns the parts of `net` that lie within the assignable addresses of the pools.
fn in_pools(pools: &[Pool], net: &IpNet) -> impl Iterator<Item = Run> {
    let wanted = Run::of(net);
    pools
        .iter()
        .filter(|pool| family(&pool.net()) == family(net))
        .filter_map(move |pool| pool.assignable()?.common(wanted))
}

fn put_span(rows: &impl WriteRows, server: &ServerId, net: &IpNet, owner: &PeerId) -> Result<(), StoreError> {
    let span = Run::of(net);
    let value = [span.last.to_be_bytes().as_slice(), owner.as_bytes()].concat();
    rows.put(Table::Spans, &span_key(server, family(net), span.first), &value)
}
