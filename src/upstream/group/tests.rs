use std::path::Path;

use super::*;
use crate::config::{ProcessEnv, load_str};

fn config(keys: &str) -> Arc<model::Upstream> {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:80\"\n[[route]]\nupstream = \"app\"\n[upstream.app]\n{keys}"
    );
    let config = load_str("test.toml", &text, Path::new("."), &ProcessEnv);
    config
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
        .upstreams["app"]
        .clone()
}

fn upstream(keys: &str) -> Upstream {
    Upstream::new(config(keys), None)
}

fn ask<'a>(cookie: Option<&'a str>, tried: &'a [EndpointId]) -> Ask<'a> {
    Ask {
        client: IpAddr::from([192, 0, 2, 1]),
        cookie,
        tried,
    }
}

fn nobody() -> Ask<'static> {
    ask(None, &[])
}

const TWO: &str = "servers = [\"http://a\", \"http://b\"]\n";

const EJECTING: &str = "passive = { failures = 1, eject = \"10s\" }\n";

fn port(lease: &Lease) -> String {
    lease.addr().to_string()
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_gets_that_of_a_server_whose_ejection_ends() {
    let one_place = "servers = [{ url = \"http://a\", max_connections = 1 }, { url = \"http://b\", max_connections = 1 }]\n";
    let upstream = upstream(&format!("{one_place}{EJECTING}max_wait = \"1m\"\n"));
    let ejected = upstream.lease(&nobody()).await.unwrap();
    assert!(upstream.failed(&ejected).is_some());
    let name = port(&ejected);
    drop(ejected);
    let _held = upstream.lease(&nobody()).await.unwrap();
    let begun = Instant::now();
    let lease = upstream.lease(&nobody()).await.unwrap();
    assert_eq!(port(&lease), name);
    assert!(begun.elapsed() < Duration::from_secs(11));
}

#[tokio::test]
async fn a_retry_prefers_a_server_that_it_has_not_tried() {
    for policy in [
        "round_robin",
        "least_connections",
        "random_two",
        "ip_hash",
        "cookie",
    ] {
        let upstream = upstream(&format!("{TWO}balance = \"{policy}\"\n"));
        let ids: Vec<EndpointId> = upstream.endpoints().map(|endpoint| endpoint.id()).collect();
        for _ in 0..20 {
            let lease = upstream.lease(&ask(None, &ids[..1])).await.unwrap();
            assert_eq!(lease.endpoint().id(), ids[1], "{policy}");
        }
        // When all were tried, any is better than none.
        assert!(upstream.lease(&ask(None, &ids)).await.is_ok(), "{policy}");
    }
}

#[tokio::test]
async fn an_ejected_server_gets_nothing_and_when_all_are_the_answer_says_for_how_long() {
    let upstream = upstream(&format!("{TWO}{EJECTING}"));
    let first = upstream.lease(&nobody()).await.unwrap();
    assert_eq!(upstream.failed(&first), Some(Duration::from_secs(10)));
    for _ in 0..20 {
        let lease = upstream.lease(&nobody()).await.unwrap();
        assert_ne!(lease.endpoint().id(), first.endpoint().id());
    }
    let second = upstream.lease(&nobody()).await.unwrap();
    upstream.failed(&second);
    match upstream.lease(&nobody()).await {
        Err(Unavailable::Unhealthy { retry_after }) => {
            assert!(retry_after > Duration::from_secs(8) && retry_after <= Duration::from_secs(10));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn without_passive_checks_failures_change_nothing() {
    let upstream = upstream(TWO);
    for _ in 0..100 {
        let lease = upstream.lease(&nobody()).await.unwrap();
        assert_eq!(upstream.failed(&lease), None);
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_all_servers_full_waits_in_order_and_not_for_ever() {
    let one = "servers = [{ url = \"http://a\", max_connections = 1 }]\nmax_waiting = 2\n";
    let upstream = upstream(one);
    let held = upstream.lease(&nobody()).await.unwrap();
    let asked = nobody();
    let mut first = Box::pin(upstream.lease(&asked));
    let mut second = Box::pin(upstream.lease(&asked));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    assert!(matches!(
        upstream.lease(&nobody()).await,
        Err(Unavailable::Full { .. })
    ));
    drop(held);
    assert!(
        futures_util::poll!(&mut second).is_pending(),
        "it came later"
    );
    let held = first.await.unwrap();
    let begun = Instant::now();
    assert!(matches!(second.await, Err(Unavailable::Full { .. })));
    assert!(begun.elapsed() <= Duration::from_millis(1100));
    // Whoever leaves frees its place in the queue.
    let mut leaves = Box::pin(upstream.lease(&asked));
    assert!(futures_util::poll!(&mut leaves).is_pending());
    drop((leaves, held));
    assert!(upstream.queue.is_empty());
    assert!(upstream.lease(&nobody()).await.is_ok());
}

#[tokio::test]
async fn a_reload_keeps_the_servers_that_stay_and_what_is_known_of_them() {
    let before = upstream(&format!("{TWO}{EJECTING}"));
    let lease = before.lease(&nobody()).await.unwrap();
    before.failed(&lease);
    let ids: Vec<EndpointId> = before.endpoints().map(|endpoint| endpoint.id()).collect();
    let keys = format!(
        "servers = [\"http://c\", {{ url = \"http://b\", weight = 9 }}, \"http://a\"]\nretries = 3\n{EJECTING}"
    );
    let after = Upstream::new(config(&keys), Some(&before));
    let kept: Vec<EndpointId> = after.endpoints().map(|endpoint| endpoint.id()).collect();
    assert_eq!(kept[1..], [ids[1], ids[0]]);
    assert!(!ids.contains(&kept[0]));
    let live: usize = after.endpoints().map(|endpoint| endpoint.live()).sum();
    assert_eq!(live, 1);
    for _ in 0..50 {
        let other = after.lease(&nobody()).await.unwrap();
        assert_ne!(port(&other), port(&lease), "it is still ejected");
    }
}

#[tokio::test]
async fn a_cookie_leads_to_its_server_and_is_set_only_when_it_does_not() {
    let upstream = upstream(&format!("{TWO}balance = \"cookie\"\n{EJECTING}"));
    let lease = upstream.lease(&nobody()).await.unwrap();
    let field = upstream.set_cookie(&lease, None, Channel::Clear).unwrap();
    let text = field.to_str().unwrap();
    let pair = text.split(';').next().unwrap();
    let cookie = pair.strip_prefix("streamgate_app=").unwrap();
    for _ in 0..20 {
        let again = upstream.lease(&ask(Some(cookie), &[])).await.unwrap();
        assert_eq!(port(&again), port(&lease));
        assert_eq!(
            upstream.set_cookie(&again, Some(cookie), Channel::Clear),
            None
        );
    }
    let forged = upstream.lease(&ask(Some("AAAA"), &[])).await.unwrap();
    assert!(
        upstream
            .set_cookie(&forged, Some("AAAA"), Channel::Clear)
            .is_some()
    );
    upstream.failed(&lease);
    let moved = upstream.lease(&ask(Some(cookie), &[])).await.unwrap();
    assert_ne!(port(&moved), port(&lease));
    assert!(
        upstream
            .set_cookie(&moved, Some(cookie), Channel::Clear)
            .is_some()
    );
}

#[tokio::test]
async fn a_client_whose_server_is_full_goes_elsewhere_and_stays_its_client() {
    let upstream = upstream(
        "servers = [{ url = \"http://a\", max_connections = 1 }, \"http://b\"]\nbalance = \"cookie\"\n",
    );
    let tried: Vec<EndpointId> = upstream.endpoints().map(|endpoint| endpoint.id()).collect();
    let at_a = upstream.lease(&ask(None, &tried[1..])).await.unwrap();
    let field = upstream.set_cookie(&at_a, None, Channel::Clear).unwrap();
    let text = field.to_str().unwrap().to_owned();
    let cookie = text.split([';', '=']).nth(1).unwrap();
    let spilled = upstream.lease(&ask(Some(cookie), &[])).await.unwrap();
    assert_eq!(port(&spilled), "b:80");
    assert_eq!(
        upstream.set_cookie(&spilled, Some(cookie), Channel::Clear),
        None
    );
}

#[tokio::test]
async fn the_same_client_gets_the_same_server_by_its_address() {
    let upstream = upstream(&format!("{TWO}balance = \"ip_hash\"\n"));
    let expected = port(&upstream.lease(&nobody()).await.unwrap());
    for _ in 0..20 {
        assert_eq!(port(&upstream.lease(&nobody()).await.unwrap()), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_gets_little_at_first() {
    let upstream = upstream(&format!(
        "{TWO}{EJECTING}slow_start = \"100s\"\nbalance = \"round_robin\"\n"
    ));
    let back = upstream.lease(&nobody()).await.unwrap();
    upstream.failed(&back);
    tokio::time::advance(Duration::from_secs(10)).await;
    let mut shares = Vec::new();
    for _ in 0..3 {
        let mut count = 0;
        for _ in 0..1000 {
            let lease = upstream.lease(&nobody()).await.unwrap();
            count += usize::from(port(&lease) == port(&back));
        }
        shares.push(count);
        tokio::time::advance(Duration::from_secs(50)).await;
    }
    assert!((40..150).contains(&shares[0]), "{shares:?}");
    assert!((280..430).contains(&shares[1]), "{shares:?}");
    assert_eq!(shares[2], 500, "{shares:?}");
}
