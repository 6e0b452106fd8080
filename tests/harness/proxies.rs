//! Other people's proxies, each as one process in the foreground, with a configuration of the test's.

use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Child;

use super::{Directory, tool, within};

/// How often it is looked whether a proxy listens already.
const LOOK: Duration = Duration::from_millis(20);

/// A running proxy, ended when dropped.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    _child: Child,
    _directory: Directory,
}

/// A port on loopback that was free a moment ago: these programs choose none themselves.
fn free() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

impl Proxy {
    /// nginx with this `server` block, in which `@LISTEN@` is where it listens.
    pub async fn nginx(directory: Directory, server: &str) -> Self {
        let address = free();
        let server = server.replace("@LISTEN@", &address.to_string());
        let here = directory.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {here}/{kind};\n"))
            .collect();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {here}/nginx.pid;\nevents {{}}\nhttp {{\n\
             access_log off;\n{temporary}{server}\n}}\n"
        );
        let file = directory.write("nginx.conf", text);
        let mut command = tool("nginx");
        command.arg("-p").arg(directory.path()).arg("-c").arg(file);
        command.arg("-e").arg(directory.path().join("error.log"));
        Self::start(command, address, directory).await
    }

    /// HAProxy with these sections, in which `@LISTEN@` is where it listens.
    pub async fn haproxy(sections: &str) -> Self {
        let directory = Directory::new();
        let address = free();
        let text = sections.replace("@LISTEN@", &address.to_string());
        let file = directory.write("haproxy.cfg", text);
        let mut command = tool("haproxy");
        command.arg("-db").arg("-f").arg(file);
        Self::start(command, address, directory).await
    }

    /// Caddy with these lines for its one site.
    pub async fn caddy(site: &str) -> Self {
        let directory = Directory::new();
        let address = free();
        let text =
            format!("{{\n\tadmin off\n\tauto_https off\n}}\nhttp://{address} {{\n{site}\n}}\n");
        let file = directory.write("Caddyfile", text);
        let mut command = tool("caddy");
        command.args(["run", "--adapter", "caddyfile", "--config"]);
        command.arg(file).env("HOME", directory.path());
        Self::start(command, address, directory).await
    }

    async fn start(
        mut command: tokio::process::Command,
        address: SocketAddr,
        directory: Directory,
    ) -> Self {
        let log = std::fs::File::create(directory.path().join("said.log")).unwrap();
        command
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log));
        let mut child = command.spawn().unwrap();
        within("a proxy that listens", async {
            while TcpStream::connect(address).await.is_err() {
                if let Some(status) = child.try_wait().unwrap() {
                    let said = std::fs::read_to_string(directory.path().join("said.log"));
                    panic!("{command:?} ended with {status}: {said:?}");
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        Self {
            address,
            _child: child,
            _directory: directory,
        }
    }
}
