"""As much of jq as the README uses, for machines that have none: `-r` and a program, run by jq's own library."""

import argparse
import json
import sys

import jq


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-r", "--raw", action="store_true")
    parser.add_argument("program")
    given = parser.parse_args()
    for value in jq.compile(given.program).input_text(sys.stdin.read()):
        is_raw = given.raw and isinstance(value, str)
        sys.stdout.write((value if is_raw else json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


if __name__ == "__main__":
    main()
