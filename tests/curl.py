"""As much of curl as the README uses, for machines that have none: `-s`, `-X`, `-H`, `-d`, and an address."""

import argparse
import sys
from urllib.error import HTTPError
from urllib.request import Request, urlopen


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", "--silent", action="store_true")
    parser.add_argument("-X", "--request")
    parser.add_argument("-H", "--header", action="append", default=[])
    parser.add_argument("-d", "--data")
    parser.add_argument("address")
    given = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in given.header)
    request = Request(given.address, given.data.encode() if given.data else None, headers)  # noqa: S310  # a test's own
    request.method = given.request or request.get_method()
    try:
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            sys.stdout.buffer.write(answer.read())
    except HTTPError as refusal:
        sys.stdout.buffer.write(refusal.read())


if __name__ == "__main__":
    main()
