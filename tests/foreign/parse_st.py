#!/usr/bin/env python3
"""Parses IEC 61131-3 structured text with a grammar of another make, and prints the tree as JSON.

A node is [kind, field in its parent, text of a leaf, children]; comments and punctuation are left out. Exit code 1: there is an error in it,
whose place is told.
"""

import json
import sys

import tree_sitter
import tree_sitter_iec61131_3_st as grammar

# What is no more than a sign between two others.
SIGNS = {";", ":", ",", "(", ")", "[", "]", ":=", ".", "..", "comment"}


def errors(node):
    if node.type == "ERROR" or node.is_missing:
        yield node
    for child in node.children:
        yield from errors(child)


def tree(node, field):
    children = [
        tree(child, node.field_name_for_child(index))
        for index, child in enumerate(node.children)
        if child.type not in SIGNS
    ]
    text = None if node.children else node.text.decode()
    return [node.type, field, text, children]


def main():
    source = sys.stdin.buffer.read()
    root = tree_sitter.Parser(tree_sitter.Language(grammar.language())).parse(source).root_node
    for error in errors(root):
        line, column = error.start_point
        sys.exit(f"line {line + 1}, column {column + 1}: {error.text.decode()[:80]!r}")
    json.dump(tree(root, None), sys.stdout)


if __name__ == "__main__":
    main()
