//! Through which listener a request comes in, and with which certificate.

use std::sync::Arc;

use crate::cli::explain::asked::Asked;
use crate::config::Config;
use crate::config::model::{Listener, ListenerProtocol};
use crate::net::ListenAddr;
use crate::tls::certificates::Certificate;
use crate::tls::sni::ResolveBySni;

/// The listener that takes the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    /// Its number in the order of the files.
    pub(super) index: usize,
    pub(super) listener: &'a Listener,
    /// How sure that is.
    pub(super) fit: Fit,
}

/// How a listener's address fits the URL's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It has another one: something in front would have to lead there.
    Other,
    /// It is not known before the process runs.
    Unknown,
    /// It is the same.
    Same,
}

impl Fit {
    /// What is to be said of it.
    pub(super) fn note(self) -> Option<&'static str> {
        match self {
            Self::Same => None,
            Self::Unknown => Some("its port is not known from the configuration"),
            Self::Other => Some("its port is another one: something in front has to lead here"),
        }
    }
}

/// The listener for this URL; `None`: none speaks what its scheme says.
pub(super) fn find<'a>(config: &'a Config, asked: &Asked) -> Option<Entry<'a>> {
    let speaks = |listener: &Listener| match listener.protocol {
        ListenerProtocol::Tls => asked.url.is_tls,
        ListenerProtocol::Clear | ListenerProtocol::RedirectToHttps => !asked.url.is_tls,
    };
    let entries = config.listeners.iter().enumerate();
    let entries = entries.filter(|(_, listener)| speaks(listener));
    let mut best: Option<Entry<'a>> = None;
    for (index, listener) in entries {
        let fit = fit(&listener.address, asked.url.port());
        if best.is_none_or(|best| fit > best.fit) {
            best = Some(Entry {
                index,
                listener,
                fit,
            });
        }
    }
    best
}

fn fit(address: &ListenAddr, port: u16) -> Fit {
    match address {
        ListenAddr::Tcp(address) if address.port() == port => Fit::Same,
        ListenAddr::Tcp(address) if address.port() != 0 => Fit::Other,
        ListenAddr::Tcp(_) | ListenAddr::Systemd(_) => Fit::Unknown,
    }
}

/// The port to which a listener with `redirect_to_https` leads: 443 if there is TLS, else the lowest where there is.
pub(super) fn https_port(config: &Config) -> u16 {
    let ports = config.listeners.iter().filter_map(|listener| {
        match (&listener.address, listener.protocol) {
            (ListenAddr::Tcp(address), ListenerProtocol::Tls) => Some(address.port()),
            _ => None,
        }
    });
    ports
        .min_by_key(|port| (*port != 443, *port))
        .unwrap_or(443)
}

/// The certificate that a client is shown, and whether it is for the host.
pub(super) fn certificate<'a>(config: &'a Config, host: &str) -> Option<(&'a Certificate, bool)> {
    let certificates = &config.tls.certificates;
    let resolver = ResolveBySni::new(certificates);
    let shown = resolver.find(Some(host))?;
    let certificate = certificates
        .iter()
        .find(|certificate| Arc::ptr_eq(&certificate.key, shown))?;
    Some((certificate, resolver.named(host).is_some()))
}
