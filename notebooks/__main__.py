"""``python -m notebooks [NAME …] [--small] [--out DIR] [--publish]``: runs them, in full."""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

from notebooks.execute import HERE, execute, found, publish


def main() -> int:
    """Executes notebooks one after another; the exit status is how many failed."""
    known = found()
    parser = argparse.ArgumentParser(prog="python -m notebooks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    parser.add_argument("--small", action="store_true", help="the size that the tests use")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "executed")
    parser.add_argument(
        "--publish", action="store_true", help="renew the sentences and figures of docs/"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(known):
        parser.error(f"no notebook {', '.join(sorted(unknown))}: there are {', '.join(known)}")
    if options.publish and options.small:
        parser.error("--publish is for notebooks in full")
    failed = 0
    selected = options.names or list(known)
    for number, name in enumerate(selected, 1):
        print(f"[{number}/{len(selected)}] {name} …", flush=True)
        begun = time.perf_counter()
        done = execute(known[name], "small" if options.small else "full", options.out)
        print(f"  {time.perf_counter() - begun:.0f} s. {done.error or done.sentence}", flush=True)
        failed += done.error is not None
        if options.publish and done.error is None:
            publish(name, done.sentence, options.out)
    return failed


if __name__ == "__main__":
    sys.exit(main())
