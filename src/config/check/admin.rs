//! `[admin]`: an address and a socket of its own.

use std::path::{Path, PathBuf};

use crate::config::check::{Context, listen};
use crate::config::model::Admin;
use crate::config::schema::Root;
use crate::net::ListenAddr;

pub(crate) fn check(root: &Root, context: &mut Context<'_>) -> Admin {
    let table = root.admin.value();
    let socket = socket(root, context);
    let Some(address) = table.and_then(|admin| admin.address.located()) else {
        return Admin {
            address: None,
            socket,
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
    }
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
