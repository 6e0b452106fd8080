//! The dashboard in Chromium, clicked through as an operator would, and read as a screen reader would.

use std::net::SocketAddr;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::bridge::bridge;
use crate::browser::Browser;
use crate::harness::{
    ADMIN, Admin, Backend, Gate, Relay, Subscriber, WebSocketClient, echo_websocket, node_file,
    within,
};

const TOKEN: &str = "the-token-of-these-tests";

/// The left arrow, as WebDriver has it.
const LEFT: &str = "\u{e012}";
/// The escape key.
const ESCAPE: &str = "\u{e00c}";

const ROWS: &str = "document.querySelectorAll('#streams-table tbody tr').length";

/// A gate with WebSockets, a bridge and an admin listener.
struct Scene {
    echo: Backend,
    feeds: Backend,
}

impl Scene {
    async fn set() -> Self {
        Self {
            echo: Backend::that(echo_websocket).await,
            feeds: Backend::by_hand().await,
        }
    }

    fn config(&self, admin: &str) -> String {
        let upstream = self.echo.upstream("echo");
        let route = "[[route]]\npath = \"/ws/*\"\nupstream = \"echo\"\n";
        let by_method =
            |it| format!("[[route]]\npath = \"/by-method\"\nmethods = [\"{it}\"]\nrespond = 204\n");
        let others = by_method("GET") + &by_method("PUT") + &bridge(&self.feeds, "");
        format!("{admin}{upstream}{route}{others}")
    }

    async fn start(&self) -> (Gate, Admin) {
        let admin = format!("{ADMIN}token = \"{TOKEN}\"\n");
        let gate = Gate::start(&self.config(&admin)).await;
        let admin = Admin::of(&gate).await;
        (gate, admin)
    }
}

/// A page that scrolls by itself would be clicked beside its buttons: the operator here wants no motion.
async fn browser() -> Browser {
    Browser::start_with(&["--force-prefers-reduced-motion"]).await
}

fn signed_in(address: SocketAddr) -> String {
    format!("http://{address}/#token={TOKEN}")
}

fn rows(number: usize) -> String {
    format!("{ROWS} === {number}")
}

fn port_of(client: &WebSocketClient) -> u16 {
    let tcp = client.socket.get_ref().get_ref().0;
    tcp.local_addr().unwrap().port()
}

/// Where the newest point of the connections' graph is drawn, of 600.
const NEWEST: &str =
    "Number([...document.querySelectorAll('#charts > div')[2].querySelector('.line')
    .getAttribute('d').matchAll(/[ML]([0-9.]+),/g)].at(-1)?.[1] ?? 0)";

#[tokio::test(flavor = "multi_thread")]
async fn it_lists_live_streams_finds_one_and_closes_it() {
    let mut scene = Scene::set().await;
    let (gate, admin) = scene.start().await;
    let mut sockets = Vec::new();
    for path in ["/ws/one", "/ws/two", "/ws/three"] {
        sockets.push(WebSocketClient::open(&gate, path, &[]).await);
    }
    let _subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let mut feed = scene.feeds.feed().await;
    feed.text("hello").await;
    let browser = browser().await;
    browser.visit(&signed_in(admin.address)).await;
    browser.until(&rows(4)).await;
    // The token is gone from the address, and the tables from the API are there.
    browser
        .until("location.hash === '' && location.search === ''")
        .await;
    for table in [
        "#routes-table",
        "#upstreams-parts",
        "#bridges-parts",
        "#certificates-table",
    ] {
        let filled = format!("document.querySelectorAll('{table} tbody tr').length > 0");
        browser.until(&filled).await;
    }
    // Two routes of one name are two.
    let named = "[...document.querySelectorAll('#routes-table .main')].map((it) => it.textContent)";
    let twice = format!("{named}.filter((name) => name === '/by-method').length === 2");
    browser.until(&twice).await;

    let mut second = sockets.remove(1);
    let client = format!(":{}", port_of(&second));
    browser.type_into("input[name=q]", &client).await;
    browser.until(&rows(1)).await;
    let found = browser
        .value("document.getElementById('streams-count').textContent")
        .await;
    assert_eq!(found, json!("1 of 4 live streams"));
    browser.click("#streams-table tbody button").await;
    browser
        .until(
            "document.getElementById('close-stream').open && document.activeElement.value === 'no'",
        )
        .await;
    let facts = browser
        .value("document.getElementById('close-facts').textContent")
        .await;
    assert!(facts.as_str().unwrap().contains(&client), "{facts}");
    browser.click("#close-stream button[value=yes]").await;
    let closed = within("a Close", second.socket.next()).await;
    let Some(Ok(Message::Close(Some(frame)))) = closed else {
        panic!("no Close came: {closed:?}");
    };
    assert_eq!(u16::from(frame.code), 1001);
    assert_eq!(frame.reason.as_str(), "closed by the operator");
    drop(second);
    browser.until(&rows(0)).await;
    browser.click("#clear").await;
    browser.until(&rows(3)).await;
    for socket in &mut sockets {
        socket.echoes("still here".into()).await;
    }
    keyboard_reads_a_graph(&browser).await;
    assert_nothing_went_wrong(&browser).await;
    browser.close().await;
}

