//! Tests of audit log queries: their results, and the number of rows that they read.

use super::*;
use crate::store::redb::rows::SEEN;

/// Applies the filter to all records, without indexes.
fn naive(all: &[AuditRecord], filter: &AuditFilter, offset: usize, limit: usize) -> Vec<u64> {
    let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
    let found = all.iter().rev().filter(|record| {
        same(&filter.actor, &record.actor)
            && same(&filter.action, &record.action)
            && filter
                .target
                .as_ref()
                .is_none_or(|wanted| record.target == *wanted || record.target.starts_with(&format!("{wanted}/")))
            && filter.since.is_none_or(|since| record.created_at >= since)
            && filter.until.is_none_or(|until| record.created_at < until)
    });
    found.skip(offset).take(limit).map(|record| record.id).collect()
}

#[tokio::test]
async fn filtered_queries_agree_with_a_full_scan_even_if_the_clock_jumps() {
    let folder = tempfile::tempdir().unwrap();
    let store = signed(&folder);
    let actions = [Action::PeerCreated, Action::PeerDeleted, Action::ServerUpdated];
    let targets = [
        "la", "la/a", "la/a/b", "la/a/b/c", "la/a/b/d", "lab", "la//x", "", "/", "tokyo/a",
    ];
    // The clock goes forward, back by a second (as within one commit), back by a day, forward past all earlier times,
    // and back again.
    let times = [0, 10, 9, 500, 499, -86_400, -86_000, 90_000, 89_990, 1000, 1001, 800];
    for (n, offset) in times.into_iter().enumerate() {
        for (m, target) in targets.into_iter().enumerate() {
            let entry = Entry::new(actions[(n + m) % 3], target);
            let who = ["ann", "bob"][(n * 7 + m) % 2];
            write(&store, who, at(1_000_000 + offset + m as i64), vec![entry]).await;
        }
    }
    let all = all(&store).await;
    assert_eq!(all.len(), times.len() * targets.len());
    let some = |text: &str| Some(text.to_owned());
    let whens = [
        None,
        Some(0),
        Some(3),
        Some(505),
        Some(-86_395),
        Some(89_995),
        Some(99_999),
        Some(-99_999),
    ];
    let mut tried = 0;
    for actor in [None, some("local:ann"), some("local:nobody")] {
        for action in [None, some("wg_client_created")] {
            for target in [
                None,
                some("la"),
                some("la/a/b"),
                some("la/a/b/c"),
                some("la/"),
                some(""),
                some("l\0a"),
            ] {
                for since in whens {
                    for until in whens {
                        let when = |offset: Option<i64>| offset.map(|offset| at(1_000_000 + offset));
                        let filter = AuditFilter {
                            actor: actor.clone(),
                            action: action.clone(),
                            target: target.clone(),
                            since: when(since),
                            until: when(until),
                        };
                        for (offset, limit) in [(0, 1000), (2, 3)] {
                            let found = ids(&store, &filter, offset, limit);
                            assert_eq!(
                                found,
                                naive(&all, &filter, offset, limit),
                                "{filter:?} {offset} {limit}"
                            );
                            tried += found.len();
                        }
                    }
                }
            }
        }
    }
    assert!(tried > 1000, "the filters found almost nothing");
}

#[tokio::test]
async fn a_filtered_query_over_a_hundred_thousand_records_reads_only_a_few_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = signed(&folder);
    for block in 0..100u64 {
        let entries = (0..1000u64).map(|n| {
            let action = if n % 500 == 7 {
                Action::ServerUpdated
            } else {
                Action::PeerUpdated
            };
            Entry::new(action, format!("server-{}/client-{n}", block % 10))
        });
        let who = if block == 50 { "rare" } else { "often" };
        write(&store, who, at(1_000_000 + block as i64 * 60), entries.collect()).await;
    }
    let looked = |filter: AuditFilter, expected: usize| {
        SEEN.set(0);
        let found = ids(&store, &filter, 0, 1000);
        assert_eq!(found.len(), expected, "{filter:?}");
        SEEN.get()
    };
    let open = AuditFilter::default;
    let some = |text: &str| Some(text.to_owned());
    for (filter, expected, most) in [
        (
            AuditFilter {
                actor: some("local:rare"),
                ..open()
            },
            1000,
            2100,
        ),
        (
            AuditFilter {
                action: some("server_updated"),
                ..open()
            },
            200,
            500,
        ),
        (
            AuditFilter {
                target: some("server-3/client-8"),
                ..open()
            },
            10,
            40,
        ),
        // A rare and a frequent value together: the rare one determines the cost.
        (
            AuditFilter {
                actor: some("local:often"),
                action: some("server_updated"),
                ..open()
            },
            198,
            1500,
        ),
        (
            AuditFilter {
                actor: some("local:rare"),
                action: some("server_updated"),
                ..open()
            },
            2,
            30,
        ),
        (
            AuditFilter {
                actor: some("local:nobody"),
                ..open()
            },
            0,
            5,
        ),
        // One minute out of a hundred, found by bisection. Records within the tolerated disorder are read too.
        (
            AuditFilter {
                since: Some(at(1_003_000)),
                until: Some(at(1_003_060)),
                ..open()
            },
            1000,
            12_100,
        ),
        (
            AuditFilter {
                since: Some(at(1_003_000)),
                until: Some(at(1_003_060)),
                action: some("server_updated"),
                ..open()
            },
            2,
            120,
        ),
    ] {
        let looked = looked(filter.clone(), expected);
        assert!(looked <= most, "{filter:?} read {looked} rows");
    }
    let outcome = verified(&store, ours());
    assert!(outcome.ok, "{outcome:?}");
    assert_eq!(
        (outcome.records, outcome.checkpoints, outcome.signed_until),
        (100_000, 100, 100_000)
    );
}
