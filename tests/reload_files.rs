//! Reloads that nobody asks for: files of the configuration change.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use crate::harness::{Backend, Directory, Gate, Line, client_config, echo_http, leaf};

const WATCHED: &str = "[server]\ndrain_timeout = \"5s\"\n";
const LISTEN: &str = "[[listen]]\naddress = \"systemd:https\"\ntls = true\n\
    [[listen]]\naddress = \"systemd:http\"\n\
    [[tls.certificate]]\ncert = \"gate.pem\"\nkey = \"gate.key\"\n";

/// A route that answers with its own path.
fn route(path: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nrespond = {{ status = 200, body = \"{path}\" }}\n")
}

async fn logged(gate: &Gate, mark: usize, message: &str) -> Line {
    gate.log
        .wait(mark, message, |line| line.message() == message)
        .await
}

/// Puts a file in another's place, as editors do.
fn put(directory: &Path, name: &str, text: &str) {
    let beside = directory.join(format!(".{name}.new"));
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, directory.join(name)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_editor_saves_is_in_force_and_a_mistake_is_told_once() {
    let start = format!("{WATCHED}{LISTEN}{}", route("/one"));
    let gate = Gate::start(&start).await;
    let directory = gate.directory().path();
    let mark = gate.log.mark();
    put(
        directory,
        "streamgate.toml",
        &(start.clone() + &route("/two")),
    );
    let told = logged(&gate, mark, "reloaded").await;
    assert_eq!(told.text("changes").unwrap(), "route `/two`: added");
    assert_eq!(gate.get("/two").await.1, "/two");
    let mark = gate.log.mark();
    put(directory, "streamgate.toml", "this is not TOML");
    logged(&gate, mark, "reload refused").await;
    assert_eq!(gate.get("/two").await.1, "/two");
    // Written in place, and right again.
    let mark = gate.log.mark();
    gate.directory().write("streamgate.toml", &start);
    logged(&gate, mark, "reloaded").await;
    assert_eq!(gate.get("/two").await.0.status(), 404);
    let refused = gate.log.since(0);
    let refused = refused
        .iter()
        .filter(|line| line.message() == "reload refused");
    assert_eq!(refused.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn included_files_come_and_go_even_with_their_directory() {
    let start = format!("include = [\"routes.d/*.toml\"]\n{WATCHED}{LISTEN}");
    let gate = Gate::start(&start).await;
    let routes = gate.directory().path().join("routes.d");
    for _round in 0..2 {
        let mark = gate.log.mark();
        std::fs::create_dir(&routes).unwrap();
        std::fs::write(routes.join("a.toml"), route("/a")).unwrap();
        logged(&gate, mark, "reloaded").await;
        assert_eq!(gate.get("/a").await.1, "/a");
        let mark = gate.log.mark();
        std::fs::write(routes.join("b.toml"), route("/b")).unwrap();
        logged(&gate, mark, "reloaded").await;
        assert_eq!(gate.get("/b").await.1, "/b");
        let mark = gate.log.mark();
        std::fs::remove_dir_all(&routes).unwrap();
        gate.log
            .wait(mark, "both routes gone", |line| {
                line.text("changes")
                    .is_some_and(|told| told.contains("`/a`: removed"))
            })
            .await;
    }
}

/// What Kubernetes mounts: files are links into a directory, which is a link that is swapped.
#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_symlink_behind_the_file_is_seen() {
    let directory = Directory::new();
    leaf(&["localhost"]).write(directory.path(), "gate");
    let version = |name: &str, path: &str| {
        let version = directory.path().join(name);
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("routes.toml"), route(path)).unwrap();
    };
    version("..1", "/one");
    symlink("..1", directory.path().join("..data")).unwrap();
    symlink("..data/routes.toml", directory.path().join("routes.toml")).unwrap();
    let start = format!("include = [\"routes.toml\"]\n{WATCHED}{LISTEN}");
    let gate = Gate::start_in(directory, &start).await;
    assert_eq!(gate.get("/one").await.1, "/one");
    let path = gate.directory().path();
    for (name, served) in [("..2", "/two"), ("..3", "/three")] {
        let next = path.join(name);
        std::fs::create_dir(&next).unwrap();
        std::fs::write(next.join("routes.toml"), route(served)).unwrap();
        let mark = gate.log.mark();
        symlink(name, path.join("..data_tmp")).unwrap();
        std::fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
        logged(&gate, mark, "reloaded").await;
        assert_eq!(gate.get(served).await.1, served);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_taken_once_its_key_is_there() {
    let start = format!("{WATCHED}{LISTEN}{}", route("/one"));
    for names in [["gate.pem", "gate.key"], ["gate.key", "gate.pem"]] {
        let gate = Gate::start(&start).await;
        let fresh = leaf(&["localhost"]);
        let content = |name: &str| match name {
            "gate.pem" => fresh.certificate.clone(),
            _ => fresh.key.clone(),
        };
        let shown = async || {
            let config = client_config(&["http/1.1"], rustls::ALL_VERSIONS);
            let stream = gate.handshake(Arc::new(config), "localhost").await.unwrap();
            stream.get_ref().1.peer_certificates().unwrap()[0].clone()
        };
        let before = shown().await;
        let mark = gate.log.mark();
        gate.directory().write(names[0], content(names[0]));
        logged(
            &gate,
            mark,
            "reload waits for a certificate and a key that fit",
        )
        .await;
        assert_eq!(shown().await, before);
        gate.directory().write(names[1], content(names[1]));
        let told = logged(&gate, mark, "reloaded").await;
        assert!(told.text("changes").unwrap().starts_with("certificate `"));
        assert_eq!(shown().await, fresh.der);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_means_the_same_changes_nothing_and_watching_can_end() {
    let backend = Backend::that(echo_http).await;
    let routes = backend.for_everything();
    let start = format!("{WATCHED}{LISTEN}{routes}");
    let gate = Gate::start(&start).await;
    // The watcher sees both; only the second says another thing.
    gate.directory()
        .write("streamgate.toml", format!("# a word\n{start}"));
    let mark = gate.log.mark();
    let quiet = start.replace("[server]\n", "[server]\nwatch = false\n");
    put(gate.directory().path(), "streamgate.toml", &quiet);
    let told = logged(&gate, mark, "reloaded").await;
    assert_eq!(told.text("changes").unwrap(), "server: changed");
    // From here on only who asks is heard, and hears of both changes at once.
    put(
        gate.directory().path(),
        "streamgate.toml",
        &(quiet.clone() + &route("/a")),
    );
    let mark = gate.log.mark();
    gate.reload_well(&(quiet + &route("/b"))).await;
    let told = logged(&gate, mark, "reloaded").await;
    assert_eq!(told.text("changes").unwrap(), "route `/b`: added");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_a_file_that_is_gone_refuses_the_reload() {
    let start = format!("include = [\"routes.d/*.toml\"]\n{WATCHED}{LISTEN}");
    let directory = Directory::new();
    leaf(&["localhost"]).write(directory.path(), "gate");
    let at = |name: &str| directory.path().join(name);
    std::fs::create_dir(at("routes.d")).unwrap();
    std::fs::write(at("a.toml"), route("/a")).unwrap();
    symlink("../a.toml", at("routes.d/a.toml")).unwrap();
    let gate = Gate::start_in(directory, &start).await;
    let mark = gate.log.mark();
    std::fs::remove_file(gate.directory().path().join("a.toml")).unwrap();
    let refused = logged(&gate, mark, "reload refused").await;
    assert!(refused.text("cause").unwrap().contains("routes.d/a.toml"));
    assert_eq!(gate.get("/a").await.1, "/a");
    put(gate.directory().path(), "a.toml", &route("/b"));
    logged(&gate, mark, "reloaded").await;
    assert_eq!(gate.get("/b").await.1, "/b");
}
