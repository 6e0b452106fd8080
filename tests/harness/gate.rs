//! The program under test, in the foreground, on sockets that the test bound.
//!
//! Invariant: a gate that is dropped has been stopped by SIGTERM and has said at its end that no connection and no task was
//! left. Locals are dropped last first, so a test that declares its backend, then its gate, then its clients has closed the clients
//! when this is asked.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use command_fds::{CommandFdExt, FdMapping};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::{client_config, default_leaf};
use super::log::{Line, Log};
use super::{Directory, Head, PATIENCE, TlsWire, Wire, within};

/// How a reload ended.
#[derive(Debug)]
pub enum Reloaded {
    /// The new configuration is in force.
    Done,
    /// The old one still is.
    Refused(Line),
}

/// A running program.
pub struct Gate {
    /// Where it speaks TLS.
    pub https: SocketAddr,
    /// Where it speaks clear text.
    pub http: SocketAddr,
    /// What it logs.
    pub log: Log,
    directory: Directory,
    process: u32,
    stopped: bool,
}

impl Gate {
    /// Starts the program with a configuration and waits until it is ready.
    ///
    /// What the text does not say is filled in: a TLS listener and a clear one (`systemd:https`, `systemd:http`), the
    /// default certificate (`gate.pem`, `gate.key`) and a short drain.
    pub async fn start(config: &str) -> Self {
        let directory = Directory::new();
        default_leaf().write(directory.path(), "gate");
        Self::start_in(directory, config).await
    }

    /// The same in a directory that already holds what the configuration names.
    pub async fn start_in(directory: Directory, config: &str) -> Self {
        Self::start_with(directory, config, &[]).await
    }

    /// The same with variables in the program's environment.
    pub async fn start_with(directory: Directory, config: &str, env: &[(&str, &str)]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_streamgate"));
        Self::start_program(program, directory, config, env).await
    }

    /// The same where the program lies at a path of the test's own.
    pub async fn start_program(
        program: &Path,
        directory: Directory,
        config: &str,
        env: &[(&str, &str)],
    ) -> Self {
        let gate = Self::spawn(program, directory, config, env);
        gate.log
            .wait(0, "`ready`", |line| line.message() == "ready")
            .await;
        gate
    }

    fn spawn(program: &Path, directory: Directory, config: &str, env: &[(&str, &str)]) -> Self {
        let file = directory.write("streamgate.toml", filled_in(config));
        let (https, https_socket) = listen();
        let (http, http_socket) = listen();
        // Only the process itself can say its own number, and the exec keeps it.
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"LISTEN_PID=$$ exec "$0" "$@""#])
            .arg(program)
            .args([Path::new("run"), Path::new("--config"), &file])
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", "https:http")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let sockets = [(https_socket, 3), (http_socket, 4)];
        let sockets = sockets.map(|(socket, child_fd)| FdMapping {
            parent_fd: socket.into(),
            child_fd,
        });
        command.fd_mappings(sockets.into()).unwrap();
        let child = command.spawn().expect("the program starts");
        Self {
            https,
            http,
            process: child.id(),
            log: Log::follow(child),
            directory,
            stopped: false,
        }
    }

