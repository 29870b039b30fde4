//! From the server's table to the agent's.

use super::super::board::BoardLimits;
use super::support::{Agent, PATIENCE, Rig, pod};

#[tokio::test]
async fn agents_learn_what_the_resolver_knows() {
    let rig = Rig::start(BoardLimits::default()).await;
    rig.list(vec![pod("a", 1), pod("b", 2)]).await;
    let mut first = Agent::start(rig.address);
    first.learns(&[("a", 1), ("b", 2)]).await;
    rig.apply(pod("c", 3)).await;
    rig.apply(pod("a", 4)).await;
    rig.delete("b").await;
    first.learns(&[("a", 4), ("c", 3)]).await;
    // Both are told of one snapshot: the log still has what follows it.
    let mut second = Agent::start(rig.address);
    second.learns(&[("a", 4), ("c", 3)]).await;
    rig.delete("a").await;
    for agent in [&mut first, &mut second] {
        agent.learns(&[("c", 3)]).await;
        let status = agent.status();
        assert_eq!((status.snapshots, status.errors, status.skipped), (1, 0, 0));
    }
    let counted = rig.board.stats.read();
    assert_eq!((counted.clients, counted.snapshots), (2, 2));
    assert!(counted.deltas >= 4 && counted.bytes > 0, "{counted:?}");
    drop((first, second));
    let gone = async {
        while rig.board.stats.read().clients > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn nobody_is_told_before_everything_is_listed() {
    let rig = Rig::start(BoardLimits::default()).await;
    rig.apply(pod("a", 1)).await;
    let mut agent = Agent::start(rig.address);
    let refused = agent.status.wait_for(|status| status.errors >= 3);
    let refused = refused.await.unwrap().last_error.clone().unwrap();
    assert!(refused.contains("not complete (Unavailable)"), "{refused}");
    rig.list(vec![pod("a", 1), pod("b", 2)]).await;
    agent.learns(&[("a", 1), ("b", 2)]).await;
}

#[tokio::test]
async fn a_relist_that_finds_nothing_new_tells_nothing() {
    let rig = Rig::start(BoardLimits::default()).await;
    rig.list(vec![pod("a", 1), pod("b", 2)]).await;
    let mut agent = Agent::start(rig.address);
    agent.learns(&[("a", 1), ("b", 2)]).await;
    rig.list(vec![pod("b", 2), pod("a", 1)]).await;
    rig.list(vec![pod("b", 2)]).await;
    agent.learns(&[("b", 2)]).await;
    assert_eq!((agent.status().events, rig.board.head()), (3, 1));
}

#[tokio::test]
async fn what_lives_for_a_moment_is_told_all_the_same() {
    let rig = Rig::start(BoardLimits::default()).await;
    rig.list(Vec::new()).await;
    let mut agent = Agent::start(rig.address);
    agent.learns(&[]).await;
    rig.apply(pod("brief", 1)).await;
    rig.delete("brief").await;
    rig.apply(pod("next", 1)).await;
    agent.learns(&[("next", 1)]).await;
    // It came, went, and the next one came.
    assert_eq!(agent.status().events, 3);
}

#[tokio::test]
async fn what_is_known_stays_while_the_resolver_is_away() {
    let rig = Rig::start(BoardLimits::default()).await;
    rig.list(vec![pod("a", 1)]).await;
    let mut agent = Agent::start(rig.address);
    agent.learns(&[("a", 1)]).await;
    let address = rig.stop().await;
    let away = agent.status.wait_for(|status| status.errors >= 3);
    assert!(
        away.await
            .is_ok_and(|status| !status.connected && status.listed)
    );
    agent.learns(&[("a", 1)]).await;
    // The next one has another epoch, and at first nothing to tell.
    let rig = Rig::start_at(address, BoardLimits::default(), None).await;
    let errors = agent.status().errors;
    let refused = agent.status.wait_for(|status| status.errors > errors + 2);
    drop(refused.await);
    agent.learns(&[("a", 1)]).await;
    rig.list(vec![pod("b", 2)]).await;
    agent.learns(&[("b", 2)]).await;
    assert_eq!((agent.status().snapshots, agent.status().resumed), (2, 0));
}

#[tokio::test]
async fn as_many_clients_as_may_be() {
    let limits = BoardLimits {
        clients: 1,
        ..BoardLimits::default()
    };
    let rig = Rig::start(limits).await;
    rig.list(vec![pod("a", 1)]).await;
    let mut first = Agent::start(rig.address);
    first.learns(&[("a", 1)]).await;
    let mut second = Agent::start(rig.address);
    let refused = second.status.wait_for(|status| status.errors >= 1);
    let refused = refused.await.unwrap().last_error.clone().unwrap();
    assert!(refused.contains("ResourceExhausted"), "{refused}");
    drop(first);
    second.learns(&[("a", 1)]).await;
}

#[tokio::test]
async fn who_does_not_read_is_told_everything_anew_when_it_does() {
    let limits = BoardLimits {
        log_bytes: 256 << 10,
        ..BoardLimits::default()
    };
    let rig = Rig::start(limits).await;
    rig.list(vec![pod("a", 1)]).await;
    let mut agent = Agent::start(rig.address);
    agent.learns(&[("a", 1)]).await;
    // It takes nothing in while megabytes are told: many times what the log holds, and what may be under way.
    let names: Vec<_> = (0..100).map(|number| format!("{number:0200}")).collect();
    for ip in 0..100 {
        for name in &names {
            rig.apply(pod(name, ip)).await;
        }
    }
    rig.list(vec![pod("b", 2)]).await;
    agent.learns(&[("b", 2)]).await;
    let status = agent.status();
    assert!(status.snapshots >= 2, "{status:?}");
    assert!(status.events < 9_000, "{status:?}");
    assert_eq!((status.errors, status.skipped), (0, 0));
}
