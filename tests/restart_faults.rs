//! Restarts that go wrong, or meet something else: programs that are replaced, hang or are none, configurations that fail late, signals
//! at the wrong time. The process that runs goes on, or ends as it was told.

use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpStream;
use tungstenite::Message;

use crate::harness::{
    Backend, Directory, Gate, Line, WebSocketClient, echo_http, echo_websocket, leaf, run_program,
    within, within_time,
};

const LONG_DRAIN: &str = "[server]\nwatch = false\ndrain_timeout = \"1h\"\n";

const FAILED: &str = "restart failed, serving as before";

fn says(line: &Line, message: &str) -> bool {
    line.message() == message
}

/// A gate whose program is at a path of its own, where another one may be put.
struct Installed {
    gate: Gate,
    program: PathBuf,
}

impl Installed {
    async fn start(config: &str) -> Self {
        let directory = Directory::new();
        leaf(&["localhost"]).write(directory.path(), "gate");
        let program = directory.path().join("streamgate");
        symlink(env!("CARGO_BIN_EXE_streamgate"), &program).unwrap();
        let gate = Gate::start_program(&program, directory, config, &[]).await;
        Self { gate, program }
    }

    /// Puts a file in the program's place, as a package does: by renaming it over the old one.
    fn replace(&self, text: &str, mode: u32) {
        let beside = self.program.with_extension("new");
        std::fs::write(&beside, text).unwrap();
        std::fs::set_permissions(&beside, PermissionsExt::from_mode(mode)).unwrap();
        std::fs::rename(&beside, &self.program).unwrap();
    }

    /// A program that does something before it becomes the real one.
    fn replace_by_script(&self, before: &str) {
        let real = env!("CARGO_BIN_EXE_streamgate");
        self.replace(&format!("#!/bin/sh\n{before}\nexec {real} \"$@\"\n"), 0o755);
    }

    async fn fails(&self) -> String {
        let mark = self.gate.log.mark();
        self.gate.signal("USR2");
        let failure = self.gate.log.wait(mark, "the failure", |line| {
            says(line, FAILED) || says(line, "restart refused")
        });
        failure.await.text("cause").unwrap()
    }

    /// A program that waits until the file of this name is gone.
    fn replace_by_one_that_waits(&self) -> PathBuf {
        let gate = self.gate.directory().path().join("wait");
        std::fs::write(&gate, "").unwrap();
        let wait = format!("while [ -e {} ]; do sleep 0.02; done", gate.display());
        self.replace_by_script(&wait);
        gate
    }
}

async fn answers(gate: &Gate) {
    assert_eq!(gate.get("/x").await.0.status(), 200);
}

