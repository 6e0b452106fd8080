//! The documentation holds: its links lead somewhere, and its configurations are configurations.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::harness::{Directory, leaf, within};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page that somebody is sent to.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for page in [
        "README.md",
        "CONTRIBUTING.md",
        "systemd/README.md",
        "certs/README.md",
    ] {
        pages.push(root().join(page));
    }
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// The lines of a page that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence && !line.starts_with("    ")
    })
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let title = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(slug.clone()).or_default();
        anchors.insert(match *count {
            0 => slug,
            count => format!("{slug}-{count}"),
        });
        *count += 1;
    }
    anchors
}

/// The targets of a line's links, `[…](…)` and `![…](…)`, but for those within code.
fn links(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, _) in line.match_indices("](") {
        let is_code = line[..at].matches('`').count() % 2 == 1;
        let target = line[at + 2..].split(')').next().unwrap_or_default();
        if !is_code {
            found.push(target.split(' ').next().unwrap_or_default());
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    let mut dead = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in prose(&text).flat_map(links) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let leads = target.exists()
                && (anchor.is_empty()
                    || std::fs::read_to_string(&target)
                        .is_ok_and(|text| anchors(&text).contains(anchor)));
            if !leads {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(followed > 30, "only {followed} links were found");
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_index_names_every_page() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in std::fs::read_dir(root().join("docs")).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && name != "README.md" {
            assert!(
                index.contains(&format!("]({name}")),
                "docs/README.md lacks {name}"
            );
        }
    }
}

/// The blocks of TOML in a page, those in lists too.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        match &mut open {
            Some(_) if trimmed.starts_with("```") => {
                let (_, lines) = open.take().unwrap();
                blocks.push(lines.join("\n"));
            }
            Some((indent, lines)) => lines.push(line.get(*indent..).unwrap_or_default()),
            None if trimmed == "```toml" => open = Some((line.len() - trimmed.len(), Vec::new())),
            None => {}
        }
    }
    blocks
}

/// The names that a fragment uses by this key, as in `upstream = "app"`.
fn used<'b>(block: &'b str, key: &str) -> BTreeSet<&'b str> {
    let lines = block.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix(key)?.trim_start();
        let value = rest.strip_prefix('=')?.trim_start().strip_prefix('"')?;
        value.split('"').next()
    });
    lines.collect()
}

/// A block with what it leaves out, so that it is a whole configuration.
fn completed(block: &str) -> String {
    let mut text = format!("{block}\n");
    if !block.contains("[[listen]]") {
        text.push_str("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = true\n");
    }
    if !block.contains("[[tls.certificate]]") {
        text.push_str(
            "[[tls.certificate]]\ncert = \"certs/localhost.pem\"\nkey = \"certs/localhost.key\"\n",
        );
    }
    for (key, table, lines) in [
        ("upstream", "upstream", "servers = [\"http://127.0.0.1:9\"]"),
        ("bridge", "bridge", "source = \"ws://127.0.0.1:9/\""),
        ("auth", "auth", "forward.url = \"http://127.0.0.1:9/\""),
    ] {
        for name in used(block, key) {
            if !block.contains(&format!("[{table}.{name}")) {
                text.push_str(&format!("[{table}.{name}]\n{lines}\n"));
            }
        }
    }
    text
}

/// The variables that a block takes from the environment.
fn variables(block: &str) -> Vec<(&str, &str)> {
    let parts = block.split("${").skip(1);
    let names = parts.filter_map(|rest| rest.split(['}', ':']).next());
    names
        .map(|name| (name, "0123456789abcdef0123456789abcdef"))
        .collect()
}

/// The files beside the configuration that a block names, with something that they may hold.
fn files(block: &str) -> Vec<(&str, Vec<u8>)> {
    let quoted = block.split('"').skip(1).step_by(2);
    let file_keys = block.split("file = \"").skip(1);
    let named: Vec<&str> = file_keys
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let files = quoted
        .filter(|name| !name.starts_with('/'))
        .filter_map(|name| {
            let contents = match name {
                "jwks.json" => std::fs::read(root().join("conf/auth/jwks.json")).unwrap(),
                _ if name.ends_with(".htpasswd") => {
                    b"ann:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n".to_vec()
                }
                _ if named.contains(&name) => b"0123456789abcdef0123456789abcdef".to_vec(),
                _ => return None,
            };
            Some((name, contents))
        });
    files.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_in_the_documentation_pass_check() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text) {
            let directory = Directory::new();
            let certs = directory.path().join("certs");
            std::fs::create_dir(&certs).unwrap();
            leaf(&["localhost"]).write(&certs, "localhost");
            for (name, contents) in files(&block) {
                directory.write(name, contents);
            }
            directory.write("gate.toml", completed(&block));
            let check = Command::new(env!("CARGO_BIN_EXE_streamgate"))
                .args(["check", "gate.toml"])
                .envs(variables(&block))
                .current_dir(directory.path())
                .kill_on_drop(true)
                .output();
            let outcome = within("the check", check).await.unwrap();
            checked += 1;
            if !outcome.status.success() {
                let said = String::from_utf8_lossy(&outcome.stdout);
                wrong.push(format!("{}:\n{block}\n{said}", page.display()));
            }
        }
    }
    assert!(checked >= 10, "only {checked} were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
