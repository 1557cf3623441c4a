//! Whatever ends up in the program may be shipped with it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use spdx::{Expression, Licensee, ParseMode};

/// Licences that allow to ship a program of any licence, if their text comes along. MPL-2.0 asks for changes to its own files only.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "IJG",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

fn metadata() -> Metadata {
    // Crates for other systems are not fetched, so their licences cannot be read offline.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let options = ["--offline", "--locked", "--filter-platform", &platform].map(str::to_owned);
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .other_options(options)
        .exec()
        .unwrap()
}

/// Whether one way through the licence expression is allowed.
fn is_allowed(licence: &str) -> bool {
    let allowed: Vec<Licensee> = ALLOWED.iter().map(|name| Licensee::parse(name).unwrap()).collect();
    let expression = Expression::parse_mode(licence, ParseMode::LAX);
    expression.is_ok_and(|expression| expression.evaluate(|requirement| allowed.iter().any(|licence| licence.satisfies(requirement))))
}

/// The packages that the program is built from or with; not those of its tests.
fn shipped(metadata: &Metadata) -> Vec<&Package> {
    let packages: BTreeMap<&PackageId, &Package> = metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let resolve = metadata.resolve.as_ref().unwrap();
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let (mut reached, mut open) = (BTreeSet::new(), vec![resolve.root.as_ref().unwrap()]);
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            let needed = nodes[id]
                .deps
                .iter()
                .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development));
            open.extend(needed.map(|dependency| &dependency.pkg));
        }
    }
    reached.into_iter().map(|id| packages[id]).collect()
}

#[test]
fn every_dependency_has_a_licence_that_lets_it_be_shipped() {
    let metadata = metadata();
    let shipped = shipped(&metadata);
    assert!(shipped.len() > 50, "only {} packages found", shipped.len());
    let offending: Vec<String> = shipped
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(is_allowed))
        .map(|package| {
            format!(
                "{} {}: {}",
                package.name,
                package.version,
                package.license.as_deref().unwrap_or("no licence expression")
            )
        })
        .collect();
    assert!(offending.is_empty(), "not allowed to ship:\n{}", offending.join("\n"));
}

#[test]
fn a_choice_of_licences_needs_one_that_is_allowed_and_a_sum_needs_all() {
    assert!(is_allowed("MIT OR GPL-3.0-only"));
    assert!(is_allowed("MIT/Apache-2.0"));
    assert!(is_allowed("(MIT OR GPL-2.0-only) AND Unicode-3.0"));
    for licence in ["GPL-3.0-or-later", "MIT AND AGPL-3.0-only", "LicenseRef-Own", ""] {
        assert!(!is_allowed(licence), "{licence}");
    }
}

#[test]
fn ort_is_pinned_to_one_version_as_long_as_it_has_no_stable_release() {
    let metadata = metadata();
    let ort = metadata
        .root_package()
        .unwrap()
        .dependencies
        .iter()
        .find(|dependency| dependency.name == "ort")
        .unwrap();
    assert!(ort.req.to_string().starts_with('='), "ort is required as {}", ort.req);
}
