//! `streamgate schema`: what the program takes, a validator of other people takes too, and what is wrong by its name or its
//! type is wrong there as well.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::{Directory, output, python, run_program};

fn toml_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|it| it == "toml"))
        .collect();
    files.sort();
    files
}

/// What the validator says of each file: nothing, its mistakes, or that it is no TOML.
async fn validate(files: &[PathBuf]) -> Value {
    let directory = Directory::new();
    let schema = run_program(directory.path(), &["schema"]).await;
    assert_eq!(schema.code, 0, "{}", schema.said);
    let schema = directory.write("schema.json", schema.said);
    let mut command = python("schema_validate.py");
    command.arg(schema).args(files);
    serde_json::from_str(&output(command).await).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_valid() {
    let mut files = toml_files("conf");
    files.extend(toml_files("conf/examples"));
    files.extend(toml_files("systemd/debian"));
    assert!(files.len() >= 15, "{files:?}");
    let answers = validate(&files).await;
    for file in files {
        let answer = &answers[file.to_str().unwrap()];
        assert_eq!(*answer, Value::Null, "{}", file.display());
    }
}

/// Whether a mistake is one of a name or a type in this file.
fn is_of_form(line: &str, file: &Path) -> bool {
    let name = file.file_name().unwrap().to_str().unwrap();
    let is_here = line.starts_with(&format!("tests/bad-config/{name}:"));
    let is_type = line.contains("error: expected ") && line.contains(", found ");
    is_here && (line.contains("error: unknown key ") || is_type && !line.contains("found the PEM"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_by_its_name_or_type_is_invalid() {
    let mut files = toml_files("tests/bad-config");
    files.retain(|file| {
        let expected = std::fs::read_to_string(file.with_extension("expected")).unwrap();
        expected.lines().any(|line| is_of_form(line, file))
    });
    assert!(files.len() >= 10, "{files:?}");
    let answers = validate(&files).await;
    for file in files {
        let answer = &answers[file.to_str().unwrap()];
        assert!(
            answer.is_string(),
            "{} is valid by the schema",
            file.display()
        );
    }
}
