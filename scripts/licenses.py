#!/usr/bin/env python3
"""Prints the licence texts of all that is linked into judged, or lies beside it."""

from collections import defaultdict
from pathlib import Path

from linked import linked_packages

NAMES = ("license", "licence", "copying", "notice", "unlicense", "copyright")


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
