#!/usr/bin/env python3
"""Prints the licence texts of all that is linked into judged, or lies beside it."""

import json
import subprocess
from collections import defaultdict
from pathlib import Path

NAMES = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def linked_packages():
    """Of Cargo's graph, what normal dependencies lead to from judged."""
    command = ["cargo", "metadata", "--locked", "--format-version=1"]
    command += ["--filter-platform", "x86_64-unknown-linux-gnu"]
    metadata = json.loads(subprocess.check_output(command))
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]
    found, waiting = set(), [root]
    while waiting:
        node = nodes[waiting.pop()]
        for dependency in node["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                if dependency["pkg"] not in found:
                    found.add(dependency["pkg"])
                    waiting.append(dependency["pkg"])
    return sorted(
        (package for package in metadata["packages"] if package["id"] in found),
        key=lambda package: package["name"],
    )


def texts(folder):
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.lower().startswith(NAMES):
            yield path.read_text(encoding="utf-8", errors="replace").strip()


carriers = defaultdict(list)
print("judged is made of these packages, under these licences:\n")
for package in linked_packages():
    name = f"{package['name']} {package['version']}"
    print(f"  {name}: {package['license'] or 'see below'}")
    folder = Path(package["manifest_path"]).parent
    for text in texts(folder):
        carriers[text].append(name)
    for text in texts(folder / "llama.cpp") if (folder / "llama.cpp").is_dir() else ():
        carriers[text].append(f"llama.cpp, in {name}")
print("  libgomp: GPL-3.0-or-later WITH GCC-exception-3.1 (source: https://gcc.gnu.org)")
for text, names in carriers.items():
    print(f"\n{'=' * 80}\n{', '.join(names)}\n{'=' * 80}\n\n{text}")
