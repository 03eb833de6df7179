"""The packages that are linked into judged, as Cargo knows them."""

import json
import subprocess


def metadata():
    command = ["cargo", "metadata", "--locked", "--format-version=1"]
    command += ["--filter-platform", "x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.check_output(command))


def links(graph):
    """Of each package, those that its normal dependencies name; from judged on, by id."""
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    found, waiting = {}, [graph["resolve"]["root"]]
    while waiting:
        package = waiting.pop()
        if package in found:
            continue
        found[package] = [
            dependency["pkg"]
            for dependency in nodes[package]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
        ]
        waiting.extend(found[package])
    return found


def linked_packages():
    """All of them but judged itself, by name."""
    graph = metadata()
    ids = links(graph).keys() - {graph["resolve"]["root"]}
    packages = (package for package in graph["packages"] if package["id"] in ids)
    return sorted(packages, key=lambda package: package["name"])
