//! The keys that exist, with what each is: the schema's own doc comments, as they are.

use crate::config::schema::Root;
use crate::config::schema::decode::{Decode, Key};

/// One key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReference {
    /// Its path: `limits.header_size`. The names of upstreams, bridges and auths are left out: `upstream.servers`.
    pub path: String,
    /// What it is, with its default and bounds, in Markdown.
    pub docs: String,
}

/// Every key that exists; a table stands before its keys.
pub fn reference() -> Vec<KeyReference> {
    let mut keys = Vec::new();
    collect("", Root::KEYS, &mut keys);
    keys
}

fn collect(above: &str, level: &[Key], keys: &mut Vec<KeyReference>) {
    for key in level {
        let path = format!("{above}{}", key.name);
        let docs: Vec<&str> = key.docs.lines().map(str::trim).collect();
        keys.push(KeyReference {
            path: path.clone(),
            docs: docs.join("\n").trim().to_owned(),
        });
        collect(&format!("{path}."), key.keys, keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_explained() {
        let keys = reference();
        assert!(keys.iter().any(|key| key.path == "tls.certificate.cert"));
        assert!(keys.iter().any(|key| key.path == "bridge.connect.send"));
        for key in keys {
            assert!(key.docs.ends_with('.'), "`{}`: {:?}", key.path, key.docs);
        }
    }
}