/// The graphs say what they show to who cannot see them.
async fn keyboard_reads_a_graph(browser: &Browser) {
    let points = "document.querySelectorAll('#charts .plot').length === 4";
    browser.until(points).await;
    browser
        .until(&format!("document.hidden === false && {NEWEST} > 590"))
        .await;
    let text = "document.querySelectorAll('#charts .plot')[2].getAttribute('aria-valuetext')";
    assert_eq!(browser.value(text).await, json!("now"));
    browser
        .type_into("#charts > div:nth-child(3) .plot", LEFT)
        .await;
    let said = browser.value(text).await;
    assert!(said.as_str().unwrap().ends_with(" now"), "{said}");
    browser
        .click("#charts > div:nth-child(3) details summary")
        .await;
    browser
        .until("document.querySelectorAll('#charts .minutes tbody tr').length > 0")
        .await;
}

/// No script failed, nothing was refused by the policy, and no other host was asked.
async fn assert_nothing_went_wrong(browser: &Browser) {
    let mut told = browser.console().await;
    told.retain(|line| line["level"] == "SEVERE" || line["level"] == "WARNING");
    assert_eq!(told, Vec::<Value>::new());
    let elsewhere = "performance.getEntriesByType('resource').map((entry) => entry.name)
        .filter((name) => !name.startsWith(location.origin + '/'))";
    assert_eq!(browser.value(elsewhere).await, json!([]));
    let asked = "performance.getEntriesByType('resource').length > 10";
    assert_eq!(browser.value(asked).await, json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_follows_a_restart_to_the_new_process() {
    let scene = Scene::set().await;
    let (mut gate, admin) = scene.start().await;
    let mut socket = WebSocketClient::open(&gate, "/ws/one", &[]).await;
    let browser = browser().await;
    browser.visit(&signed_in(admin.address)).await;
    let process = "document.getElementById('fact-process').textContent";
    browser
        .until(&format!("{process} === '{}'", gate.process()))
        .await;
    browser
        .until(&format!("{} && {NEWEST} > 590", rows(1)))
        .await;
    gate.restart().await;
    browser
        .until(&format!("{process} === '{}'", gate.process()))
        .await;
    browser
        .until("document.body.dataset.line === 'open' && document.getElementById('lost').hidden")
        .await;
    browser
        .until("document.getElementById('state').textContent === 'serving'")
        .await;
    browser.until(&format!("{NEWEST} > 590")).await;
    // The stream lives in the old process, until that has drained.
    browser.until(&rows(0)).await;
    while !matches!(
        within("the end", socket.socket.next()).await,
        None | Some(Err(_) | Ok(Message::Close(_)))
    ) {}
    drop(socket);
    let _fresh = WebSocketClient::open(&gate, "/ws/two", &[]).await;
    browser.until(&rows(1)).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_told_and_taken_up_again() {
    let scene = Scene::set().await;
    let (gate, admin) = scene.start().await;
    let _socket = WebSocketClient::open(&gate, "/ws/one", &[]).await;
    let relay = Relay::to(admin.address).await;
    let nowhere = {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        taken.local_addr().unwrap()
    };
    let browser = browser().await;
    browser.visit(&signed_in(relay.address)).await;
    browser
        .until(&format!("{} && {NEWEST} > 590", rows(1)))
        .await;
    for _loss in 0..2 {
        relay.aim(nowhere);
        relay.cut();
        browser
            .until("!document.getElementById('lost').hidden")
            .await;
        let banner = browser
            .value("document.getElementById('lost').textContent.trim()")
            .await;
        assert_eq!(banner, json!("Connection lost, trying again."));
        // What is known stays on the page, and the graph shows that nothing is heard.
        browser
            .until(&format!("{} && {NEWEST} < 598", rows(1)))
            .await;
        relay.aim(admin.address);
        browser
            .until(&format!(
                "document.getElementById('lost').hidden && {NEWEST} > 598"
            ))
            .await;
    }
    // The process has gone on counting meanwhile, and has told what was missed.
    let gaps = browser
        .value("document.querySelectorAll('.gap').length")
        .await;
    assert_eq!(gaps, json!(0));
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_for_the_token_and_keeps_none_of_it() {
    let scene = Scene::set().await;
    let (gate, admin) = scene.start().await;
    let _socket = WebSocketClient::open(&gate, "/ws/one", &[]).await;
    let browser = browser().await;
    let url = format!("http://{}/", admin.address);
    browser.visit(&url).await;
    browser
        .until("document.getElementById('sign-in').open")
        .await;
    browser.type_into("#token", "not-the-token-at-all").await;
    browser.click("#sign-in button[value=yes]").await;
    browser
        .until(
            "document.querySelector('#sign-in .fault').textContent === 'that token was not accepted'",
        )
        .await;
    browser.type_into("#token", TOKEN).await;
    browser.click("#sign-in button[value=yes]").await;
    browser
        .until(&format!(
            "!document.getElementById('sign-in').open && {}",
            rows(1)
        ))
        .await;
    // A cookie that no script sees stands for it from then on.
    let kept = "[document.getElementById('token').value, document.cookie, JSON.stringify(localStorage)].join()";
    let kept = browser.value(kept).await;
    assert_eq!(kept, json!(",,{}"));
    browser.visit(&url).await;
    browser.until(&rows(1)).await;
    browser.click("#sign-out").await;
    browser
        .until("document.getElementById('sign-in').open")
        .await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_change_anything_its_buttons_say_why() {
    let scene = Scene::set().await;
    let gate = Gate::start(&scene.config(ADMIN)).await;
    let admin = Admin::of(&gate).await;
    let mut socket = WebSocketClient::open(&gate, "/ws/one", &[]).await;
    let browser = browser().await;
    browser.visit(&format!("http://{}/", admin.address)).await;
    browser.until(&rows(1)).await;
    browser
        .until("!document.getElementById('read-only').hidden")
        .await;
    for button in [
        "#streams-table tbody button.change",
        "#reload",
        "#log-form button",
    ] {
        let state = format!("document.querySelector('{button}').getAttribute('aria-disabled')");
        assert_eq!(browser.value(&state).await, json!("true"), "{button}");
        browser.click(button).await;
        browser
            .until("document.getElementById('why-not').open")
            .await;
        browser.type_into("#why-not button", ESCAPE).await;
        browser
            .until("!document.getElementById('why-not').open")
            .await;
    }
    socket.echoes("untouched".into()).await;
    assert_nothing_went_wrong(&browser).await;
    browser.close().await;
}

/// What axe-core finds wrong, with where.
const FAULTS: &str = "axe.run(document, { resultTypes: ['violations'] }).then((found) =>
    found.violations.map((fault) => `${fault.id}: ${fault.nodes.map((node) =>
        `${node.target} (${node.failureSummary})`).join(', ')}`))";

async fn assert_accessible(browser: &Browser, what: &str) {
    let faults = browser.promised(FAULTS).await;
    assert_eq!(faults, json!([]), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_accessible_in_light_and_dark_on_desktop_and_phone() {
    let mut scene = Scene::set().await;
    let (gate, admin) = scene.start().await;
    let _socket = WebSocketClient::open(&gate, "/ws/one", &[]).await;
    let _subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let _feed = scene.feeds.feed().await;
    let browser = browser().await;
    browser.visit(&signed_in(admin.address)).await;
    browser.until(&rows(2)).await;
    browser
        .until("document.querySelectorAll('#bridges-parts tbody tr').length > 0")
        .await;
    // Run as the driver's own script: the page's policy lets nothing else in.
    browser.run(&node_file("axe-core/axe.min.js")).await;
    for (width, height) in [(1280, 900), (360, 740)] {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser
            .command("Emulation.setDeviceMetricsOverride", screen)
            .await;
        browser.until(&format!("innerWidth === {width}")).await;
        browser
            .until("document.documentElement.scrollWidth <= innerWidth")
            .await;
        for theme in ["light", "dark"] {
            let wear = format!(
                "const theme = document.getElementById('theme'); theme.value = '{theme}'; \
                 theme.dispatchEvent(new Event('change'));"
            );
            browser.run(&wear).await;
            browser
                .until(&format!(
                    "getComputedStyle(document.documentElement).colorScheme === '{theme}'"
                ))
                .await;
            assert_accessible(&browser, &format!("{theme}, {width}")).await;
            browser.click("#streams-table tbody button.change").await;
            browser
                .until("document.getElementById('close-stream').open")
                .await;
            assert_accessible(&browser, &format!("a dialog, {theme}, {width}")).await;
            browser.click("#close-stream button[value=no]").await;
            browser
                .until("!document.getElementById('close-stream').open")
                .await;
        }
    }
    browser.close().await;
}
