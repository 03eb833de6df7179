#!/usr/bin/env python3
"""Prints the licence texts of all that is linked into judged, or lies beside it."""

from collections import defaultdict
from pathlib import Path

from linked import linked_packages

# Where packages carry the sources of others, by the folder in the package. Of mimalloc's two
# versions that is the one which is built.
CARRIED = {"llama.cpp": "llama.cpp", "c_src/mimalloc/v3": "mimalloc"}
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
    for part, carried in CARRIED.items():
        for text in texts(folder / part) if (folder / part).is_dir() else ():
            carriers[text].append(f"{carried}, in {name}")
print("  libgomp: GPL-3.0-or-later WITH GCC-exception-3.1 (source: https://gcc.gnu.org)")
for text, names in carriers.items():
    print(f"\n{'=' * 80}\n{', '.join(names)}\n{'=' * 80}\n\n{text}")
