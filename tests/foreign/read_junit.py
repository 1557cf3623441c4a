"""Prints what junitparser finds in a JUnit XML file, as JSON: every suite with its cases, and how each ended."""

import json
import sys

from junitparser import Failure, JUnitXml, Skipped


def ending(case):
    for result in case.result:
        if isinstance(result, Failure):
            return "failed", result.message
        if isinstance(result, Skipped):
            return "skipped", result.message
    return "passed", ""


xml = JUnitXml.fromfile(sys.argv[1])
suites = []
for suite in xml:
    cases = [{"name": case.name, "time": case.time, "ending": ending(case)[0], "message": ending(case)[1]} for case in suite]
    suites.append({"name": suite.name, "tests": suite.tests, "failures": suite.failures, "skipped": suite.skipped, "cases": cases})
json.dump({"tests": xml.tests, "failures": xml.failures, "skipped": xml.skipped, "suites": suites}, sys.stdout)
