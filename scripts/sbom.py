#!/usr/bin/env python3
"""Prints what is linked into judged as a CycloneDX 1.6 document: packages, checksums,
licences, who needs whom. The same sources give the same document."""

import json
import re
import tomllib
from pathlib import Path

from linked import links, metadata

GRAPH = metadata()
LINKS = links(GRAPH)
PACKAGES = {package["id"]: package for package in GRAPH["packages"] if package["id"] in LINKS}
LOCK = tomllib.loads(Path("Cargo.lock").read_text(encoding="utf-8"))
CHECKSUMS = {
    (package["name"], package["version"]): package["checksum"]
    for package in LOCK["package"]
    if "checksum" in package
}


def ref(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind="library"):
    name, version = package["name"], package["version"]
    fields = {"type": kind, "bom-ref": ref(package), "name": name, "version": version}
    if (name, version) in CHECKSUMS:
        fields["hashes"] = [{"alg": "SHA-256", "content": CHECKSUMS[name, version]}]
    if package["license"]:
        # Cargo's older way to write a choice.
        expression = re.sub(r"\s*/\s*", " OR ", package["license"])
        fields["licenses"] = [{"expression": expression}]
    fields["purl"] = ref(package)
    return fields


def carried(package):
    """The C and C++ sources inside a package, which are linked in too."""
    folder = Path(package["manifest_path"]).parent
    inside = {
        "llama-cpp-sys-2": ("llama.cpp", "MIT"),
        "libmimalloc-sys": ("mimalloc", "MIT"),
        "libsqlite3-sys": ("sqlite", "blessing"),
    }
    if package["name"] not in inside:
        return None
    name, license_id = inside[package["name"]]
    fields = {
        "type": "library",
        "bom-ref": f"{ref(package)}#{name}",
        "name": name,
        "description": f"carried by {package['name']} {package['version']}",
        "licenses": [{"license": {"id": license_id}}],
    }
    header = folder / "sqlite3" / "sqlite3.h"
    if header.exists():
        found = re.search(r'#define SQLITE_VERSION\s+"([^"]+)"', header.read_text(encoding="utf-8"))
        fields["version"] = found[1]
    header = folder / "c_src" / "mimalloc" / "v3" / "include" / "mimalloc.h"
    if header.exists():
        # Two digits each of the minor version and of the patch.
        found = re.search(r"#define MI_MALLOC_VERSION\s+(\d+)", header.read_text(encoding="utf-8"))
        number = int(found[1])
        fields["version"] = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return fields


root = PACKAGES[GRAPH["resolve"]["root"]]
libraries = sorted((package for package in PACKAGES.values() if package is not root), key=ref)
components = [component(package) for package in libraries]
needs = {ref(PACKAGES[package]): {ref(PACKAGES[to]) for to in of} for package, of in LINKS.items()}
for package in libraries:
    if inner := carried(package):
        components.append(inner)
        needs[ref(package)].add(inner["bom-ref"])
        needs[inner["bom-ref"]] = set()
document = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "metadata": {"component": component(root, "application")},
    "components": components,
    "dependencies": [{"ref": of, "dependsOn": sorted(on)} for of, on in sorted(needs.items())],
}
print(json.dumps(document, indent=1))
