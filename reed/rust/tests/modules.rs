//! The modules of the crate import each other without circles.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules that each module imports by `crate::` or `super::`, with `wire` and `peers` by file.
fn imports(folder: &Path, prefix: &str, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        if path.is_dir() {
            imports(&path, &format!("{stem}::"), found);
            continue;
        }
        if stem == "lib" || stem == "mod" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words = code.flat_map(|line| line.split("crate::").skip(1));
        let target = |word: &str| {
            let mut parts =
                word.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|part| !part.is_empty());
            let first = parts.next().unwrap_or_default().to_owned();
            if first == "wire" { format!("wire::{}", parts.next().unwrap_or_default()) } else { first }
        };
        found.insert(format!("{prefix}{stem}"), words.map(target).collect());
    }
}

#[test]
fn imports_have_no_circles() {
    let mut found = BTreeMap::new();
    imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    // A submodule of `peers` is a part of it.
    let part = found.remove("peers::requests").unwrap();
    found.get_mut("peers").unwrap().extend(part);
    assert!(found.len() > 25 && found["host"].contains("worker") && found["error"].contains("wire::codes"));
    let mut left = found;
    while !left.is_empty() {
        let free: Vec<String> = left
            .iter()
            .filter(|(_, targets)| targets.iter().all(|target| !left.contains_key(target)))
            .map(|(module, _)| module.clone())
            .collect();
        assert!(!free.is_empty(), "a circle among {left:?}");
        left.retain(|module, _| !free.contains(module));
    }
}
