#!/usr/bin/env python3
"""third-party-notices.py TARGET: prints the licences and copyright notices of the crates that takt for TARGET is linked from.

The texts are those in the crates themselves, each once, under the crates that have it. Works without a network once takt was built.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

NOTICE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)([-._].*)?", re.IGNORECASE)
RULE = "=" * 100


def linked_crates(target):
    """The crates that end up in the program: what it depends on, without what only tests or build scripts need."""
    command = ["cargo", "metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    reached, to_visit = set(), [root]
    while to_visit:
        crate = to_visit.pop()
        if crate not in reached:
            reached.add(crate)
            to_visit += [link["pkg"] for link in nodes[crate]["deps"] if any(kind["kind"] is None for kind in link["dep_kinds"])]
    return sorted((packages[crate] for crate in reached - {root}), key=lambda package: (package["name"], package["version"]))


def notices(package):
    """The texts of one crate's notices, in the order of their names."""
    folder = Path(package["manifest_path"]).parent
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and NOTICE.fullmatch(file.name)]
    files += sorted(folder.glob("LICENSES/*"))
    return [file.read_text(encoding="utf-8", errors="replace").strip() for file in files]


def main():
    if len(sys.argv) != 2:
        sys.exit("failed to tell notices: say for which target, for example x86_64-unknown-linux-gnu")
    crates = linked_crates(sys.argv[1])
    holders = defaultdict(list)
    print("takt is linked from these crates.\n")
    for package in crates:
        texts = notices(package)
        authors = ", ".join(package["authors"]) or "its authors"
        print(f"{package['name']} {package['version']}: {package['license']}; {authors}{'' if texts else '; its crate holds no text of the licence'}")
        for text in texts:
            holders[" ".join(text.split())].append((f"{package['name']} {package['version']}", text))
    for same in holders.values():
        print(f"\n{RULE}\n{', '.join(name for name, _ in same)}\n{RULE}\n\n{same[0][1]}")
    print(f"\n{RULE}\nThe Rust standard library: MIT OR Apache-2.0; The Rust Project Developers, https://www.rust-lang.org\n{RULE}")


main()
