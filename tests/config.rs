//! What the program says about its configuration and its flags, and with which exit code.

use crate::harness::{Backend, Directory, Outcome, echo_http, leaf, run_program};

const HEAD: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n\
                    [[tls.certificate]]\ncert = \"gate.pem\"\nkey = \"gate.key\"\n\
                    [upstream.app]\nservers = [\"http://127.0.0.1:9\"]\n";

fn directory(config: &str) -> Directory {
    let directory = Directory::new();
    leaf(&["localhost"]).write(directory.path(), "gate");
    directory.write("gate.toml", config);
    directory
}

async fn check(config: &str) -> Outcome {
    run_program(directory(config).path(), &["check", "gate.toml"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_configuration_passes_check() {
    let outcome = check(&format!(
        "{HEAD}[[route]]\npath = \"/*\"\nupstream = \"app\"\n"
    ))
    .await;
    assert_eq!(outcome.code, 0, "{}", outcome.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_shown_with_their_place_and_exit_with_78() {
    // Lines 1 to 8 are HEAD.
    let cases = [
        (
            "[[route]]\npath = \"/*\"\nupstreem = \"app\"\n",
            "gate.toml:11:1: error:",
            "upstreem",
        ),
        (
            "[[route]]\npath = \"/*\"\nupstream = \"ap\"\n",
            "gate.toml:11:12: error:",
            "app",
        ),
        (
            "[[route]]\npath = \"/a\"\nupstream = \"app\"\n[[route]]\npath = \"/a\"\nupstream = \"app\"\n",
            "gate.toml:",
            "/a",
        ),
        (
            "[upstream.bad]\nservers = [\"htp://127.0.0.1:1\"]\n[[route]]\nupstream = \"bad\"\n",
            "gate.toml:10:12: error:",
            "htp",
        ),
        (
            "[[tls.certificate]]\ncert = \"none.pem\"\nkey = \"gate.key\"\n",
            "gate.toml:10:8: error:",
            "none.pem",
        ),
        (
            "[[tls.certificate]]\ncert = \"gate.pem\"\nkey = \"other.key\"\n",
            "gate.toml:11:7: error:",
            "other.key",
        ),
        (
            "[limits]\nheader_timeout = 10\n",
            "gate.toml:10:18: error:",
            "10s",
        ),
        ("[[route]\n", "gate.toml:9:", "error:"),
    ];
    for (text, place, names) in cases {
        let directory = directory(&format!("{HEAD}{text}"));
        directory.write("other.key", leaf(&["localhost"]).key);
        for arguments in [
            &["check", "gate.toml"][..],
            &["run", "--config", "gate.toml"][..],
        ] {
            let outcome = run_program(directory.path(), arguments).await;
            assert_eq!(outcome.code, 78, "{text}\n{}", outcome.said);
            assert!(
                outcome.said.contains(place),
                "{text}\nat {place}:\n{}",
                outcome.said
            );
            assert!(
                outcome.said.contains(names),
                "{text}\nnames {names}:\n{}",
                outcome.said
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_shows_every_mistake() {
    let text =
        "[[route]]\npath = \"/a\"\nupstreem = \"app\"\n[[route]]\npath = \"/b\"\nbrige = \"x\"\n";
    let outcome = check(&format!("{HEAD}{text}")).await;
    assert!(
        outcome.said.contains("gate.toml:11:1: error:"),
        "{}",
        outcome.said
    );
    assert!(
        outcome.said.contains("gate.toml:14:1: error:"),
        "{}",
        outcome.said
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_shown() {
    let text = "[bridge.x]\nsource = \"ws://127.0.0.1:9/\"\nconnect = { headers = { \"bad name\" = \"hunter2\" } }\n";
    let outcome = check(&format!("{HEAD}{text}")).await;
    assert_eq!(outcome.code, 78, "{}", outcome.said);
    let complaint = outcome.said.lines().find(|line| line.contains("error:"));
    assert!(
        complaint.is_some_and(|line| !line.contains("hunter2")),
        "{}",
        outcome.said
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_a_configuration_error() {
    let directory = Directory::new();
    let outcome = run_program(directory.path(), &["run", "--config", "none.toml"]).await;
    assert_eq!(outcome.code, 78, "{}", outcome.said);
    assert!(outcome.said.contains("none.toml"), "{}", outcome.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_fails_the_start_before_anything_is_served() {
    let backend = Backend::that(echo_http).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"{address}\"\n{}",
        backend.for_everything()
    );
    let directory = directory(&text);
    let outcome = run_program(directory.path(), &["run", "--config", "gate.toml"]).await;
    assert_eq!(outcome.code, 1, "{}", outcome.said);
    assert!(
        outcome.said.contains(&address.to_string()),
        "{}",
        outcome.said
    );
    assert!(!outcome.said.contains("\"ready\""), "{}", outcome.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_with_64() {
    let directory = Directory::new();
    for arguments in [
        &["--no-such-flag"][..],
        &["no-such-command"],
        &["check"],
        &["run", "--config"],
    ] {
        let outcome = run_program(directory.path(), arguments).await;
        assert_eq!(outcome.code, 64, "{arguments:?}: {}", outcome.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_version_are_no_mistakes() {
    let directory = Directory::new();
    for (arguments, says) in [
        (["--help"], "run"),
        (["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let outcome = run_program(directory.path(), &arguments).await;
        assert_eq!(outcome.code, 0, "{}", outcome.said);
        assert!(outcome.said.contains(says), "{}", outcome.said);
    }
}
