"""Parses the layer with bitbake's own parser (PyPI's bitbake-setup carries it) and prints what came out, as JSON; or runs a recipe's do_install.

    parse_layer.py LAYER MACHINE                     every recipe: what it fetches, needs, installs
    parse_layer.py LAYER MACHINE RECIPE SOURCES TO   do_install of one recipe, from the folder SOURCES into the folder TO

Classes and configuration of openembedded-core are on no registry, so stubs stand for them here: what they would compute is not tested by this, what the
layer itself says is. A task that does not compile as Python or is not shell is an error, and so is an address that bitbake's fetcher does not understand.
"""

import io
import json
import logging
import subprocess
import sys
import tempfile
import types
from pathlib import Path

# The package has bitbake without its hash server, which nothing here asks for.
for absent in ("hashserv", "hashserv.client"):
    sys.modules[absent] = types.ModuleType(absent)

import bb.codeparser
import bb.data
import bb.data_smart
import bb.event
import bb.fetch2
import bb.parse
import bb.siggen
import bb.utils

# Variables of openembedded-core's bitbake.conf that the layer uses, with its values for a distribution with systemd and merged /usr.
CORE = """
PN = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0] or 'defaultpkgname'}"
PV = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[1] or '1.0'}"
BPN = "${PN}"
BP = "${BPN}-${PV}"
THISDIR = "${@os.path.dirname(d.getVar('FILE', False))}"
FILE_DIRNAME = "${@os.path.dirname(d.getVar('FILE', False))}"
TOPDIR = "${SCRATCH}"
TMPDIR = "${SCRATCH}/tmp"
WORKDIR = "${TMPDIR}/work/${PN}"
UNPACKDIR ??= "${WORKDIR}/sources"
S = "${UNPACKDIR}/${BP}"
B = "${S}"
D = "${WORKDIR}/image"
DL_DIR = "${SCRATCH}/downloads"
PERSISTENT_DIR = "${SCRATCH}/persistent"
BB_GIT_DEFAULT_DESTSUFFIX = "${BP}"
COMMON_LICENSE_DIR = "${SCRATCH}/licenses"
FILESEXTRAPATHS ?= "__default:"
FILESPATH = "${FILE_DIRNAME}/${BP}:${FILE_DIRNAME}/${BPN}:${FILE_DIRNAME}/files"
OVERRIDES = "linux:aarch64:pn-${PN}:${MACHINEOVERRIDES}:${DISTRO}"
prefix = "/usr"
bindir = "${prefix}/bin"
sbindir = "${prefix}/sbin"
libdir = "${prefix}/lib"
nonarch_libdir = "${prefix}/lib"
libexecdir = "${prefix}/libexec"
datadir = "${prefix}/share"
docdir = "${datadir}/doc"
sysconfdir = "/etc"
localstatedir = "/var"
systemd_system_unitdir = "${prefix}/lib/systemd/system"
ROOT_HOME = "/root"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
export PATH
"""

# What the layer uses of a class by name. Every other class that it inherits is empty here.
CLASSES = {
    "pypi": """
def pypi_src_uri(d):
    return "https://pypi.invalid/packages/source/o/" + d.getVar("PYPI_ARCHIVE_NAME")
SRC_URI:prepend = "${PYPI_SRC_URI} "
""",
    "cargo": "do_install() {\n    :\n}\n",
    "core-image": 'ROOTFS_POSTPROCESS_COMMAND ?= ""\nIMAGE_FEATURES ?= ""\n',
}

OVERRIDES = {"qemuarm64": "qemuall:qemuarm64", "jetson": "cuda:tegra:tegra234:jetson"}
COLLECTIONS = {"qemuarm64": "core openembedded-layer", "jetson": "core openembedded-layer tegra"}

VALUES = (
    "PN PV SUMMARY LICENSE LIC_FILES_CHKSUM DEPENDS RDEPENDS:${PN} SRC_URI SRCREV S SYSTEMD_SERVICE:${PN} USERADD_PARAM:${PN} TAKT_ONNXRUNTIME_LIBRARY "
    "FILESEXTRAPATHS IMAGE_INSTALL IMAGE_FEATURES ROOTFS_POSTPROCESS_COMMAND COMPATIBLE_MACHINE COMPATIBLE_HOST USE_REDUNDANT_FLASH_LAYOUT KERNEL_ARGS WKS_FILE"
)

# What bitbake tells, above what it chats; a warning of the parser is an error here.
told = []


