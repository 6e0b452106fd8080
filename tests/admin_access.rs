//! Who may ask the admin API for what: by the way, by the token, by the page.

use crate::harness::{ADMIN_API, Admin, AdminSocket, Backend, Directory, Gate, Head, echo_http};

const TOKEN: &str = "0123456789abcdefghij";

/// Paths that read, each from another part.
const READS: [&str; 9] = [
    "/api/status",
    "/api/routes",
    "/api/upstreams",
    "/api/certificates",
    "/api/streams",
    "/api/bridges",
    "/api/reload",
    "/api/log",
    "/api/openapi.json",
];

/// What changes something, with a status that says that it was let through.
const CHANGES: [(&str, &str, u16); 5] = [
    ("POST", "/api/reload", 200),
    ("POST", "/api/reload?plan", 200),
    ("DELETE", "/api/streams/none", 404),
    ("POST", "/api/streams/drain?route=none", 202),
    ("PUT", "/api/log", 400),
];

async fn gate(admin: &str) -> (Gate, Admin) {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{admin}{}", backend.for_everything())).await;
    let admin = Admin::of(&gate).await;
    (gate, admin)
}

fn with_token() -> String {
    format!("{ADMIN_API}token = \"{TOKEN}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_this_machine_may_read_and_the_socket_may_change() {
    let (gate, admin) = gate(ADMIN_API).await;
    for path in READS {
        assert_eq!(admin.ask("GET", path).await.0.status(), 200, "{path}");
        assert_eq!(admin.ask("HEAD", path).await.0.status(), 200, "{path}");
    }
    let socket = AdminSocket::of(&gate);
    for (method, path, status) in CHANGES {
        let (head, told) = admin.ask(method, path).await;
        assert_eq!(head.status(), 403, "{method} {path}");
        assert!(told.contains("`[admin] token`"), "{told}");
        assert_eq!(
            socket.ask(method, path, "").await.0.status(),
            status,
            "{method} {path}"
        );
    }
    let bearer = format!("Bearer {TOKEN}");
    let fields = [("Authorization", bearer.as_str())];
    for path in ["/api/session", "/api/reload"] {
        let (head, _) = admin.ask_with(("POST", path), &fields, "").await;
        assert_eq!(
            head.status(),
            403,
            "a token that nobody has set opens {path}"
        );
    }
    for (method, path, status) in [
        ("GET", "/api", 404),
        ("GET", "/api/none", 404),
        ("GET", "/api/streams/", 404),
        ("POST", "/api/status", 405),
        ("GET", "/api/streams/drain", 405),
    ] {
        let (head, _) = admin.ask(method, path).await;
        assert_eq!(head.status(), status, "{method} {path}");
        assert_eq!(head.get("content-type"), Some("application/problem+json"));
        assert_eq!(head.get("cache-control"), Some("no-store"));
    }
    let (head, _) = admin.ask("DELETE", "/api/reload").await;
    assert_eq!(head.get("allow"), Some("HEAD, GET, POST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_everybody_else_is_refused_and_its_owner_may_change() {
    let (gate, admin) = gate(&with_token()).await;
    for path in READS.into_iter().chain(["/api/none", "/api/live"]) {
        let (head, told) = admin.ask("GET", path).await;
        assert_eq!(head.status(), 401, "{path}");
        assert!(head.get("www-authenticate").unwrap().starts_with("Bearer"));
        assert!(!told.contains(TOKEN));
    }
    for (path, status) in [("/metrics", 200), ("/healthz", 200), ("/readyz", 200)] {
        assert_eq!(admin.ask("GET", path).await.0.status(), status, "{path}");
    }
    let right = format!("Bearer {TOKEN}");
    let wrong = format!("Bearer {TOKEN}x");
    for (method, path, status) in CHANGES {
        let ask = async |fields: &[(&str, &str)]| {
            let (head, _) = admin.ask_with((method, path), fields, "").await;
            head.status()
        };
        assert_eq!(ask(&[]).await, 401);
        assert_eq!(ask(&[("Authorization", &wrong)]).await, 401);
        let found = ask(&[("Authorization", &right)]).await;
        assert_eq!(found, status, "{method} {path}");
    }
    // The kernel says who is at the socket.
    let socket = AdminSocket::of(&gate);
    assert_eq!(socket.get("/api/status").await["may_change"], true);
    let lines = gate.log.since(0);
    assert!(!format!("{lines:?}").contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_s_cookie_stands_for_the_token_through_a_restart() {
    let (mut gate, admin) = gate(&with_token()).await;
    let right = format!("Bearer {TOKEN}");
    let session = async |method: &str, fields: &[(&str, &str)]| -> (u16, Head) {
        let (head, _) = admin.ask_with((method, "/api/session"), fields, "").await;
        (head.status(), head)
    };
    assert_eq!(session("POST", &[]).await.0, 401);
    assert_eq!(session("GET", &[("Authorization", &right)]).await.0, 405);
    let (status, head) = session("POST", &[("Authorization", &right)]).await;
    assert_eq!(status, 204);
    let given = head.get("set-cookie").unwrap().to_owned();
    let (cookie, rest) = given.split_once("; ").unwrap();
    assert_eq!(rest, "Path=/api; HttpOnly; SameSite=Strict");
    assert!(cookie.starts_with("streamgate_admin=") && !cookie.contains(TOKEN));
    let (status, _) = session("POST", &[("Cookie", cookie)]).await;
    assert_eq!(status, 401, "a cookie makes no other");
    let secure = [
        ("Authorization", right.as_str()),
        ("Host", "gate.example.org"),
        ("Origin", "https://gate.example.org"),
    ];
    let (_, head) = session("POST", &secure).await;
    assert!(head.get("set-cookie").unwrap().ends_with("; Secure"));
    let may = async |cookie: &str| {
        let (head, _) = admin
            .ask_with(("POST", "/api/reload?plan"), &[("Cookie", cookie)], "")
            .await;
        head.status()
    };
    assert_eq!(may(cookie).await, 200);
    assert_eq!(may("streamgate_admin=").await, 401);
    gate.restart().await;
    assert_eq!(may(cookie).await, 200);
    let (status, head) = session("DELETE", &[]).await;
    assert_eq!(status, 204);
    assert!(
        head.get("set-cookie")
            .unwrap()
            .starts_with("streamgate_admin=; Max-Age=0")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_get_nothing_whatever_their_browser_knows() {
    let right = format!("Bearer {TOKEN}");
    for admin in [ADMIN_API.to_owned(), with_token()] {
        let (_gate, admin) = gate(&admin).await;
        let own = format!("http://{}", admin.address);
        let host = admin.address.to_string();
        let table: [(&[(&str, &str)], u16); 7] = [
            (&[], 200),
            (&[("Host", &host), ("Origin", &own)], 200),
            (&[("Sec-Fetch-Site", "same-origin")], 200),
            (
                &[("Host", &host), ("Origin", "https://evil.example.org")],
                403,
            ),
            (&[("Origin", "null")], 403),
            (&[("Sec-Fetch-Site", "cross-site")], 403),
            (&[("Sec-Fetch-Site", "same-site")], 403),
        ];
        for (fields, status) in table {
            let fields = [fields, &[("Authorization", &right)]].concat();
            for asked in [("GET", "/api/status"), ("GET", "/api/none")] {
                let (head, _) = admin.ask_with(asked, &fields, "").await;
                let expected = match (asked.1, status) {
                    ("/api/none", 200) => 404,
                    _ => status,
                };
                assert_eq!(head.status(), expected, "{asked:?} {fields:?}");
            }
        }
    }
    // A name that the page's own DNS leads here.
    let rebound = [
        ("Host", "evil.example.org"),
        ("Authorization", right.as_str()),
    ];
    for (admin, status) in [(ADMIN_API.to_owned(), 403), (with_token(), 200)] {
        let (_gate, admin) = gate(&admin).await;
        let (head, _) = admin.ask_with(("GET", "/api/status"), &rebound, "").await;
        assert_eq!(head.status(), status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_from_a_file_and_a_reload_changes_it() {
    let directory = Directory::new();
    crate::harness::leaf(&["localhost"]).write(directory.path(), "gate");
    directory.write("admin.token", format!("{TOKEN}\n"));
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{ADMIN_API}token = {{ file = \"admin.token\" }}\n{}",
        backend.for_everything()
    );
    let gate = Gate::start_in(directory, &text).await;
    let admin = Admin::of(&gate).await;
    let may = async |token: &str| {
        let bearer = format!("Bearer {token}");
        let fields = [("Authorization", bearer.as_str())];
        let (head, _) = admin.ask_with(("GET", "/api/status"), &fields, "").await;
        head.status()
    };
    assert_eq!(may(TOKEN).await, 200);
    let next = "another-token-of-the-operator";
    gate.directory().write("admin.token", next);
    gate.reload_well(&text).await;
    assert_eq!((may(TOKEN).await, may(next).await), (401, 200));
}