/// Waits until nobody listens: what the new process has started may take a moment longer to end than itself.
async fn nobody_listens(address: SocketAddr) {
    within("nobody", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn lives(process: u64) -> bool {
    std::path::Path::new(&format!("/proc/{process}/exe")).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_starts_the_file_that_lies_there_now() {
    let backend = Backend::that(echo_http).await;
    let mut installed = Installed::start(&backend.for_everything()).await;
    installed.replace_by_script("touch \"${0%/*}/is-the-new-one\"");
    installed.gate.restart().await;
    let trace = installed.program.with_file_name("is-the-new-one");
    assert!(trace.exists());
    answers(&installed.gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_program_or_another_one_is_told_and_the_old_one_serves() {
    let backend = Backend::that(echo_http).await;
    let mut installed = Installed::start(&backend.for_everything()).await;
    for (text, mode, expected) in [
        ("no program", 0o755, "Exec format error"),
        ("no program", 0o644, "Permission denied"),
        ("#!/nonexistent/interpreter\n", 0o755, "No such file"),
        ("#!/bin/sh\nexit 3\n", 0o755, "exit status: 3"),
        ("#!/bin/sh\nkill -9 $$\n", 0o755, "signal: 9"),
    ] {
        installed.replace(text, mode);
        let cause = installed.fails().await;
        assert!(cause.contains(expected), "{text:?}: {cause}");
        answers(&installed.gate).await;
    }
    std::fs::remove_file(&installed.program).unwrap();
    let cause = installed.fails().await;
    assert!(cause.contains("No such file"), "{cause}");
    installed.replace_by_script("");
    installed.gate.restart().await;
    answers(&installed.gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_fails_late_leaves_the_admin_socket_to_the_old_process() {
    let backend = Backend::that(echo_http).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("address = \"{}\"\n", taken.local_addr().unwrap());
    let admin = "[admin]\nsocket = \"admin.sock\"\n";
    let text = format!("{}{admin}", backend.for_everything());
    let mut installed = Installed::start(&text).await;
    let file = installed.program.with_file_name("streamgate.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    let bad_admin = good.replace(admin, &format!("{admin}{taken}"));
    for bad in [bad_admin, format!("{good}[[listen]]\n{taken}")] {
        std::fs::write(&file, bad).unwrap();
        let cause = installed.fails().await;
        assert!(cause.contains("exit status: 1"), "{cause}");
        std::fs::write(&file, &good).unwrap();
        let directory = installed.gate.directory().path();
        let reload = run_program(directory, &["reload", "--config", "streamgate.toml"]).await;
        assert_eq!(reload.said, "nothing has changed\n");
        answers(&installed.gate).await;
    }
    // One that takes over takes the socket too, and nothing else of it is left.
    installed.gate.restart().await;
    let process = installed.gate.process();
    let begun = installed.gate.log.wait(0, "the socket's change", |line| {
        says(line, "admin socket")
            && line.has("path", file.with_file_name("admin.sock").to_str().unwrap())
    });
    begun.await;
    let directory = installed.gate.directory().path();
    let reload = async {
        // The old process may answer until the new one has taken the name.
        run_program(directory, &["reload", "--config", "streamgate.toml"]).await
    };
    assert_eq!(reload.await.said, "nothing has changed\n");
    let left = std::fs::read_dir(directory).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let beside: Vec<_> = left
        .filter(|name| name.starts_with("admin.sock."))
        .collect();
    assert!(beside.is_empty(), "{beside:?} of {process}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_new_process_hangs_reloads_and_restarts_are_refused_and_clients_served() {
    let backend = Backend::that(echo_http).await;
    let mut installed = Installed::start(&backend.for_everything()).await;
    let wait = installed.replace_by_one_that_waits();
    let mark = installed.gate.log.mark();
    installed.gate.signal("USR2");
    let log = &installed.gate.log;
    log.wait(mark, "the restart", |line| says(line, "restarting"))
        .await;
    installed.gate.signal("HUP");
    let refused = log.wait(mark, "no reload", |line| says(line, "reload refused"));
    assert!(refused.await.has("cause", "a restart is under way"));
    installed.gate.signal("USR2");
    let refused = log.wait(mark, "no restart", |line| says(line, "restart refused"));
    assert!(refused.await.has("cause", "one is under way"));
    answers(&installed.gate).await;
    std::fs::remove_file(wait).unwrap();
    installed.gate.adopt_successor(mark).await;
    answers(&installed.gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_new_process_hangs_ends_both() {
    let backend = Backend::that(echo_http).await;
    let mut installed = Installed::start(&backend.for_everything()).await;
    let _wait = installed.replace_by_one_that_waits();
    let mark = installed.gate.log.mark();
    installed.gate.signal("USR2");
    let log = &installed.gate.log;
    let line = log
        .wait(mark, "the restart", |line| says(line, "restarting"))
        .await;
    installed.gate.signal("TERM");
    installed.gate.ended().await;
    let successor = line.number("process").unwrap();
    assert!(!lives(successor));
    nobody_listens(installed.gate.https).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_process_is_no_child_of_the_old_one() {
    let echo = Backend::that(echo_websocket).await;
    let mut gate = Gate::start(&format!("{}{LONG_DRAIN}", echo.for_everything())).await;
    let old = gate.process();
    // With this the old one lives on.
    let mut socket = held(&gate).await;
    gate.restart().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.process())).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    assert_ne!(parent.unwrap().trim(), old.to_string());
    let children = std::fs::read_to_string(format!("/proc/{old}/task/{old}/children"));
    assert_eq!(children.unwrap_or_default(), "", "the step is gone too");
    socket.echoes(Message::text("still open")).await;
}

/// A socket that its process holds for as long as its drain may take.
async fn held(gate: &Gate) -> WebSocketClient {
    let mut socket = WebSocketClient::open(gate, "/ws", &[]).await;
    socket.echoes(Message::text("open")).await;
    socket
}

async fn is_closed_within_seconds(socket: &mut WebSocketClient) {
    use futures_util::StreamExt;
    within_time(Duration::from_secs(10), "the socket's end", async {
        while let Some(Ok(_)) = socket.socket.next().await {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_restarts_while_all_still_drain_and_a_stop_to_all_of_them() {
    let echo = Backend::that(echo_websocket).await;
    let mut gate = Gate::start(&format!("{}{LONG_DRAIN}", echo.for_everything())).await;
    let (mut sockets, mut processes) = (Vec::new(), Vec::new());
    for _process in 0..3 {
        sockets.push(held(&gate).await);
        processes.push(gate.process());
        gate.restart().await;
    }
    // A process that drains is asked in vain: it ignores what is not a stop.
    let mark = gate.log.mark();
    signal("USR2", processes[0]);
    gate.log
        .wait(mark, "no restart", |line| {
            says(line, "ignored: this process drains")
        })
        .await;
    for socket in &mut sockets {
        socket.echoes(Message::text("still open")).await;
    }
    let mut last = held(&gate).await;
    // As systemd tells all processes of a service. For those that drain already it is the first word of it.
    let mark = gate.log.mark();
    gate.signal("TERM");
    processes
        .iter()
        .for_each(|process| signal("TERM", *process));
    gate.log
        .wait(mark, "the last one's drain", |line| says(line, "draining"))
        .await;
    // They are told once more, as systemd does when the main process has ended: that is nobody's impatience either.
    for word in 1..=2 {
        within("the word to those that drained before", async {
            let told = |line: &&Line| says(line, "told to stop: the drain goes on");
            // The second socket may have gone to the first process, just before its drain: then the second one has ended already.
            let living = || {
                processes
                    .iter()
                    .filter(|process| lives(u64::from(**process)))
            };
            while gate.log.since(mark).iter().filter(told).count() < word * living().count() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        for socket in sockets.iter_mut().chain([&mut last]) {
            socket.echoes(Message::text("not cut")).await;
        }
        if word == 1 {
            processes
                .iter()
                .for_each(|process| signal("TERM", *process));
        }
    }
    // One more word cuts.
    gate.signal("TERM");
    processes
        .iter()
        .for_each(|process| signal("TERM", *process));
    for socket in sockets.iter_mut().chain([&mut last]) {
        is_closed_within_seconds(socket).await;
    }
    gate.cut().await;
}

fn signal(name: &str, process: u32) {
    let kill = format!("kill -s {name} {process} 2>/dev/null");
    let status = std::process::Command::new("sh")
        .args(["-c", &kill])
        .status();
    assert!(status.unwrap().success(), "{kill}");
}