class Told(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.WARNING:
            told.append(record.getMessage())


def configuration(layer, machine, scratch):
    """The data that every recipe starts from: core, the layer's layer.conf, its distribution."""
    (scratch / "classes").mkdir()
    (scratch / "conf").mkdir()
    (scratch / "conf/core.conf").write_text(CORE)
    for name in inherited(layer):
        (scratch / f"classes/{name}.bbclass").write_text(CLASSES.get(name, ""))
    (scratch / "classes/base.bbclass").write_text("")

    data = bb.data_smart.DataSmart()
    data.setVar("SCRATCH", str(scratch))
    data.setVar("BBPATH", f"{scratch}:{layer}")
    data.setVar("MACHINEOVERRIDES", OVERRIDES[machine])
    data.setVar("BBFILE_COLLECTIONS", COLLECTIONS[machine])
    bb.parse.siggen = bb.siggen.init(data)
    data = bb.parse.handle("conf/core.conf", data, baseconfig=True)
    data.setVar("LAYERDIR", str(layer))
    data = bb.parse.handle(str(layer / "conf/layer.conf"), data, baseconfig=True)
    data.expandVarref("LAYERDIR")
    data = bb.parse.handle(str(layer / "conf/distro/takt-appliance.conf"), data, baseconfig=True)
    return data


def inherited(layer):
    names = set()
    for file in layer.rglob("*.bb*"):
        for line in file.read_text().splitlines():
            if line.startswith("inherit "):
                names.update(line.split()[1:])
    for file in layer.rglob("*.inc"):
        names.update(name for line in file.read_text().splitlines() if line.startswith("inherit ") for name in line.split()[1:])
    return names


def parse(data, file, appends=()):
    """One recipe as bitbake sees it, with appends."""
    local = bb.data.createCopy(data)
    local.setVar("__BBAPPEND", " ".join(map(str, appends)))
    local.setVar("FILE", str(file))
    local.setVar("__bbclasstype", "recipe")
    variants = bb.parse.handle(str(file), local)
    return variants[""]


def check_functions(data):
    """Tasks and functions that the layer defines must be Python or shell."""
    logger = logging.getLogger("BitBake.Check")
    for name in data.keys():
        if not data.getVarFlag(name, "func", False):
            continue
        body = data.getVar(name)
        if not body:
            continue
        if data.getVarFlag(name, "python", False):
            compile("def f():\n" + "".join(f" {line}\n" for line in body.splitlines()), name, "exec")
        else:
            bb.codeparser.ShellParser(name, logger).parse_shell(body)


def addresses(data):
    """Every address of SRC_URI as bitbake's fetcher takes it apart, and whether it has a checksum where it needs one."""
    found = []
    for uri in (data.getVar("SRC_URI") or "").split():
        kind, host, path, _, _, parameters = bb.fetch2.decodeurl(uri)
        entry = {"kind": kind, "host": host, "path": path, "parameters": dict(parameters)}
        if kind == "crate":
            crate = bb.fetch2.FetchData(uri, data)
            entry["sha256"] = crate.sha256_expected
            entry["file"] = Path(crate.localpath).name
        found.append(entry)
    return found


def describe(data):
    values = {key: data.getVar(data.expand(key)) for key in VALUES.split()}
    return values | {"addresses": addresses(data)}


def install(data, sources, destination):
    """Runs do_install in a shell, as bitbake would but for fakeroot."""
    data.setVar("UNPACKDIR", str(sources))
    data.setVar("D", str(destination))
    script = io.StringIO("")
    script.write("#!/bin/sh\nset -eu\nbbfatal() { echo \"$*\" >&2; exit 1; }\n")
    bb.data.emit_func("do_install", script, data)
    script.write("\ndo_install\n")
    subprocess.run(["sh", "-s"], input=script.getvalue(), text=True, check=True, cwd=destination)


def main():
    layer, machine = Path(sys.argv[1]).resolve(), sys.argv[2]
    logging.getLogger("BitBake").addHandler(Told())
    with tempfile.TemporaryDirectory() as folder:
        data = configuration(layer, machine, Path(folder).resolve())
        if len(sys.argv) > 3:
            file = next(layer.rglob(sys.argv[3] + "_*.bb"))
            install(parse(data, file), Path(sys.argv[4]).resolve(), Path(sys.argv[5]).resolve())
        else:
            recipes = {}
            for file in sorted(layer.rglob("*.bb")):
                recipe = parse(data, file)
                check_functions(recipe)
                recipes[recipe.getVar("PN")] = describe(recipe)
            for append in sorted(layer.rglob("*.bbappend")):
                # The recipe that it changes is not here; an empty one of its name takes it as well.
                recipe = Path(folder) / append.name.replace("%.bbappend", "1.0.bb")
                recipe.write_text("")
                appended = parse(data, recipe, [append])
                check_functions(appended)
                recipes[append.name] = describe(appended)
            print(json.dumps({"recipes": recipes, "configuration": describe(data)}))
    if told:
        sys.exit("bitbake says: " + "; ".join(told))


main()
