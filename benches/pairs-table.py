#!/usr/bin/env python3
"""pairs-table.py DIR FILE: the tables of pairs.sh, as a document, from what it left in DIR."""

import json
import pathlib
import sys
import textwrap

PAGE = 4096
# The widest line of prose in the document, in columns.
WIDTH = 110
# What the description of the kernel's patch shows for two neighbouring versions of each image, all files read.
PUBLISHED = {"redis": 33, "postgres": 28, "tensorflow": 16, "mysql": 21, "nginx": 44, "tomcat": 49}


def mib(pages):
    return f"{pages * PAGE / (1 << 20):.1f}"


def packages(path):
    return dict(line.split(" ", 1) for line in path.read_text().splitlines())


def row(folder):
    old, new = packages(folder / "old.packages"), packages(folder / "new.packages")
    measured = json.loads((folder / "measured.json").read_text())
    predicted = json.loads((folder / "predicted.json").read_text())
    pages = {}
    for scenario in measured["scenarios"]:
        directories = sum(mount["directory_pages"] for mount in scenario["mounts"])
        events = [event["data_pages"] for event in scenario["events"]]
        pages[scenario["title"]] = sum(events) - directories
        pages[scenario["title"] + " directories"] = directories
    total = predicted["total"]
    model = (total["private_bytes"] // PAGE, total["shared_bytes"] // PAGE)
    real = (pages["private"], pages["shared"])
    changed = [name for name in old if name in new and old[name] != new[name]]
    return {
        "name": folder.name,
        "kernel": measured["kernel"],
        "real": real,
        "model": model,
        "saved": (real[0] - real[1]) * 100 / real[0],
        "packages": (len(old), len(new)),
        "changed": sorted(changed),
        "versions": sorted(old.items() - new.items()),
        "only": (sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())),
        "new": new,
    }


# What runs in the images, in words.
WORKLOADS = {
    "redis": "redis-server with its own configuration; redis-cli, redis-benchmark with 2,000 requests of five kinds, save",
    "nginx": "nginx with its own configuration; 50 requests for a file, one for a missing one",
    "postgres": "initdb, start; psql fills, indexes and joins a table; stop",
    "mysql": "mariadb-install-db, mariadbd; mariadb fills, indexes and joins a table; shutdown",
}


def workload_row(folder):
    measured = json.loads((folder / "workload.json").read_text())
    total = json.loads((folder / "workload.predicted.json").read_text())["total"]
    runs = {run["title"]: run for run in measured["runs"]}
    private, again, shared = (runs[title]["pages"] for title in ("private", "private again", "shared"))
    model = total["shared_bytes"] // PAGE
    return (
        f"| {folder.name} | {private} | {again} | {measured['unrepeated_pages']} | {total['private_bytes'] // PAGE} "
        f"| {shared} | {model} | {model - shared} ({(model - shared) * 100 / shared:+.1f} %) "
        f"| {(private - shared) * 100 / private:.1f} % | {(private - model) * 100 / private:.1f} % |"
    )


def workloads(base):
    """The table of workload.sh, if there is something for it."""
    folders = sorted(path.parent for path in base.glob("*/workload.json"))
    folders = [folder for folder in folders if (folder / "workload.predicted.json").exists()]
    if not folders:
        return []
    out = [
        "",
        "## Working, not read",
        "",
        "Made by `benches/workload.sh`. The program is started in the older image and then in the newer one, each time in a",
        "container over an overlay, and a client works with it; it has ended when pages are counted. All figures are pages of",
        "4096 bytes of files in both images together, without directories; Linux counts page frames.",
        "",
        "| pair | not shared, Linux | the same again | pages that were in only one of the two | not shared, model | shared, Linux "
        "| model | error in pages | saved, Linux | model |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    out += [workload_row(folder) for folder in folders]
    out += [
        "",
        "The model is given a trace: the pages that were in memory after the first run without sharing. It says what these pages",
        "cost if they are shared, so that without sharing there is nothing to err. What sharing itself changes is not in the",
        "trace. Where the second program finds pages that the first one brought in, its own misses, and what the kernel reads",
        "ahead around them, can come at other places: this is the likely cause of the error, which is larger than the",
        "difference between two runs without sharing, but it was not examined page by page. Pages that `sendfile` brings in stay",
        "private on this kernel, while the trace does not say how they came in: one page of nginx.",
        "",
        "| pair | what runs |",
        "|---|---|",
    ]
    return out + [f"| {folder.name} | {WORKLOADS[folder.name]} |" for folder in folders]


def wrapped(lines):
    """The same lines with those of paragraphs joined and wrapped anew."""
    out, paragraph = [], []
    for line in [*lines, ""]:
        if line and line[0] not in "|#":
            paragraph.append(line)
            continue
        out += textwrap.wrap(" ".join(paragraph), WIDTH, break_long_words=False, break_on_hyphens=False)
        paragraph = []
        out.append(line)
    return out[:-1]


def main():
    base, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    rows = [row(path.parent) for path in sorted(base.glob("*/measured.json"))]
    kernel = rows[0]["kernel"]
    out = [
        "# Pairs of real images",
        "",
        f"Made by `benches/pairs.sh` on Linux {kernel}. Do not edit.",
        "",
        "Two neighbouring versions of real software, each as an image made by `mkfs-erofs --ishare-key`. Both are mounted and",
        "every file of them is read, once without `inode_share` and once with it; the pages in memory are those that Linux",
        "counted, and beside them stands what `erofs-ishare simulate` says without a mount. Directories, which are never",
        "shared, are left out on both sides.",
        "",
        "| pair | not shared, Linux | model | error in pages | shared, Linux | model | error in pages | saved | patch |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        (private, shared), (m_private, m_shared) = r["real"], r["model"]
        known = f"{PUBLISHED[r['name']]} %" if r["name"] in PUBLISHED else ""
        out.append(
            f"| {r['name']} | {mib(private)} MiB | {mib(m_private)} MiB | {m_private - private} | {mib(shared)} MiB "
            f"| {mib(m_shared)} MiB | {m_shared - shared} | {r['saved']:.1f} % | {known} |"
        )
    out += [
        "",
        "*Patch* is what the description of the kernel's patch says of two versions of the same software. The package sets",
        "are not the same, so the percentages need not be: there, container images with their own choice of packages and",
        "versions; here, a package of a distribution with what it depends on and the essential packages, as released and with",
        "later updates, so that whatever was not updated in between is the same in both. For tensorflow it is the wheel alone,",
        "without Python and a base system, and mysql is mariadb-server. The next table says which packages differ. 50 % is the",
        "most that two images can save.",
        "",
        "| pair | packages | of other versions in the newer one | only in one of them |",
        "|---|---:|---|---|",
    ]
    for r in rows:
        count = "/".join(str(number) for number in r["packages"])
        changed = [f"{name} {version} → {r['new'].get(name)}" for name, version in r["versions"] if name in r["new"]]
        shown = ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if len(changed) > 6 else "")
        only = ", ".join([f"-{name}" for name in r["only"][0]] + [f"+{name}" for name in r["only"][1]])
        out.append(f"| {r['name']} | {count} | {shown} | {only} |")
    out += workloads(base)
    target.write_text("\n".join(wrapped(out)) + "\n")


main()
