//! What opens with which ticket and which pass.

use super::*;

fn ann(expires: Option<u64>) -> Known {
    Known {
        user: Some("ann".into()),
        expires: expires.map(|at| UNIX_EPOCH + Duration::from_secs(at)),
        fields: vec![
            (
                HeaderName::from_static("x-user"),
                Some(HeaderValue::from_static("ann")),
            ),
            (HeaderName::from_static("x-roles"), None),
        ],
        pass: None,
    }
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

fn stub(path: &str, ticket: Option<&str>, passes: &[&str]) -> Stub {
    Stub {
        path: path.to_owned(),
        ticket: ticket.map(ToOwned::to_owned),
        passes: passes.iter().map(|&it| it.to_owned()).collect(),
    }
}

#[test]
fn a_ticket_lets_in_once_and_its_pass_again() {
    let tickets = Tickets::new();
    let ticket = tickets.give(&ann(Some(1000)), "/a", at(100)).unwrap();
    assert!(!ticket.contains("ann"));
    let first = stub("/a", Some(&ticket), &[]);
    let known = tickets.take(&first, at(110)).unwrap();
    assert_eq!(
        (known.user.as_deref(), known.fields.len()),
        (Some("ann"), 2)
    );
    assert_eq!(known.expires, Some(at(1000)));
    assert!(matches!(
        tickets.take(&first, at(110)),
        Err(Refusal::Ticket)
    ));
    let pass = known.pass.unwrap();
    for ticket in [None, Some(ticket.as_str()), Some("x")] {
        let again = stub("/a", ticket, &["nonsense", &pass]);
        let known = tickets.take(&again, at(999)).unwrap();
        assert_eq!((known.user.as_deref(), known.pass), (Some("ann"), None));
        let refused = tickets.take(&again, at(1000));
        assert!(matches!(refused, Err(Refusal::Ticket)), "it has expired");
    }
}

#[test]
fn a_pass_does_not_speak_for_the_user_of_a_ticket() {
    let tickets = Tickets::new();
    let bob = Known {
        user: Some("bob".into()),
        ..ann(None)
    };
    let give = |known: &Known| tickets.give(known, "/a", at(100)).unwrap();
    let take = |ticket: &str, passes: &[&str], time| {
        tickets.take(&stub("/a", Some(ticket), passes), at(time))
    };
    let pass_of_ann = take(&give(&ann(None)), &[], 100).unwrap().pass.unwrap();
    let ticket = give(&bob);
    let known = take(&ticket, &[&pass_of_ann], 110).unwrap();
    assert_eq!(known.user.as_deref(), Some("bob"));
    let pass_of_bob = known.pass.unwrap();
    for time in [110, 1000] {
        let refused = take(&ticket, &[&pass_of_ann], time);
        assert!(matches!(refused, Err(Refusal::Ticket)), "{time}");
        let known = take(&ticket, &[&pass_of_ann, &pass_of_bob], time).unwrap();
        assert_eq!((known.user.as_deref(), known.pass), (Some("bob"), None));
    }
}

#[test]
fn neither_is_good_for_anything_else() {
    let tickets = Tickets::new();
    let ticket = tickets.give(&ann(None), "/a", at(100)).unwrap();
    let pass = tickets.take(&stub("/a", Some(&ticket), &[]), at(100));
    let pass = pass.unwrap().pass.unwrap();
    let fresh = tickets.give(&ann(None), "/a", at(100)).unwrap();
    let changed = format!("{}A", &fresh[..fresh.len() - 1]);
    let elsewhere = Tickets::new().give(&ann(None), "/a", at(100)).unwrap();
    for (what, stub, time) in [
        ("another path", stub("/b", Some(&fresh), &[]), 100),
        ("a pass of another path", stub("/a/b", None, &[&pass]), 100),
        ("too late", stub("/a", Some(&fresh), &[]), 160),
        (
            "a pass too late",
            stub("/a", None, &[&pass]),
            100 + PASS_GOOD_FOR,
        ),
        ("a pass for a ticket", stub("/a", Some(&pass), &[]), 100),
        ("a ticket for a pass", stub("/a", None, &[&fresh]), 100),
        ("another key's", stub("/a", Some(&elsewhere), &[]), 100),
        ("not base64", stub("/a", Some("%%%"), &[]), 100),
        ("nothing", stub("/a", Some(""), &[]), 100),
        ("huge", stub("/a", Some(&"a".repeat(9000)), &[]), 100),
    ] {
        let refused = tickets.take(&stub, at(time));
        assert!(matches!(refused, Err(Refusal::Ticket)), "{what}");
    }
    if changed != fresh {
        let changed = stub("/a", Some(&changed), &[]);
        assert!(tickets.take(&changed, at(100)).is_err());
    }
    let refused = tickets.take(&stub("/a", None, &[]), at(100));
    assert!(matches!(refused, Err(Refusal::Missing)));
    assert!(
        tickets
            .take(&stub("/a", Some(&fresh), &[]), at(100))
            .is_ok()
    );
}

#[test]
fn a_ticket_ends_with_the_token_that_it_was_given_for() {
    let tickets = Tickets::new();
    let ticket = tickets.give(&ann(Some(120)), "/a", at(100)).unwrap();
    let late = tickets.take(&stub("/a", Some(&ticket), &[]), at(120));
    assert!(matches!(late, Err(Refusal::Ticket)));
}

#[test]
fn what_no_cookie_can_hold_gets_no_ticket() {
    let tickets = Tickets::new();
    let give = |path: &str, known: &Known| tickets.give(known, path, at(100)).err();
    let mut known = ann(None);
    for path in ["/a;b", "/a b", "/é", &"/a".repeat(600)] {
        assert_eq!(give(path, &known), Some(Unticketed::Path), "{path}");
    }
    let long = HeaderValue::try_from("x".repeat(4000)).unwrap();
    known.fields[0].1 = Some(long);
    assert_eq!(give("/a", &known), Some(Unticketed::TooLong));
}

#[test]
fn the_cookie_is_for_one_path_and_no_script() {
    let cookie = cookie("p", "/live/a", None).unwrap();
    assert_eq!(
        cookie,
        "streamgate_pass=p; Path=/live/a; Max-Age=43200; HttpOnly; Secure; SameSite=Strict"
    );
}
