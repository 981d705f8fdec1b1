"""An entrypoint that parses its own arguments, as scripts did before they went to the cloud.

    modal run arguments.py --format json --repeat 2 one two three
    modal run arguments.py -- --help
"""

import argparse
import json
import sys
from typing import List

import modal

app = modal.App("example-argparse")


@app.function(cpu=0.5)
def measure(word: str, upper: bool = False) -> dict:
    if word == "":
        raise ValueError("an empty word has no measure")
    return {"word": word.upper() if upper else word, "length": len(word)}


def parse(arglist) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="arguments", description="Measure some words.")
    parser.add_argument("words", nargs="+", help="the words")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--repeat", type=int, default=1, metavar="N")
    parser.add_argument("-u", "--upper", action="store_true", help="shout")
    parser.add_argument("--strict", action=argparse.BooleanOptionalAction, default=True)
    return parser.parse_args(args=arglist)


@app.local_entrypoint()
def main(*arglist):
    args = parse(arglist)
    results: List[dict] = []
    for _ in range(args.repeat):
        results += measure.map(
            args.words,
            kwargs={"upper": args.upper},
            return_exceptions=not args.strict,
            wrap_returned_exceptions=False,
        )
    good = [result for result in results if not isinstance(result, Exception)]
    if args.format == "json":
        json.dump(good, sys.stdout)
        print()
    else:
        for result in good:
            print(f"{result['word']}: {result['length']}")
    if len(good) < len(results):
        print(f"{len(results) - len(good)} words could not be measured", file=sys.stderr)
        sys.exit(3)
