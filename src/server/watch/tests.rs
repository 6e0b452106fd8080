use std::os::unix::fs::symlink;

use notify::event::{CreateKind, RemoveKind};

use super::*;

/// A directory of its own, without a link on its way, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("streamgate-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn event(kind: EventKind, path: PathBuf) -> notify::Event {
    notify::Event::new(kind).add_path(path)
}

#[test]
fn every_link_on_the_way_to_a_file_counts_and_its_neighbours_do_not() {
    let scratch = Scratch::new("links");
    let at = |name: &str| scratch.0.join(name);
    fs::create_dir(at("1")).unwrap();
    fs::write(at("1/file"), "").unwrap();
    symlink("1", at("data")).unwrap();
    symlink("data/file", at("file")).unwrap();
    let spots = Spots::of(&Places {
        files: vec![at("file"), at("absent/file")],
        directories: vec![at("1")],
    });
    let created = EventKind::Create(CreateKind::Any);
    let read = EventKind::Access(AccessKind::Open(AccessMode::Any));
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    for (kind, name, counts) in [
        (created, "file", true),
        (created, "data", true),
        (created, "1/file", true),
        (created, "1/any", true),
        (created, "absent", true),
        (created, "other", false),
        (read, "file", false),
        (written, "file", true),
    ] {
        assert_eq!(
            spots.count(&event(kind, at(name))),
            counts,
            "{kind:?} {name}"
        );
    }
    let removed = EventKind::Remove(RemoveKind::Folder);
    assert!(spots.loses(&event(removed, at("1"))));
    assert!(!spots.loses(&event(removed, at("1/file"))));
}

#[test]
fn a_circle_of_links_has_an_end() {
    let scratch = Scratch::new("circle");
    let (one, two) = (scratch.0.join("one"), scratch.0.join("two"));
    symlink(&two, &one).unwrap();
    symlink(&one, &two).unwrap();
    let mut spots = Spots::default();
    assert_eq!(spots.follow(&one), None);
    assert!(spots.entries.contains(&one) && spots.entries.contains(&two));
}

#[test]
fn a_refusal_is_told_once_and_not_at_first_sight() {
    let mut watch = Watch::new(true);
    let causes = ["a", "b", "b", "b", "a", "a", "b"];
    let told = causes.map(|cause| watch.is_to_be_told(cause));
    assert_eq!(told, [false, false, true, false, false, true, false]);
}

#[test]
fn what_was_only_suspected_is_forgotten_when_the_files_are_good() {
    let mut watch = Watch::new(true);
    for _pair_that_is_half_written in 0..3 {
        assert!(!watch.is_to_be_told("a"));
        assert!(!watch.mended());
    }
    assert!(!watch.is_to_be_told("a"));
    assert!(watch.is_to_be_told("a"));
    assert!(watch.mended());
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_when_they_are_over_or_have_lasted_long() {
    let mut watch = Watch::new(true);
    let scratch = Scratch::new("burst");
    watch.look_at(Places {
        files: vec![scratch.0.join("file")],
        directories: Vec::new(),
    });
    let begun = Instant::now();
    // What was read before it was watched counts as changed.
    watch.settled().await;
    assert_eq!(begun.elapsed(), QUIET);
    let (begun, shared) = (Instant::now(), watch.shared.clone());
    let restless = async {
        loop {
            shared.changed.notify_one();
            tokio::time::sleep(QUIET / 2).await;
        }
    };
    tokio::select! {
        () = watch.settled() => {}
        () = restless => {}
    }
    assert_eq!(begun.elapsed(), LONGEST);
}