    /// Where the configuration lies, with the certificates.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// How many bytes of memory the program uses (`VmRSS`).
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process));
        let status = status.expect("the program runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
        kilobytes.unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Replaces the configuration and waits for the program's answer.
    pub async fn reload(&self, config: &str) -> Reloaded {
        self.directory.write("streamgate.toml", filled_in(config));
        let mark = self.log.mark();
        self.signal("HUP");
        let answer = self.log.wait(mark, "a reload's end", |line| {
            matches!(
                line.message(),
                "reloaded" | "reload: unchanged" | "reload refused"
            )
        });
        let line = answer.await;
        if line.message() == "reload refused" {
            return Reloaded::Refused(line);
        }
        Reloaded::Done
    }

    /// The same where it has to succeed.
    pub async fn reload_well(&self, config: &str) {
        if let Reloaded::Refused(line) = self.reload(config).await {
            panic!("the reload was refused: {line:?}");
        }
    }

    /// Has the program replaced by a new process, and waits until that one serves. From then on signals go to it.
    pub async fn restart(&mut self) {
        let mark = self.log.mark();
        self.signal("USR2");
        self.adopt_successor(mark).await;
    }

    /// Waits until the new process serves that was started after the mark in the log.
    pub async fn adopt_successor(&mut self, mark: usize) {
        let handed = self.log.wait(mark, "a restart's end", |line| {
            matches!(
                line.message(),
                "handed over" | "restart failed, serving as before"
            )
        });
        let line = handed.await;
        assert_eq!(line.message(), "handed over", "{line:?}");
        let process = line.number("process").expect("the new process's number");
        self.process = u32::try_from(process).unwrap();
    }

    /// The number of the process that serves.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        assert!(self.log.status().is_none(), "the program has ended");
        send_signal(self.process, name);
    }

    /// Waits for a line of the log, from the start on.
    pub async fn logged(&self, what: &str, matches: impl Fn(&Line) -> bool) -> Line {
        self.log.wait(0, what, matches).await
    }

    /// Stops the program, and demands a clean end.
    pub async fn stop(mut self) {
        self.signal("TERM");
        self.ended().await;
    }

    /// Waits for the end of a program that has been told to stop, and demands that it be clean.
    pub async fn ended(&mut self) {
        within("the program's end", self.log.end()).await;
        self.stopped = true;
        self.assert_clean_end();
    }

    /// Ends the program as a crash would, with SIGKILL.
    pub async fn kill(mut self) {
        self.signal("KILL");
        self.cut().await;
    }

    /// Waits for the end of a program that was not given the time to end cleanly.
    pub async fn cut(&mut self) {
        within("the program's end", self.log.end()).await;
        self.stopped = true;
        let stderr = self.log.stderr();
        assert!(!stderr.contains("panicked at"), "a panic: {stderr}");
    }

    fn assert_clean_end(&self) {
        let stderr = self.log.stderr();
        assert!(!stderr.contains("panicked at"), "a panic: {stderr}");
        let status = self.log.status().expect("the program has ended");
        assert!(
            status.success(),
            "the program ended with {status}:\n{}",
            self.log
        );
        let lines = self.log.since(0);
        let last = lines.last().expect("a program that ran has logged");
        assert_eq!(last.message(), "stopped", "the last line: {last:?}");
        assert_eq!(
            last.number("connections"),
            Some(0),
            "connections left: {last:?}"
        );
        assert_eq!(last.number("tasks"), Some(0), "tasks left: {last:?}");
    }

    /// An HTTP/1.1 client over TLS.
    pub async fn tls(&self) -> TlsWire {
        Wire::new(self.tls_stream().await)
    }

    /// The same before any HTTP, for a library that speaks it.
    pub async fn tls_stream(&self) -> TlsStream<TcpStream> {
        let config = client_config(&["http/1.1"], rustls::ALL_VERSIONS);
        let handshake = self.handshake(Arc::new(config), "localhost").await;
        handshake.expect("a handshake succeeds")
    }

    /// A TLS handshake with a client of the test's own, naming this host.
    pub async fn handshake(
        &self,
        config: Arc<ClientConfig>,
        host: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = connect(self.https).await;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let handshake = TlsConnector::from(config).connect(name, tcp);
        within("a TLS handshake", handshake).await
    }

    /// An HTTP/1.1 client in clear text.
    pub async fn clear(&self) -> Wire<TcpStream> {
        Wire::new(connect(self.http).await)
    }

    /// One GET over TLS on a connection of its own: head and body.
    pub async fn get(&self, path: &str) -> (Head, String) {
        let mut client = self.tls().await;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        client.send(request).await;
        let head = client.head().await;
        (head, client.text().await)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        if self.log.status().is_none() {
            send_signal(self.process, "TERM");
        }
        let ended = self.log.end_blocking(PATIENCE);
        if !ended {
            send_signal(self.process, "KILL");
        }
        if std::thread::panicking() {
            eprintln!("the program's log:\n{}", self.log);
            return;
        }
        assert!(ended, "the program did not stop:\n{}", self.log);
        self.assert_clean_end();
    }
}

/// A TCP connection to loopback.
pub async fn connect(address: SocketAddr) -> TcpStream {
    let tcp = within("a TCP connection", TcpStream::connect(address)).await;
    let tcp = tcp.expect("the listening socket accepts");
    tcp.set_nodelay(true).unwrap();
    tcp
}

fn listen() -> (SocketAddr, TcpListener) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    (socket.local_addr().unwrap(), socket)
}

fn send_signal(process: u32, name: &str) {
    // The shell's own `kill` is there on every system.
    let status = Command::new("sh")
        .args(["-c", &format!("kill -s {name} {process}")])
        .status();
    assert!(status.expect("a shell").success(), "SIG{name} was not sent");
}

fn filled_in(config: &str) -> String {
    let mut text = format!("{config}\n");
    if !config.contains("[[listen]]") {
        text.push_str("[[listen]]\naddress = \"systemd:https\"\ntls = true\n");
        text.push_str("[[listen]]\naddress = \"systemd:http\"\n");
    }
    if !config.contains("[[tls.certificate]]") {
        text.push_str("[[tls.certificate]]\ncert = \"gate.pem\"\nkey = \"gate.key\"\n");
    }
    if !config.contains("[server]") {
        // Reloads are asked for: what a file's change does is for the tests of that.
        text.push_str("[server]\ndrain_timeout = \"5s\"\nwatch = false\n");
    }
    text
}
