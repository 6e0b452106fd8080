//! Modules use only what lies below them, or to their left on their own line.
//!
//! The lines are the map in `src/lib.rs`. A path counts wherever it stands (`use crate::x` or `crate::x::y` in an expression);
//! tests inside a module may look up, and comments may name anything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// From the ground up; on each line from left to right.
const LAYERS: &[&[&str]] = &[
    &[
        "net",
        "http",
        "json",
        "sse",
        "websocket",
        "route",
        "credentials",
    ],
    &["tls", "config", "observe", "limits", "lifecycle"],
    &["upstream", "stream"],
    &["respond", "guard", "forward", "bridge"],
    &["snapshot"],
    &["service"],
    &["listen", "admin"],
    &["server", "cli", "demo", "doctor", "packaging", "main"],
];

fn place(module: &str) -> Option<(usize, usize)> {
    LAYERS.iter().enumerate().find_map(|(layer, modules)| {
        let column = modules.iter().position(|name| *name == module)?;
        Some((layer, column))
    })
}

fn points_up(from: &str, to: &str) -> bool {
    let (Some(user), Some(used)) = (place(from), place(to)) else {
        return true;
    };
    from != to && used >= user
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn module_of(file: &Path) -> String {
    let relative = file.strip_prefix(source()).unwrap();
    let first = relative.components().next().unwrap().as_os_str();
    first.to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// The modules that `text` names by a path from the crate's root, without its comments and its tests.
fn used(text: &str, root: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut found = BTreeSet::new();
    for line in lines {
        for (at, _) in line.match_indices(root) {
            let inside_a_word = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if inside_a_word {
                continue;
            }
            let rest = &line[at + root.len()..];
            let list = rest
                .strip_prefix('{')
                .and_then(|rest| rest.split('}').next());
            let names = list.map_or(vec![rest], |list| list.split(',').collect());
            for name in names {
                let end = name
                    .trim_start()
                    .find(|c: char| !(c.is_alphanumeric() || c == '_'));
                let name = name.trim_start();
                found.insert(name[..end.unwrap_or(name.len())].to_owned());
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn no_module_uses_what_lies_above_it() {
    let mut all = Vec::new();
    files(&source(), &mut all);
    assert!(all.len() > 10, "the sources are not where they were");
    let mut wrong = Vec::new();
    for file in all {
        let module = module_of(&file);
        let is_test = file.components().any(|part| part.as_os_str() == "tests")
            || file.ends_with("tests.rs")
            || file.ends_with("corpus.rs");
        if module == "lib" || is_test {
            continue;
        }
        let root = if module == "main" {
            "streamgate::"
        } else {
            "crate::"
        };
        let text = std::fs::read_to_string(&file).unwrap();
        for to in used(&text, root).iter().filter(|to| points_up(&module, to)) {
            wrong.push(format!("{}: `{module}` uses `{to}`", file.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that point up:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_check_itself_sees_arrows() {
    let text = "use crate::net::A;\nuse crate::{http, sse::B};\n// crate::server\nlet x = crate::tls::y();\n\
                #[cfg(test)]\nuse crate::server::Z;";
    let found: Vec<_> = used(text, "crate::").into_iter().collect();
    assert_eq!(found, ["http", "net", "sse", "tls"]);
    assert!(points_up("net", "server") && points_up("http", "websocket"));
    assert!(points_up("net", "a module that is on no layer"));
    assert!(!points_up("server", "net") && !points_up("bridge", "forward"));
}
