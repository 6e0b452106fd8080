//! `[admin]`: an address and a socket of its own.

use std::path::{Path, PathBuf};

use crate::config::check::{Context, listen, secret};
use crate::config::model::{Admin, Secret};
use crate::config::schema::decode::Located;
use crate::config::schema::{Root, feed};
use crate::net::ListenAddr;

/// Characters of a token at least.
const MIN_TOKEN: usize = 16;

pub(crate) fn check(root: &Root, context: &mut Context<'_>) -> Admin {
    let table = root.admin.value();
    let socket = socket(root, context);
    let token = table
        .and_then(|admin| admin.token.located())
        .and_then(|located| token(located, context));
    let Some(address) = table.and_then(|admin| admin.address.located()) else {
        return Admin {
            address: None,
            socket,
            token,
        };
    };
    let listeners = root.listen.value().map_or(&[][..], |tables| &tables.0);
    let mut taken = listeners
        .iter()
        .filter_map(|listener| listener.address.located());
    let first = taken.find(|listener| listen::collide(&listener.value, &address.value));
    if let Some(first) = first {
        listen::tell_collision(first.place, address.place, context);
    }
    if let ListenAddr::Tcp(tcp) = &address.value
        && !tcp.ip().to_canonical().is_loopback()
    {
        let message = "the admin listener can be reached from other machines";
        let hint = "whoever reaches it may read; \"127.0.0.1:9180\" is this machine alone";
        context
            .diagnostics
            .warning(address.place, message)
            .hint(hint);
    }
    Admin {
        address: Some(address.value.clone()),
        socket,
        token,
    }
}

fn token(located: &Located<feed::Secret>, context: &mut Context<'_>) -> Option<Secret> {
    let text = secret::resolve(located, context)?;
    let wrong = if text.len() < MIN_TOKEN {
        format!("the token is shorter than {MIN_TOKEN} characters")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "the token has a character that no `Authorization` field may have".to_owned()
    } else {
        return Some(Secret::new(&text));
    };
    let finding = context.diagnostics.error(located.place, wrong);
    finding.hint("`openssl rand -hex 32` makes one");
    None
}

/// The path of the Unix socket: as it is set, else in the directory that systemd gives the service.
pub(crate) fn socket(root: &Root, context: &Context<'_>) -> Option<PathBuf> {
    let set = root.admin.value().and_then(|admin| admin.socket.located());
    if let Some(text) = set {
        return Some(context.path(text));
    }
    let directories = context.env.var("RUNTIME_DIRECTORY")?;
    // systemd.exec(5): several directories are separated by colons.
    let first = directories.to_str()?.split(':').next()?.to_owned();
    (!first.is_empty()).then(|| Path::new(&first).join("admin.sock"))
}
