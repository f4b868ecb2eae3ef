#!/usr/bin/env python3
"""Rules of the source tree that no compiler checks. Usage: style_test.py RULE"""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAX_LINES = 600

# What each layer's files may include with quotes: itself and these. Anything that is missing here
# lies above it or beside it.
BELOW = {
    "init": [],
    "base": [],
    "crypto": ["base"],
    "kapi": ["base"],
    "agent/store": ["base", "crypto", "kapi"],
    "agent": ["base", "crypto", "kapi", "agent/store"],
    "fs": ["base", "crypto", "kapi", "agent/store", "agent"],
    "mount": ["base", "crypto", "kapi", "agent/store", "agent", "fs"],
}

# Libraries that one layer alone may use.
ONLY_USER = [
    (re.compile(r"(fuse3/)?(fuse|fuse_\w+)\.h"), "mount"),
    (re.compile(r"lmdb(\+\+)?\.h"), "agent/store"),
    (re.compile(r"(sodium|blake3)\.h|sodium/.*"), "crypto"),
]

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def files(tops, endings):
    for top in tops:
        for folder, subfolders, names in os.walk(os.path.join(ROOT, top)):
            subfolders[:] = [s for s in subfolders if s not in ("build", "corpus", "golden")]
            for name in sorted(names):
                if name.endswith(endings):
                    yield os.path.relpath(os.path.join(folder, name), ROOT)


def layer_of(path):
    """The longest layer that is a folder above `path`, or None."""
    fitting = [layer for layer in BELOW if path.startswith(layer + "/")]
    return max(fitting, key=len, default=None)


def lines(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read().splitlines()


def includes_point_down():
    for path in files(BELOW, (".h", ".cc", ".c")):
        layer = layer_of(path)
        for number, line in enumerate(lines(path), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, target = match.groups()
            where = f"{path}:{number}: "
            if quote == '"':
                below = layer_of(target)
                if below is None:
                    yield where + f'"{target}" is not written from the root of the tree'
                elif below != layer and below not in BELOW[layer]:
                    yield where + f'{layer}/ may not include "{target}"'
            for library, user in ONLY_USER:
                if library.fullmatch(target) and layer != user:
                    yield where + f"<{target}> is for {user}/ alone"


def no_file_is_too_long():
    tops = dict.fromkeys([layer.split("/")[0] for layer in BELOW] + ["tests", "scripts", "cmake"])
    for path in files(tops, (".h", ".cc", ".c", ".py", ".sh", ".cmake", "CMakeLists.txt")):
        count = len(lines(path))
        if count > MAX_LINES:
            yield f"{path}: {count} lines, {MAX_LINES} are the most: it holds more than one concept"


RULES = {"IncludesPointDown": includes_point_down, "NoFileIsTooLong": no_file_is_too_long}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in RULES:
        sys.exit(f"usage: style_test.py {'|'.join(RULES)}")
    faults = sorted(set(RULES[sys.argv[1]]()))
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
