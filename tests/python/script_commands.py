"""Prints what a shell or PowerShell script runs of the programs and functions that are named, as JSON: a list of texts.

    script_commands.py FILE NAME...

Ends with an error where the script does not parse.
"""

import json
import sys

import tree_sitter_bash
import tree_sitter_powershell
from tree_sitter import Language, Parser


def nodes(node):
    yield node
    for child in node.children:
        yield from nodes(child)


def main(file, *names):
    grammar = tree_sitter_powershell if file.endswith(".ps1") else tree_sitter_bash
    with open(file, "rb") as script:
        tree = Parser(Language(grammar.language())).parse(script.read())
    faults = [node for node in nodes(tree.root_node) if node.type == "ERROR" or node.is_missing]
    if faults:
        row, column = faults[0].start_point
        sys.exit(f"{file}:{row + 1}:{column + 1}: {faults[0].text.decode()[:60]!r} does not parse")
    commands = [node.text.decode() for node in nodes(tree.root_node) if node.type == "command"]
    wanted = {name.lower() for name in names}
    print(json.dumps([command for command in commands if command.split()[0].lower() in wanted]))


main(*sys.argv[1:])
