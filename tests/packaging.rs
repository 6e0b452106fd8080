//! What a package installs beside the program: examples, its first configuration, units. How they fare under a real systemd
//! is tried by `tests/service/run`.

use std::path::{Path, PathBuf};

use crate::harness::{Directory, Outcome, leaf, output, run_program, tool};

/// Where the examples look for what is theirs.
const INSTALLED: &str = "/etc/streamgate";

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

/// `check` on a file as if it were installed, with the certificate and the token that the examples speak of.
async fn checked(file: &Path) -> Outcome {
    let directory = Directory::new();
    let here = directory.path();
    std::fs::create_dir(here.join("certs")).unwrap();
    leaf(&["example.org", "*.example.org"]).write(&here.join("certs"), "example.org");
    directory.write("feed.token", "Bearer token\n");
    let text = std::fs::read_to_string(file).unwrap();
    directory.write("gate.toml", text.replace(INSTALLED, here.to_str().unwrap()));
    run_program(here, &["check", "gate.toml"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_passes_check() {
    let mut examples = files("conf/examples", "toml");
    assert!(examples.len() >= 11, "{examples:?}");
    examples.push("systemd/debian/streamgate.toml".into());
    for file in examples {
        let outcome = checked(&file).await;
        assert_eq!(outcome.code, 0, "{}: {}", file.display(), outcome.said);
        assert!(!outcome.said.contains("warning"), "{}", outcome.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suggestion_in_the_first_configuration_passes_check() {
    let first = std::fs::read_to_string("systemd/debian/streamgate.toml").unwrap();
    // What is switched off there are the lines whose `#` a key or a table follows at once.
    let suggested: Vec<&str> = first
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' '))
        .collect();
    let directory = Directory::new();
    directory.write("suggested.toml", suggested.join("\n"));
    let outcome = checked(&directory.path().join("suggested.toml")).await;
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert!(
        outcome.said.contains("2 listeners, 1 route"),
        "{}",
        outcome.said
    );
}

/// The units, with the program that the tests have built in the place of the one that would be installed.
fn units() -> (Directory, Vec<PathBuf>) {
    let directory = Directory::new();
    let mut units = files("systemd", "service");
    units.extend(files("systemd", "socket"));
    let copies = units.iter().map(|unit| {
        let name = unit.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(unit).unwrap();
        directory.write(
            name,
            text.replace("/usr/bin/streamgate", env!("CARGO_BIN_EXE_streamgate")),
        );
        directory.path().join(name)
    });
    let copies = copies.collect();
    (directory, copies)
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_finds_nothing_wrong_with_the_units() {
    let (_directory, units) = units();
    assert!(units.len() >= 3, "{units:?}");
    let mut verify = tool("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(&units);
    let said = verify.output().await.unwrap();
    let complaints = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_exposed_by_no_more_than_it_needs() {
    let mut security = tool("systemd-analyze");
    security.args(["security", "--offline=yes", "--threshold=15", "--no-pager"]);
    security.arg("systemd/streamgate.service");
    let said = output(security).await;
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn maintainer_scripts_are_shell() {
    for name in ["preinst", "postinst", "prerm", "postrm"] {
        let mut shell = tool("sh");
        shell.arg("-n").arg(Path::new("systemd/debian").join(name));
        output(shell).await;
    }
}
